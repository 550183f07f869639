"""Classes outside of clew, `kind = "package.module:Class"`, through every command; and not out of a received folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from clew import cli, config
from clew.decode.writer import writer
from clew.hub.adapter import OwnFormat, adapter_of
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.web.folder import Runs

CLASSES = '''
from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Encoder, Loss
from clew.data.rows import ReadReport, Rows
from clew.data.source import Source, SourceConfig
from clew.inputs import Tokens
from clew.models.bert import Bert, BertConfig
from clew.models.gpt2 import GPT2, DecoderOutput, GPT2Config
from clew.objectives.classification import Classification, ClassificationConfig
from clew.tasks.classify import Classify, ClassifyConfig


class MyGPT(GPT2):
    """GPT-2 whose last states are doubled: an engine for GPT-2 would not know."""

    class Config(GPT2Config):
        kind: str = "mine:MyGPT"

    def forward(self, text: Tensor, position: Any = None, cache: Any = None) -> DecoderOutput:
        return DecoderOutput(2 * super().forward(text, position, cache).hidden)


class MyBert(Bert):
    """BERT with a tensor that transformers does not have."""

    class Config(BertConfig):
        kind: str = "mine:MyBert"

    def __init__(self, config: Any, spec: Tokens) -> None:
        super().__init__(config, spec)
        self.gain = nn.Parameter(torch.ones(config.d_model))

    def pooled(self, batch: TextBatch) -> Tensor:
        return super().pooled(batch) * self.gain


class SameBert(Bert):
    """BERT with other settings, and nothing else: it says so."""

    exports = Bert.exports

    class Config(BertConfig):
        kind: str = "mine:SameBert"
        dropout: float = Field(0.0, ge=0, lt=1)


class Output:
    def __init__(self, pooled: Tensor) -> None:
        self.pooled = pooled


class Bag(Encoder):
    """The mean of a text's vectors: an encoder of one's own, with `pooled` alone."""

    class Config(Choice):
        kind: str = "mine:Bag"
        width: int = 8

    def __init__(self, config: Any, spec: Tokens) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.table = nn.Embedding(spec.vocab_size, config.width)
        self.mix = nn.Linear(config.width, config.width)

    def forward(self, batch: TextBatch, at: Any = None) -> Output:
        weights = batch.mask[..., None].float()
        return Output(torch.tanh(self.mix((self.table(batch.text) * weights).sum(1) / weights.sum(1))))

    def blocks(self) -> list[nn.Module]:
        return [self.table, self.mix]


class Sides(Classify):
    """Classification under another name."""

    example_name = "opinion"

    class Config(ClassifyConfig):
        kind: str = "mine:Sides"


class Sharper(Classification):
    class Config(ClassificationConfig):
        kind: str = "mine:Sharper"

    def __call__(self, model: Any, batch: TextBatch) -> Loss:
        loss = super().__call__(model, batch)
        return Loss(2 * loss.total, loss.count, loss.tokens, loss.parts)


class Opinions(Source):
    class Config(SourceConfig):
        kind: str = "mine:Opinions"
        size: int = 40

    @property
    def about(self) -> dict[str, Any]:
        return {"what": "opinions", "licence": "none needed", "size": 0, "columns": ["text", "label"], "url": ""}

    def _given(self) -> tuple[str, ...]:
        return ("train", "valid")

    def _read(self, name: str) -> Rows:
        sides = [("good", "fine") if n % 2 else ("bad", "dull") for n in range(self.config.size)]
        columns = {"text": [f"film {n % 7} is {word}" for n, (_, word) in enumerate(sides)],
                   "label": [label for label, _ in sides]}
        return Rows(columns, ReadReport(name, len(sides), len(sides)))
'''
TRAIN = """
[train]
batch.examples = 10
device = "cpu"
threads = 1
save_every = 2
keep = 9
optimizer = { kind = "adam", lr = 1e-2 }
schedule = { kind = "constant" }
budget = { steps = 4 }
"""
OPINIONS = """
name = "opinions"
task = { kind = "mine:Sides", text = "text", label = "label", max_length = 12 }
data = { kind = "mine:Opinions" }
tokenizer = { kind = "wordpiece", vocab_size = 60 }
objective = { kind = "mine:Sharper" }
"""
ENCODERS = {
    "MyBert": 'model = { kind = "mine:MyBert", d_model = 8, d_ff = 12, n_heads = 2, n_layers = 2, max_length = 16 }',
    "SameBert": 'model = { kind = "mine:SameBert", d_model = 8, d_ff = 9, n_heads = 2, n_layers = 1, max_length = 16 }',
    "Bag": 'model = { kind = "mine:Bag" }',
}
WRITING = """
name = "writing"
task = { kind = "language_model", max_length = 16 }
data = { kind = "text", train = ["TEXT"] }
tokenizer = { kind = "characters" }
model = { kind = "mine:MyGPT", d_model = 8, n_heads = 2, n_layers = 2, max_length = 32, dropout = 0.0 }
objective = { kind = "language_model" }
decode = { beam = 1, max_length = 6, sample = { temperature = 0.0 } }
""" + TRAIN.replace("batch.examples = 10", "batch.tokens = 64")  # fmt: skip


def clew(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that Python finds modules in, with recipes and a run of each."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(CLASSES, encoding="utf-8")
    (folder / "text.txt").write_text("the cat sat on the mat .\n" * 30, encoding="utf-8")
    sys.path.insert(0, str(folder))
    for name, model in ENCODERS.items():
        (folder / f"{name}.toml").write_text(OPINIONS + model + TRAIN, encoding="utf-8")
    (folder / "MyGPT.toml").write_text(WRITING.replace("TEXT", str(folder / "text.txt")), encoding="utf-8")
    for name in [*ENCODERS, "MyGPT"]:
        result = clew("train", folder / f"{name}.toml", "--out", folder / "runs" / name)
        assert result.exit_code == 0, result.output
    yield folder
    sys.path.remove(str(folder))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_classifier_is_used_again(place: Path, name: str) -> None:
    run = Run.open(place / "runs" / name)
    said = clew("predict", run.path, "film 3 is fine", "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["text"] in ("good", "bad")
    figures = clew("evaluate", run.path, "--split", "valid", "--json")
    assert figures.exit_code == 0, figures.output
    measured, kept = json.loads(figures.stdout), run.results()["splits"]["valid"]
    assert measured["accuracy"] == kept["accuracy"]
    own = run.model().state_dict()
    for step in run.steps():
        assert run.model(step=step).state_dict().keys() == own.keys()
    last = run.model(step=4).state_dict()
    assert run.steps() == [2, 4] and all(torch.equal(last[key], own[key]) for key in own)


def test_what_transformers_has_is_kept_as_its_and_all_else_as_clews(place: Path) -> None:
    formats = {name: adapter_of(Run.open(place / "runs" / name).model()) for name in [*ENCODERS, "MyGPT"]}
    assert {name for name, each in formats.items() if type(each) is OwnFormat} == {"MyBert", "Bag"}
    settings = json.loads((place / "runs" / "SameBert" / "config.json").read_text())
    assert settings["architectures"] == ["BertForSequenceClassification"]


def test_a_writer_writes_as_its_class_computes(place: Path) -> None:
    run = Run.open(place / "runs" / "MyGPT")
    said = clew("predict", run.path, "the c")
    assert said.exit_code == 0, said.output
    model, tokenizer = run.model(), run.preprocessor()
    text = torch.tensor(tokenizer.encode(["the c"]))
    with torch.no_grad():
        assert torch.equal(writer(model, "fp32")(text).hidden, model(text).hidden)
    figures = clew("evaluate", run.path, "--split", "valid", "--json")
    assert figures.exit_code == 0, figures.output
    assert json.loads(figures.stdout)["perplexity"] == run.results()["splits"]["valid"]["perplexity"]


def test_only_what_a_class_says_itself_is_exported(place: Path, tmp_path: Path) -> None:
    same, mine, to = place / "runs" / "SameBert", place / "runs" / "MyBert", "--to=sentence-transformers"
    done = clew("export", same, to, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "modules.json").is_file()
    refused = clew("export", mine, to)
    assert refused.exit_code == 2 and "for this run: none" in refused.output


@pytest.mark.parametrize("tuning", ["frozen", "gradual", "layerwise", "lora"])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_tuning_takes_an_encoder_of_ones_own(place: Path, tmp_path: Path, name: str, tuning: str) -> None:
    settings = [f'train.tuning.kind="{tuning}"']
    if (name, tuning) == ("Bag", "lora"):
        settings.append('train.tuning.targets=["mix"]')  # it has no attention
    result = clew("train", place / f"{name}.toml", "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    run = Run.open(tmp_path / "run")
    own, last = run.model().state_dict(), run.model(step=4).state_dict()
    assert own.keys() == last.keys() and all(torch.allclose(own[key], last[key], atol=1e-6) for key in own)
    assert clew("predict", run.path, "film 3 is fine").exit_code == 0


@pytest.fixture
def received(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of another's, in a process that has not seen its classes."""
    shutil.copytree(place / "runs" / "Bag", tmp_path / "runs" / "bag")
    monkeypatch.setattr(config, "_imported", set())
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path / "runs" / "bag"


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "RUN", "film 3 is fine"],
        ["evaluate", "RUN", "--split", "valid"],
        ["export", "RUN", "--to", "onnx"],
        ["train", "RUN", "--resume"],
        ["train", "RUN/recipe.toml"],
        ["compare", "RUN/recipe.toml", "--budget", "1steps"],
        ["recipe", "RUN/recipe.toml"],
    ],
    ids=" ".join,
)
def test_a_received_run_imports_nothing(received: Path, tmp_path: Path, command: list[str]) -> None:
    result = clew(*(each.replace("RUN", str(received)) for each in command))
    assert result.exit_code == 2, result.output
    assert '"mine:' in result.output and "--trust" in result.output
    assert "mine" not in sys.modules


@pytest.mark.parametrize("command", [["predict", "RUN", "film 3 is fine"], ["evaluate", "RUN", "--split", "valid"],
                                     ["train", "RUN", "--resume"]], ids=" ".join)  # fmt: skip
def test_a_trusted_run_is_used(received: Path, command: list[str]) -> None:
    result = clew(*(each.replace("RUN", str(received)) for each in command), "--trust")
    assert result.exit_code == 0, result.output
    assert not config.trusted()  # only for as long as the command ran


def test_the_list_of_runs_says_so_and_imports_nothing(received: Path) -> None:
    [found] = Runs(received.parent).summaries()
    assert "mine:Sides" in found["problem"] and found["step"] == 4
    assert "mine" not in sys.modules
    with config.trusting():
        [found] = Runs(received.parent).summaries()
    assert not found["problem"] and found["family"] == "mine:Bag"


def test_a_class_that_a_recipe_of_ones_own_names_is_known(received: Path, place: Path) -> None:
    load_recipe(place / "Bag.toml")
    assert Run.open(received).recipe.model.kind == "mine:Bag"


def test_in_a_process_of_its_own(place: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *sys.path[1:]])}
    command = [sys.executable, "-m", "clew", "predict", str(place / "runs" / "Bag"), "film 3 is fine"]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert refused.returncode == 2 and "--trust" in refused.stderr
    used = subprocess.run([*command, "--trust"], capture_output=True, text=True, env=environment)
    assert used.returncode == 0 and used.stdout.strip() in ("good", "bad"), used.stderr
