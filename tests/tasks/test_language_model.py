"""A small model taught a text, resumed, and asked to go on with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from clew import cli
from clew.config import DecodeConfig
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train
from clew.tasks.language_model import before, safe

LINE = "the cat sat on the mat.\n"


@pytest.fixture(autouse=True)
def place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def clew(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


GPT2 = '{ kind = "gpt2", d_model = 32, n_heads = 2, n_layers = 2, max_length = 32, dropout = 0.1 }'
LSTM = '{ kind = "lstm", d_model = 48, n_layers = 2, dropout = 0.1 }'


def recipe(folder: Path, tokenizer: str, steps: int, model: str = GPT2) -> Path:
    (folder / "text.txt").write_text(LINE * 60)
    file = folder / "gpt.toml"
    file.write_text(f"""
name = "tiny"
task = {{ kind = "language_model", max_length = 16, document = "line" }}
data = {{ kind = "text", train = ["{folder}/text.txt"], held_out = 0.2 }}
tokenizer = {{ kind = "{tokenizer}", vocab_size = 300 }}
model = {model}
objective = {{ kind = "language_model" }}
decode = {{ beam = 1, max_length = 20, sample = {{ temperature = 0 }} }}
[train]
batch.tokens = 128
device = "cpu"
threads = 1
save_every = 5
optimizer = {{ kind = "adamw", lr = 1e-2 }}
schedule = {{ kind = "constant", warmup = 10 }}
budget = {{ steps = {steps} }}
""")
    return file


@pytest.fixture(scope="module", params=[("characters", GPT2, 150), ("gpt2", GPT2, 150), ("gpt2", LSTM, 400)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    kind, model, steps = request.param
    folder = tmp_path_factory.mktemp("write")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEW_CACHE", str(folder / "cache"))
        list(train(load_recipe(recipe(folder, kind, steps, model), [])[0], folder / "run"))
    return Run.open(folder / "run")


def test_it_goes_on_as_the_text_does(run: Run) -> None:
    model, preprocessor, decode = run.model(), run.preprocessor(), run.recipe.decode
    found = [*run.task.predict(model, preprocessor, ["the cat", "the cat sat on", ""], decode)]
    assert [each.text for each in found[:2]] == [" sat on the mat.", " the mat."]
    assert found[0].shown == LINE.strip() and found[0].score > -0.2


def test_streamed_text_is_the_same(run: Run) -> None:
    model, preprocessor = run.model(), run.preprocessor()
    for how in ({"temperature": 0}, {"temperature": 2.0, "seed": 3}, {"temperature": 0, "stop": ("the m",)}):
        decode = DecodeConfig.model_validate({"beam": 1, "max_length": 25, "sample": how})
        (at_once,) = run.task.predict(model, preprocessor, ["the cat"], decode)
        parts = [*run.task.stream(model, preprocessor, "the cat", decode)]
        assert "".join(parts) == at_once.text and len(parts) > 1
    assert at_once.text == " sat on "


def test_its_figures(run: Run) -> None:
    figures = run.results()["splits"]["valid"]
    assert 1 < figures["perplexity"]["value"] < 1.5
    per_word, per_byte = (math.log(figures[f"perplexity_per_{unit}"]["value"]) for unit in ("word", "byte"))
    assert per_word / per_byte == pytest.approx(len(LINE.strip()) / 6, rel=0.1)


def test_the_command(run: Run) -> None:
    out = clew("predict", run.path, "the cat sat")
    assert out.exit_code == 0, out.output
    assert out.stdout == "the cat sat on the mat.\n"
    out = clew("predict", run.path, "--json", "the cat sat")
    assert json.loads(out.stdout)["text"] == " on the mat."
    out = clew("predict", run.path, "the cat sat", "decode.max_length=100", 'decode.sample.stop=[" the"]')
    assert out.stdout == "the cat sat on\n"
    out = clew("predict", run.path, "decode.max_length=0")
    assert out.exit_code == 2 and "decode.max_length = 0" in out.output
    out = clew("predict", run.path, "the cat sat", "data.held_out=0.1")
    assert out.exit_code == 2 and "a trained run cannot change its data.held_out" in out.output
    out = clew("predict", run.path, text="the cat\nthe cat sat on\n")
    assert out.stdout == LINE * 2


@pytest.mark.parametrize("model", [GPT2, LSTM])
def test_resumed_is_uninterrupted(model: str, tmp_path: Path) -> None:
    settings = load_recipe(recipe(tmp_path, "characters", 12, model), [])[0]
    list(train(settings, tmp_path / "whole"))
    for moment in train(settings, tmp_path / "parted"):
        if moment.step.number == 7:
            break
    list(train(settings, tmp_path / "parted", resume=True))
    whole, parted = (Run.open(tmp_path / name).model().state_dict() for name in ("whole", "parted"))
    assert all(torch.equal(whole[name], parted[name]) for name in whole)


def test_a_smaller_run_guesses_ahead(run: Run, tmp_path: Path) -> None:
    small = f"""
task = {{ kind = "language_model", max_length = 16, document = "line" }}
name = "small"
data = {{ kind = "text", train = ["{tmp_path}/text.txt"], held_out = 0.2 }}
tokenizer = {{ start = "{run.path}" }}
model = {{ kind = "gpt2", d_model = 8, n_heads = 2, n_layers = 1, max_length = 32 }}
objective = {{ kind = "language_model" }}
decode = {{ beam = 1 }}
train = {{ batch.tokens = 128, device = "cpu", threads = 1, budget = {{ steps = 3 }} }}
"""
    (tmp_path / "text.txt").write_text(LINE * 60)
    (tmp_path / "small.toml").write_text(small)
    assert clew("train", tmp_path / "small.toml", "--out", tmp_path / "small").exit_code == 0
    out = clew("predict", run.path, "the cat sat", "--draft", tmp_path / "small")
    if run.recipe.model.kind == "lstm":
        assert out.exit_code == 1 and "cannot take back" in out.output
        return
    assert out.exit_code == 0, out.output
    assert out.stdout == "the cat sat on the mat.\n"  # what the larger one writes alone
    kind = "characters" if run.recipe.tokenizer.kind == "gpt2" else "gpt2"
    (tmp_path / "other.toml").write_text(small.replace(f'start = "{run.path}"', f'kind = "{kind}", vocab_size = 300'))
    assert clew("train", tmp_path / "other.toml", "--out", tmp_path / "other").exit_code == 0
    out = clew("predict", run.path, "the cat sat", "--draft", tmp_path / "other")
    assert out.exit_code == 2 and "vocabulary is another" in out.output
    out = clew("predict", run.path, "--draft", tmp_path / "small", text="the cat\n")
    assert out.exit_code == 2 and "only one text" in out.output


def test_a_beam_longer_than_the_model_reads_is_told_before_training(tmp_path: Path) -> None:
    file = recipe(tmp_path, "characters", 5)
    out = clew("train", file, "decode.beam=4", "decode.max_length=32", "--out", tmp_path / "run")
    assert out.exit_code == 2 and "decode.max_length" in out.output and not (tmp_path / "run").exists()
    assert clew("train", file, "decode.beam=4", "decode.max_length=31", "--out", tmp_path / "run").exit_code == 0


def test_questions_are_not_trained(tmp_path: Path) -> None:
    file = recipe(tmp_path, "characters", 5)
    task = 'task={kind="ask", prompt="{text}", choices=[" a", " b"], label="y", labels=["0", "1"]}'
    out = clew("train", file, task, "--out", tmp_path / "run")
    assert out.exit_code == 2 and "nothing to train" in out.output and "--ask" in out.output


def test_a_vocabulary_without_white_space_is_told(tmp_path: Path) -> None:
    out = clew("train", recipe(tmp_path, "bpe", 5), "--out", tmp_path / "run")
    assert out.exit_code == 2 and "loses the white space" in out.output


def test_stop_strings() -> None:
    assert before("one two three", ["three", "two"]) == "one "
    assert before("one", []) == "one"
    assert safe("one tw", ["two"]) == "one "
    assert safe("caf\ufffd", []) == "caf"
