"""A small T5: pre-trained by span corruption, resumed, asked to fill gaps, and taught three tasks by prefix."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from clew import cli
from clew.config import TokenizerConfig, build
from clew.data.mixture import Mixture, MixtureConfig
from clew.data.rows import ReadReport, Rows
from clew.errors import DataError, RecipeError, VocabularyError
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train
from clew.tasks.text_to_text import TextToText, TextToTextConfig, number
from clew.text.sentinels import encode_gaps, filled, gaps, sentinel_ids, with_sentinels
from clew.text.tokenizer import Tokenizer

WHO = ["Anna", "Bert", "Carl", "Dora"]
DOES = {"reads": "a book", "eats": "an apple", "drives": "a car"}
T5 = """
[model]
kind = "t5"
d_model = 32
d_kv = 16
d_ff = 64
n_heads = 2
n_encoder_layers = 2
n_decoder_layers = 2
dropout = 0.0
[objective]
kind = "translation"
label_smoothing = 0.0
[decode]
beam = 1
[train]
batch.tokens = 400
device = "cpu"
threads = 1
save_every = 20
evaluate_every = 100000
optimizer = { kind = "adamw", lr = 5e-3 }
schedule = { kind = "linear", warmup = 20 }
"""


@pytest.fixture(autouse=True)
def place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cache is shared, and the recipes' number of threads stays within the test."""
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


def sentence(rng: random.Random) -> str:
    verb = rng.choice([*DOES])
    return f"{rng.choice(WHO)} {verb} {DOES[verb]}."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of span corruption over documents whose every sentence's end follows from its verb."""
    folder, rng = tmp_path_factory.mktemp("t5"), random.Random(1)
    for name, n in (("text", 400), ("valid", 20)):
        documents = ["\n".join(sentence(rng) for _ in range(2)) for _ in range(n)]
        (folder / f"{name}.txt").write_text("\n\n".join(documents) + "\n")
    (folder / "denoise.toml").write_text(f"""
name = "tiny"
task = {{ kind = "denoise", max_length = 24, sentinels = 8 }}
data = {{ kind = "text", train = ["{folder}/text.txt"], valid = ["{folder}/valid.txt"] }}
tokenizer = {{ kind = "word", vocab_size = 60 }}
{T5}
budget = {{ steps = 300 }}
""")
    mp = pytest.MonkeyPatch()
    mp.setenv("CLEW_CACHE", str(folder / "cache"))
    result = clew("train", folder / "denoise.toml", "--out", folder / "run")
    mp.undo()
    assert result.exit_code == 0, result.output
    return folder


def test_it_learns_what_is_missing(home: Path) -> None:
    run = Run(home / "run")
    figures = run.results()["splits"]["valid"]
    assert figures["accuracy"]["value"] > 60  # names cannot be guessed
    asked = "Anna reads <extra_id_0>. Bert eats an apple.\nDora eats an <extra_id_0> drives a car.\n"
    answer = clew("predict", home / "run", "-", text=asked)
    first, second = answer.stdout.splitlines()
    assert first == "Anna reads a book. Bert eats an apple." and second.startswith("Dora eats an apple. "), (
        answer.output
    )
    wrong = clew("predict", home / "run", "-", text="Anna <extra_id_1> a book.\n")
    assert wrong.exit_code != 0 and "numbered [1]" in wrong.stderr


def test_resumed_is_uninterrupted(home: Path, tmp_path: Path) -> None:
    recipe, _ = load_recipe(home / "denoise.toml", ["train.budget.steps=50"])
    for _ in train(recipe, tmp_path / "whole"):
        pass
    for moment in train(recipe, tmp_path / "parted"):
        if moment.step.number == 35:
            break
    for _ in train(recipe, tmp_path / "parted", resume=True):
        pass
    whole, parted = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parted"))
    assert whole.keys() == parted.keys() and all(torch.equal(whole[name], parted[name]) for name in whole)


def mixture(home: Path, n: int = 30) -> str:
    """Three tasks on the same sentences: who acts (a label), what is done (a number), the sentence itself (a text)."""
    rng = random.Random(2)
    lines = [sentence(rng) for _ in range(n)]
    rows = [
        {"text": s, "who": str(WHO.index(s.split()[0])), "n": str([*DOES].index(s.split()[1]) / 2 + 0.03)}
        for s in lines
    ]
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = f'["{home}/rows.jsonl"]'
    data = f'{{ kind = "files", train = {file}, valid = {file}, columns = ["text", "who", "n"] }}'
    return f"""
name = "three"
task = {{ kind = "text_to_text", metrics = {{ who = "accuracy", n = "pearson", same = "bleu" }} }}
tokenizer = {{ kind = "word", vocab_size = 60 }}
[data]
kind = "mixture"
[data.parts.who]
data = {data}
input = "who: {{text}}"
target = "{{who}}"
names = {{ "0" = "anna", "1" = "bert", "2" = "carl" }}
[data.parts.n]
data = {data}
input = "act: {{text}}"
target = "{{n}}"
step = 0.5
[data.parts.same]
data = {data}
input = "say: {{text}}"
target = "{{text}}"
{T5}
budget = {{ steps = 150 }}
"""


def test_one_model_for_three_tasks(home: Path, tmp_path: Path) -> None:
    (tmp_path / "three.toml").write_text(mixture(home))
    result = clew("train", tmp_path / "three.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    figures = Run(tmp_path / "run").results()["splits"]["valid"]
    assert figures["accuracy:who"]["value"] > 95 and figures["bleu:same"]["value"] > 90
    assert figures["pearson:n"]["value"] > 99
    expected = sum(figures[name]["value"] for name in ("accuracy:who", "pearson:n", "bleu:same")) / 3
    assert figures["mean"]["value"] == pytest.approx(expected)
    answer = clew("predict", tmp_path / "run", "-", text="who: Dora eats an apple.\nwho: Bert reads a book.\n")
    assert answer.stdout == "3\nbert\n"
    outputs = Run(tmp_path / "run").outputs("valid")
    assert len(outputs) == 90 and set(outputs[:30]) == {"anna", "bert", "carl", "3"}


def test_it_starts_from_what_was_pretrained(home: Path, tmp_path: Path) -> None:
    (tmp_path / "three.toml").write_text(mixture(home).replace("d_model = 32", "d_model = 16"))
    recipe, _ = load_recipe(tmp_path / "three.toml", [f"model.start={home}/run", "train.budget.steps=1"])
    from clew.runs.training import open_training

    training = open_training(recipe, tmp_path / "run")
    assert training is not None
    assert training.recipe.model.d_model == 32  # type: ignore[attr-defined]
    assert any("every weight from" in line for line in training.report)
    old = Run(home / "run")
    assert training.preprocessor.source.inner.to_str() == old.preprocessor().source.inner.to_str()
    for name, tensor in old.model().state_dict().items():
        assert torch.equal(training.model.state_dict()[name], tensor)
    shutil.rmtree(tmp_path / "run")


def test_a_run_is_a_folder_of_transformers(home: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the package transformers")
    model, info = transformers.T5ForConditionalGeneration.from_pretrained(home / "run", output_loading_info=True)
    assert not any(info.values()), info
    tokenizer = transformers.AutoTokenizer.from_pretrained(home / "run")
    own = Run(home / "run").preprocessor().source
    assert tokenizer("Anna reads a book.").input_ids == [*own.encode(["Anna reads a book."])[0], own.eos_id]
    given = torch.tensor([[*encode_gaps(own, "Anna reads <extra_id_0>. Bert eats an apple."), own.eos_id]])
    said = tokenizer.decode(model.generate(given)[0], skip_special_tokens=True)
    assert said.strip().startswith("a book")


def test_a_folder_of_transformers_becomes_a_run(home: Path, tmp_path: Path) -> None:
    """As published: config.json without ours, an embedding padded with rows for no token, three copies of it."""
    theirs = tmp_path / "theirs"
    shutil.copytree(home / "run", theirs)
    for name in ("recipe.toml", "results.json", "metrics.jsonl"):
        (theirs / name).unlink()
    state = load_file(theirs / "model.safetensors")
    table = torch.cat([state.pop("shared.weight"), torch.ones(5, 32)])
    copies = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    save_file(state | {name: table.clone() for name in copies}, theirs / "model.safetensors", {"format": "pt"})
    config = json.loads((theirs / "config.json").read_text())
    del config["clew"]
    (theirs / "config.json").write_text(json.dumps(config | {"vocab_size": len(table)}))
    result = clew("import", theirs, "--out", tmp_path / "run")
    assert result.exit_code == 0 and "a t5 for the task denoise" in result.stdout, result.output
    asked = "Anna reads <extra_id_0>. Bert eats an apple.\n"
    answers = [clew("predict", run, "-", text=asked).stdout for run in (home / "run", tmp_path / "run")]
    assert answers[0] == answers[1] == "Anna reads a book. Bert eats an apple.\n"
    settings = 'task={kind="text_to_text", metrics={three="bleu"}}'
    result = clew("import", theirs, settings, "--out", tmp_path / "other")
    assert result.exit_code == 0 and "a t5 for the task text_to_text" in result.stdout, result.output


def rows() -> Rows:
    return Rows({"part": ["a", "a", "b"], "input": ["x", "y", "z"], "target": ["p", "q", "2.0"]}, ReadReport("here"))


def test_parts_and_metrics_must_agree() -> None:
    task = TextToText(TextToTextConfig(metrics={"a": "accuracy"}))
    with pytest.raises(RecipeError, match=r"parts a, b, and task.metrics has a"):
        task.check(rows())


def test_scores_by_hand() -> None:
    """Outputs come part by part, in the order of task.metrics; what is no number counts as -1."""
    task = TextToText(TextToTextConfig(metrics={"b": "pearson", "a": "accuracy"}))
    found = task.scores(["2.0", "p", "p"], rows(), task.by_part(rows()))
    assert {name: each.value for name, each in found.items()} == {"pearson:b": 0, "accuracy:a": 50}
    assert (number("3.4"), number("3 . 4"), number("four"), number("nan")) == (3.4, 3.4, -1, -1)


def test_templates(home: Path) -> None:
    mixture(home)
    data = {"kind": "files", "train": [f"{home}/rows.jsonl"], "columns": ["text", "n"], "hold_out": 0}
    part = {"data": data, "input": "{text}", "target": "{n}", "step": 0.2}
    made = Mixture(MixtureConfig.model_validate({"parts": {"n": part}}))
    assert made.splits == ("train",)
    assert set(made.split("train")["target"]) == {"0", "0.6", "1"}  # 0.03, 0.53, 1.03
    both = part | {"data": data | {"valid": data["train"]}}
    often = Mixture(MixtureConfig.model_validate({"parts": {"n": both | {"times": 3}, "m": both}}))
    n = len(made.split("train"))
    for split, times in (("train", 3), ("valid", 1)):
        assert [often.split(split)["part"].count(name) for name in ("n", "m")] == [times * n, n]
    with pytest.raises(DataError, match="does not fit the data: 'nn'"):
        build("data", MixtureConfig.model_validate({"parts": {"n": part | {"input": "{nn}"}}})).split("train")
    with pytest.raises(DataError, match="a target is no number"):
        build("data", MixtureConfig.model_validate({"parts": {"n": part | {"target": "{text}"}}})).split("train")


def test_sentinels() -> None:
    plain = Tokenizer.train(["one two three four"] * 3, TokenizerConfig(kind="word", vocab_size=20))
    made = with_sentinels(plain, 3)
    n = len(plain)
    assert sentinel_ids(made) == [n, n + 1, n + 2] and len(made) == n + 3
    assert with_sentinels(made, 3).inner.to_str() == made.inner.to_str()  # those that are there stay
    assert made.encode(["one two"]) == plain.encode(["one two"])
    one, two, three, four = (made.encode([word])[0][0] for word in ("one", "two", "three", "four"))
    ids = encode_gaps(made, "one <extra_id_0> three <extra_id_1>")
    assert ids == [one, n, three, n + 1]
    stop = Tokenizer.train(["one two. three a."] * 3, TokenizerConfig(kind="bpe", vocab_size=60))
    marked = with_sentinels(stop, 2)
    first, last, three = marked.encode(["one."])[0][0], marked.encode(["one."])[0][1], marked.encode(["three"])[0][0]
    (gap, _) = sentinel_ids(marked)
    assert encode_gaps(marked, "one <extra_id_0>. three") == [first, gap, last, three]
    assert encode_gaps(marked, "<extra_id_0> three a.")[:2] == [gap, three]
    assert n not in made.encode(["<extra_id_0>"])[0]  # text is text
    said = gaps(made, [two, n, two, n + 1, four, four, n + 2, one], 2)
    assert said == ["two", "four four"]
    assert filled("one <extra_id_0> three <extra_id_1>", said) == "one two three four four"
    assert gaps(made, [n + 1, four], 2) == ["", "four"]
    with pytest.raises(DataError, match="not at all"):
        encode_gaps(made, "one two")
    with pytest.raises(VocabularyError, match="no <extra_id_0>"):
        sentinel_ids(plain)
