"""A tiny language model taught by a reward: by PPO, whose roll-outs feed fit(), and by pairs; a model of rewards."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner, Result

from clew import cli
from clew.data.preferences import Answers, Pair, PairColumns, pairs, shared
from clew.data.rows import ReadReport, Rows
from clew.errors import DataError, RecipeError
from clew.nn.work import Work
from clew.objectives.ppo import PPO, PPOConfig
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.folder import open_run
from clew.runs.training import open_training, train

GOOD, BAD = ["lovely", "great", "fine"], ["dull", "awful", "weak"]
TRAIN = """
[train]
batch.tokens = 256
device = "cpu"
threads = 1
evaluate_every = 100000
optimizer = { kind = "adamw", lr = 5e-3, weight_decay = 0.0 }
schedule = { kind = "constant" }
"""
GPT = '[model]\nkind = "gpt2"\nd_model = 32\nn_heads = 2\nn_layers = 2\nmax_length = 32\ndropout = 0.0\n'


@pytest.fixture(autouse=True)
def place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cache is shared, and the recipes' number of threads stays within the test."""
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes praise and blame alike, and a classifier that knows one from the other."""
    folder, rng = tmp_path_factory.mktemp("preferences"), random.Random(1)
    said = [f"the film was {rng.choice(words)} and {rng.choice(words)}" for words in (GOOD, BAD) * 150]
    rng.shuffle(said)
    (folder / "text.txt").write_text("\n".join(said) + "\n")
    rows = [{"text": text, "label": str(int(text.split()[3] in GOOD))} for text in said]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "write.toml").write_text(f"""
name = "base"
task = {{ kind = "language_model", max_length = 32, document = "line" }}
data = {{ kind = "text", train = ["{folder}/text.txt"] }}
tokenizer = {{ kind = "gpt2", vocab_size = 300 }}
objective = {{ kind = "language_model" }}
{GPT}{TRAIN}budget = {{ steps = 150 }}
[decode]
beam = 1
""")
    (folder / "classify.toml").write_text(f"""
name = "judge"
task = {{ kind = "classify", text = "text", label = "label", max_length = 32 }}
data = {{ kind = "files", train = ["{folder}/rows.jsonl"], columns = ["text", "label"] }}
tokenizer = {{ kind = "word" }}
model = {{ kind = "text_classifier", encoder = "convolution", d_embedding = 16, d_model = 16, widths = [1] }}
objective = {{ kind = "classification" }}
{TRAIN}budget = {{ steps = 60 }}
""")
    mp = pytest.MonkeyPatch()
    mp.setenv("CLEW_CACHE", str(folder / "cache"))
    for name in ("write", "classify"):
        result = clew("train", folder / f"{name}.toml", "--out", folder / name)
        assert result.exit_code == 0, result.output
    mp.undo()
    return folder


def steer(home: Path, steps: int = 64) -> str:
    return f"""
name = "steer"
data = {{ kind = "text", train = ["{home}/text.txt"] }}
tokenizer = {{ kind = "gpt2" }}
model = {{ kind = "gpt2", start = "{home}/write", dropout = 0.0 }}
objective = {{ kind = "ppo", epochs = 2, batch_size = 32, target_kl = 3.0 }}
[task]
kind = "ppo"
document = "line"
max_length = 32
prompt = 4
written = 10
reward = {{ run = "{home}/classify", label = "1" }}
{TRAIN.replace("5e-3", "2e-3").replace("batch.tokens", "save_every = 5" + chr(10) + "batch.tokens")}
budget = {{ steps = {steps} }}
[decode]
beam = 1
"""


def test_ppo_raises_the_reward(home: Path, tmp_path: Path) -> None:
    (tmp_path / "steer.toml").write_text(steer(home))
    result = clew("train", tmp_path / "steer.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "run")
    found = run.results()["splits"]["valid"]
    assert found["reward_before"]["value"] < 0.75 and found["gain"]["low"] > 0.15
    assert found["reward"]["value"] == pytest.approx(found["reward_before"]["value"] + found["gain"]["value"])
    assert found["kl"]["value"] > 0.1 and found["reference_perplexity"]["value"] > 1
    rows = [row for row in run.metrics() if "kl" in row]
    assert {"reward", "kl", "beta", "policy", "value", "clipped"} <= set(rows[0])
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4)  # the first roll-out is of the reference itself
    sample = next((tmp_path / "run" / "samples").iterdir()).read_text()
    assert "before" in sample and "output" in sample
    assert not [name for name in load_file(tmp_path / "run" / "model.safetensors") if "value" in name]
    assert run.model(step=run.steps()[-1]).state_dict().keys() == run.model().state_dict().keys()
    said = clew("predict", tmp_path / "run", "the film was")
    assert said.exit_code == 0 and said.stdout.strip()


def test_resumed_is_uninterrupted(home: Path, tmp_path: Path) -> None:
    """Within a roll-out too: 4 batches make one."""
    (tmp_path / "steer.toml").write_text(steer(home, 11))
    recipe, _ = load_recipe(tmp_path / "steer.toml", [])
    for _ in train(recipe, tmp_path / "whole"):
        pass
    for moment in train(recipe, tmp_path / "parted"):
        if moment.step.number == 6:
            break
    for _ in train(recipe, tmp_path / "parted", resume=True):
        pass
    whole, parted = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parted"))
    assert all(torch.equal(whole[name], parted[name]) for name in whole)
    course = [[row["reward"] for row in Run(tmp_path / name).metrics() if "kl" in row] for name in ("whole", "parted")]
    assert course[0] == course[1]
    work, (found, again) = (
        Work(Run(tmp_path / "whole").model()),
        (Run(tmp_path / n).results() for n in ("whole", "parted")),
    )
    assert found["flops"] == again["flops"]
    # Each text is learned from twice; before that it is written, read twice, and read by the reference.
    assert found["flops"] > work.training() * found["read"] + 4 * work.forward() * found["read"] / 2


def test_what_is_steered_needs_a_reference(home: Path, tmp_path: Path) -> None:
    (tmp_path / "steer.toml").write_text(steer(home))
    for setting, said in (
        ("model.dropout=0.1", "mean nothing under dropout"), ("task.reward.label=good", 'no label "good"'),
        ("task.prompt=400", "no text is longer"), ("decode.beam=5", "keeps no text longer than the model reads"),
    ):  # fmt: skip
        recipe, _ = load_recipe(tmp_path / "steer.toml", [setting])
        with pytest.raises((RecipeError, DataError), match=said):
            open_training(recipe, tmp_path / "run")


def test_another_run_that_cannot_be_opened_is_told_at_its_setting(home: Path, tmp_path: Path) -> None:
    (tmp_path / "steer.toml").write_text(steer(home))
    recipe, _ = load_recipe(tmp_path / "steer.toml", [f"task.reward.run={tmp_path}/none"])
    with pytest.raises(RecipeError, match="there is no run here") as refused:
        open_training(recipe, tmp_path / "run")
    assert refused.value.where == f"task.reward.run, {tmp_path}/none" and refused.value.fix


def test_another_run_says_what_it_is(home: Path) -> None:
    about = open_run(str(home / "classify")).about
    assert about.startswith(f"{home}/classify, valid accuracy 100.00 [")


def drawn(file: Path, seed: int, n: int = 150) -> None:
    """Pairs of which the better praises."""
    rng = random.Random(seed)
    rows = [
        {"prompt": "the film was", "chosen": f" {rng.choice(GOOD)} and {rng.choice(GOOD)}",
         "rejected": f" {rng.choice(BAD)} and {rng.choice(BAD)}"} for _ in range(n)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def prefer(home: Path, place: Path, kind: str) -> Path:
    """A recipe of pairs of which the better praises."""
    drawn(place / "pairs.jsonl", 1)
    drawn(place / "others.jsonl", 2, 40)
    (place / "prefer.toml").write_text(f"""
name = "prefer"
[data]
kind = "files"
train = ["{place}/pairs.jsonl"]
valid = ["{place}/others.jsonl"]
columns = ["prompt", "chosen", "rejected"]
[tokenizer]
kind = "gpt2"
[model]
kind = "gpt2"
start = "{home}/write"
dropout = 0.0
[objective]
kind = "{kind}"
beta = 0.1
[task]
kind = "preference"
prompt = "prompt"
max_length = 32
[task.asked]
text = "{home}/text.txt"
prompt = 4
written = 10
reward = {{ run = "{home}/classify", label = "1" }}
{TRAIN.replace("5e-3", "1e-3")}
budget = {{ steps = 60 }}
[decode]
beam = 1
""")
    return place / "prefer.toml"


@pytest.mark.parametrize("kind", ["dpo", "ipo"])
def test_pairs_raise_the_reward(home: Path, tmp_path: Path, kind: str) -> None:
    result = clew("train", prefer(home, tmp_path, kind), "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    found = Run(tmp_path / "run").results()["splits"]["valid"]
    assert found["accuracy"]["value"] > 95 and found["gain"]["low"] > 0.1 and found["kl"]["value"] > 0
    assert {"accuracy", "margin"} <= set(Run(tmp_path / "run").metrics()[0])


def test_what_goes_on_pays_for_its_reference_once(home: Path, tmp_path: Path) -> None:
    recipe, _ = load_recipe(prefer(home, tmp_path, "dpo"), ["train.budget.steps=4", "train.save_every=2"])
    for _ in train(recipe, tmp_path / "whole"):
        pass
    for moment in train(recipe, tmp_path / "parted"):
        if moment.step.number == 2:
            break
    for _ in train(recipe, tmp_path / "parted", resume=True):
        pass
    whole, parted = (Run(tmp_path / name).results()["flops"] for name in ("whole", "parted"))
    assert whole == parted


def test_a_reward_model(home: Path, tmp_path: Path) -> None:
    drawn(tmp_path / "pairs.jsonl", 1)
    drawn(tmp_path / "others.jsonl", 2, 40)
    (tmp_path / "judge.toml").write_text(f"""
name = "judge"
task = {{ kind = "reward_model", prompt = "prompt", max_length = 32 }}
model = {{ kind = "text_classifier", encoder = "convolution", d_embedding = 16, d_model = 16, widths = [1] }}
objective = {{ kind = "reward" }}
[data]
kind = "files"
train = ["{tmp_path}/pairs.jsonl"]
valid = ["{tmp_path}/others.jsonl"]
columns = ["prompt", "chosen", "rejected"]
[tokenizer]
kind = "word"
{TRAIN}
budget = {{ steps = 60 }}
""")
    result = clew("train", tmp_path / "judge.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert Run(tmp_path / "run").results()["splits"]["valid"]["accuracy"]["value"] == 100
    said = clew("predict", tmp_path / "run", "-", text="the film was great\nthe film was awful\n").stdout.split()
    assert float(said[0]) > float(said[1])
    (better,) = clew("predict", tmp_path / "run", "-", text="the film was awful\tthe film was great\n").stdout.split()
    assert better == "second"
    recipe, _ = load_recipe(tmp_path / "judge.toml", [])
    assert recipe.task.kind == "reward_model"
    (tmp_path / "steer.toml").write_text(steer(home).replace(f'{home}/classify", label = "1"', f'{tmp_path}/run"'))
    recipe, _ = load_recipe(tmp_path / "steer.toml", ["train.budget.steps=1"])  # it rewards as a classifier does
    for moment in train(recipe, tmp_path / "measure_policy"):
        assert np.isfinite(moment.step.parts["reward"])


def test_a_reward_model_that_starts_from_one_that_writes(home: Path, tmp_path: Path) -> None:
    drawn(tmp_path / "pairs.jsonl", 1)
    drawn(tmp_path / "others.jsonl", 2, 40)
    (tmp_path / "judge.toml").write_text(f"""
name = "judge"
task = {{ kind = "reward_model", prompt = "prompt", max_length = 32 }}
model = {{ kind = "gpt2", start = "{home}/write", dropout = 0.0 }}
objective = {{ kind = "reward" }}
tokenizer = {{ kind = "gpt2" }}
[data]
kind = "files"
train = ["{tmp_path}/pairs.jsonl"]
valid = ["{tmp_path}/others.jsonl"]
columns = ["prompt", "chosen", "rejected"]
{TRAIN}
budget = {{ steps = 30 }}
""")
    recipe, _ = load_recipe(tmp_path / "judge.toml", [])
    begun = open_training(recipe, tmp_path / "begun")
    assert begun is not None and any("every weight from" in line for line in begun.report)
    base = Run(home / "write").model().state_dict()
    assert all(torch.equal(begun.model.state_dict()[f"body.{name}"], tensor) for name, tensor in base.items())
    result = clew("train", tmp_path / "judge.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert Run(tmp_path / "run").results()["splits"]["valid"]["accuracy"]["value"] > 95
    said = clew("predict", tmp_path / "run", "-", text="the film was great\nthe film was awful\n").stdout.split()
    assert float(said[0]) > float(said[1])
    (tmp_path / "steer.toml").write_text(steer(home).replace(f'{home}/classify", label = "1"', f'{tmp_path}/run"'))
    recipe, _ = load_recipe(tmp_path / "steer.toml", ["train.budget.steps=1"])
    for moment in train(recipe, tmp_path / "measure_policy"):
        assert np.isfinite(moment.step.parts["reward"])


def rows(**columns: list[str]) -> Rows:
    return Rows(columns, ReadReport("here"))


def test_pairs() -> None:
    a, b = "\n\nHuman: Hi\n\nAssistant: Hello", "\n\nHuman: Hi\n\nAssistant: How are you"
    prompt = "\n\nHuman: Hi\n\nAssistant:"
    assert pairs(rows(chosen=[a], rejected=[b]), PairColumns(kind="x")) == [Pair(prompt, " Hello", " How are you")]
    assert shared("a good day", "a good night") == "a good " and shared("same", "other") == ""
    columns = PairColumns(kind="x", chosen="1", rejected="2", prompt="p", better="b")
    given = rows(**{"p": ["?", "?", "?"], "1": ["x", "x", "x"], "2": ["y", "y", "y"], "b": ["0", "1", "2"]})
    assert pairs(given, columns) == [Pair("?", "x", "y"), Pair("?", "y", "x")]  # the third is a tie
    with pytest.raises(DataError, match="no row prefers"):
        pairs(rows(**{"p": ["?"], "1": ["x"], "2": ["y"], "b": ["2"]}), columns)
    with pytest.raises(DataError, match='no column "rejected"'):
        pairs(rows(chosen=["x"]), PairColumns(kind="x"))


def test_answers_are_what_follows_the_prompt() -> None:
    batch = Answers([[5, 6, 7, 8], [5, 6, 9], [4, 1], [4, 2, 3]], [2, 2, 1, 1]).batch([1, 0], pad_id=0)
    assert batch.text.tolist() == [[4, 1, 0, 0], [4, 2, 3, 0], [5, 6, 7, 8], [5, 6, 9, 0]]
    assert batch.written.tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, True],
        [False, True, False],
    ]


def course_of(rewards: list[float], kls: list[float]) -> None:
    made = PPO(PPOConfig(target_kl=2.0))
    for each in zip(rewards, kls, strict=True):
        made.course.append(each)
        made.warn()


def test_a_reward_that_rises_while_the_divergence_explodes_is_told() -> None:
    rising = [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.9]
    with pytest.warns(UserWarning, match="from 0.20 to 0.80"):
        course_of(rising, [0, 1, 2, 3, 5, 9, 12, 15])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        course_of(rising, [0, 1, 2, 2, 2, 2, 2, 2])  # near the target
        course_of(rising[::-1], [0, 1, 2, 3, 5, 9, 12, 15])  # it falls: no need to tell


def test_the_ppo_objective_is_its_parts() -> None:
    """On the roll-out itself, ratios are 1: the policy's loss is minus the mean advantage, which whitening makes 0."""
    torch.manual_seed(0)
    text = torch.randint(0, 9, (3, 6))
    written = torch.tensor([[False, True, True, True, True]] * 3)
    table = torch.randn(9, 9)

    class Policy:
        def __call__(self, text: torch.Tensor) -> Any:
            return SimpleNamespace(hidden=table[text])

        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden

    made, log_p = PPO(PPOConfig(value_weight=0.5)), table[text[:, :-1]].log_softmax(-1)
    log_p = log_p.gather(2, text[:, 1:, None]).squeeze(2)
    value, score = table[text[:, :-1]][..., 0], torch.tensor([1.0, 0.0, 2.0])
    made.value = nn.Linear(9, 1)
    with torch.no_grad():
        made.value.weight.copy_(torch.eye(9)[:1])
        made.value.bias.zero_()
    out = made.prepare_roll_out(text, written, score, log_p, log_p - 0.1, value)
    assert out.kl == pytest.approx(0.4, rel=1e-5) and out.reward == 1.0
    assert made.beta.beta == pytest.approx(0.05 * (1 - 0.1 * 0.2))  # 0.4 nats are far below the target
    loss = made(Policy(), out)
    assert loss.count == 12 and loss.parts["policy"].item() == pytest.approx(0, abs=1e-4)
    expected = 0.5 * ((value - out.returns)[written] ** 2).sum().item()
    assert loss.parts["value"].item() == pytest.approx(expected, rel=1e-5)
    assert loss.total.item() == pytest.approx(0.5 * expected, rel=1e-4)
    assert loss.parts["reward"].item() / 12 == 1.0 and loss.parts["clipped"].item() == 0
