"""fastText's classifier: its program's rows and numbers, the compiled steps against autograd, the thread to a walk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from clew import cli
from clew.data.bags import Bags
from clew.errors import ClewError, DataError, RecipeError
from clew.hub.fasttext_classifier import ClassifierFile, write
from clew.inputs import Bag
from clew.inspect.walks import take, walks_for
from clew.models.fasttext import FastText, FastTextConfig
from clew.objectives.bag_classification import BagClassification, BagClassificationConfig
from clew.runs import Run
from clew.runs.imported import import_checkpoint
from clew.text.hashed import HashedNgrams
from clew.text.labelled_bag import LabelledHashed
from clew.train.optim import Rate

SIDES = {"good": ["fine", "lovely", "naïve"], "bad": ["dull", "cold", "猫"]}
FILL = ["the", "film", "is", "a", "story", "of", "people"]
PLAIN = {"lowercase": False, "marks": False, "d_model": 6, "buckets": 211}
SETTINGS: dict[str, dict[str, Any]] = {
    "words": {"words": 1}, "pairs of words": {"words": 2}, "letters": {"words": 3, "min_n": 2, "max_n": 4},
}  # fmt: skip


def reviews(n: int) -> tuple[list[str], list[str]]:
    rng = random.Random(n)
    labels = rng.choices([*SIDES], k=n)
    texts = [" ".join([*rng.choices(FILL, k=rng.randint(1, 7)), rng.choice(SIDES[label])]) for label in labels]
    return texts, labels


def small(**settings: Any) -> tuple[FastText, LabelledHashed, Bags]:
    config = FastTextConfig(**PLAIN | settings)
    texts, labels = reviews(60)
    reader = LabelledHashed.learn(texts, [*SIDES], config)
    torch.manual_seed(1)
    model = FastText(config, reader.spec, len(SIDES))
    return model, reader, Bags(reader.tokenizer.bags(texts), [reader.index[label] for label in labels])


def test_rows_are_those_of_the_program() -> None:
    features = HashedNgrams(FastTextConfig(words=3, buckets=1000, lowercase=False, marks=False), ["a", "</s>"], [1, 1])
    h = [0xE40C292C, 0xE70C2DE5]  # FNV-1a of "a" and "b"
    rows = [row for row, _ in features.pieces("a b")]
    assert rows[:2] == [0, 1] and len(rows) == 5
    wide = [value - (1 << 32) for value in h]  # kept with a sign
    assert rows[2] == 2 + (wide[0] * 116049371 + wide[1]) % (1 << 64) % 1000
    assert features.names_of(rows, "a b") == ["a", "</s>", "a b", "a b </s>", "b </s>"]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_engine_takes_the_steps_of_the_equation(settings: dict[str, Any]) -> None:
    model, _, bags = small(**settings)
    with torch.no_grad():
        model.output.normal_()
    readable = FastText(model.config, Bag(len(model.input)), model.n_outputs)
    readable.load_state_dict(model.state_dict())
    objective = BagClassification(BagClassificationConfig())
    objective.prepare(model, Rate(model, 0.3))  # type: ignore[arg-type]
    found = objective(model, bags.batch(range(60)))
    total = 0.0
    for row in range(60):
        batch = bags.batch([row])
        loss = F.cross_entropy(readable(batch).logits, batch.label)
        total += float(loss.detach())
        gradients = torch.autograd.grad(loss, [readable.input, readable.output])
        with torch.no_grad():
            for table, gradient in zip((readable.input, readable.output), gradients, strict=True):
                table -= 0.3 * gradient
    assert found.count == 60 and float(found.total) == pytest.approx(total, rel=1e-4)
    torch.testing.assert_close(model.input, readable.input, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.output, readable.output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_bag_is_the_mean_of_its_rows(settings: dict[str, Any]) -> None:
    model, reader, _ = small(**settings)
    rows = [row for row, _ in reader.tokenizer.pieces("the film is the film")]
    assert sorted(rows) == sorted(reader.tokenizer.rows("the film is the film").tolist())
    batch = Bags(reader.tokenizer.bags(["the film is the film"]), [0]).batch([0])
    with torch.no_grad():
        model.output.normal_()
        mean = model.input[torch.tensor(rows)].mean(dim=0)
        torch.testing.assert_close(model(batch).logits[0], mean @ model.output.t(), atol=1e-6, rtol=1e-5)
    assert float(batch.weight.sum()) == pytest.approx(1)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_bin_comes_back(settings: dict[str, Any], tmp_path: Path) -> None:
    model, reader, bags = small(**settings)
    with torch.no_grad():
        model.output.normal_()
    write(model, reader, tmp_path / "classifier.bin")
    run = import_checkpoint(str(tmp_path / "classifier.bin"), tmp_path / "run")
    again, theirs = run.model(), run.preprocessor()
    assert theirs.labels == reader.labels and theirs.tokenizer.words == reader.tokenizer.words
    texts = [*reviews(9)[0], "unheard-of", ""]
    for each in (reader, theirs):
        assert (each.tokenizer.bags(texts) != reader.tokenizer.bags(texts)).nnz == 0
    batch = bags.batch(range(9))
    assert torch.equal(model(batch).logits, again(batch).logits)


@pytest.mark.peers
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_program_has_the_same_probabilities(settings: dict[str, Any], tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="needs the package fasttext")
    texts, labels = reviews(300)
    lines = [f"__label__{label} {text}" for label, text in zip(labels, texts, strict=True)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    theirs = fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=6, epoch=5, lr=0.5, thread=1, verbose=0, bucket=211,
        wordNgrams=settings["words"], minn=settings.get("min_n", 0), maxn=settings.get("max_n", 0),
    )  # fmt: skip
    theirs.save_model(str(tmp_path / "theirs.bin"))
    run = import_checkpoint(str(tmp_path / "theirs.bin"), tmp_path / "run")
    model, reader = run.model(), run.preprocessor()
    write(model, reader, tmp_path / "back.bin")  # type: ignore[arg-type]
    back = fasttext.load_model(str(tmp_path / "back.bin"))
    for text in [*reviews(20)[0], "unheard-of words", ""]:
        logits = model(Bags(reader.tokenizer.bags([text]), [0]).batch([0])).logits[0]
        ours = dict(zip(reader.labels, logits.softmax(dim=0).tolist(), strict=True))
        for program in (theirs, back):
            for label, p in zip(*program.predict(text, k=2), strict=True):
                assert ours[label.removeprefix("__label__")] == pytest.approx(p, abs=2e-5)


def recipe(place: Path, **model: Any) -> list[str]:
    texts, labels = reviews(200)
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True))
    (place / "rows.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    (place / "recipe.toml").write_text(f"""
name = "reviews"
task = {{ kind = "classify", text = "text", label = "label" }}
data = {{ kind = "files", train = ["{place}/rows.tsv"], columns = ["text", "label"] }}
model = {{ kind = "fasttext", buckets = 500 }}
train = {{ budget = {{ epochs = 12 }}, batch.examples = 16, threads = 1 }}
""")
    return [str(place / "recipe.toml"), *(f"model.{key}={value}" for key, value in model.items())]


def test_from_a_table_to_a_walk(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(cli.app, ["train", *recipe(tmp_path), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = Run.open(tmp_path / "run")
    assert run.recipe.objective.kind == "bag_classification" and run.recipe.train.schedule.warmup == 0
    assert run.results()["splits"]["valid"]["accuracy"]["value"] > 95
    said = runner.invoke(cli.app, ["predict", str(run.path), "a dull story"])
    assert said.stdout.startswith("bad")
    model, reader = run.model(), run.preprocessor()
    assert "evidence" in {each.kind for each in walks_for(run.recipe, model)}
    walk = take(model, reader, "a dull story", kind="evidence")
    assert "bad" in walk.title and any("dull" in token for token in walk.tokens[:3])
    assert all(step.check is None or step.check < 1e-5 for step in walk.steps)
    written = runner.invoke(cli.app, ["export", str(run.path), "--to", "fasttext-classifier"])
    assert written.exit_code == 0 and "marks parted" in written.output
    assert ClassifierFile(run.path / "classifier.bin").config.words == 2


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set both"):
        FastTextConfig(min_n=2)
    with pytest.raises(DataError, match="no word stands 3 times"):
        HashedNgrams.learn(["a b"], FastTextConfig(min_count=3))
    with pytest.raises(RecipeError, match="lacks"):
        model, _, bags = small()
        BagClassification(BagClassificationConfig())(model, bags.batch([0]))
    done = CliRunner().invoke(
        cli.app, ["train", *recipe(tmp_path), "model.kind=text_classifier", "objective.kind=bag_classification"]
    )
    assert done.exit_code == 2 and "over bags of n-grams" in done.output
    (tmp_path / "no.bin").write_bytes(b"no model" * 9)
    with pytest.raises(ClewError, match="no fastText model"):
        import_checkpoint(str(tmp_path / "no.bin"), tmp_path / "other")
    assert np.isfinite(small()[0].input.detach().numpy()).all()
