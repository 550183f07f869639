"""Linear models of weighted n-grams: scikit-learn's numbers, and the whole thread from a table to a walk."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clew import cli
from clew.data.bags import Bags
from clew.errors import DataError, RecipeError
from clew.inspect.walks import take, walks_for
from clew.models.linear import Linear, LinearConfig
from clew.objectives.logistic_regression import LogisticRegression, LogisticRegressionConfig, Search
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import open_training, train
from clew.text.labelled_bag import LabelledTfidf
from clew.text.tfidf import Tfidf, of_characters, of_words

SIDES = {"good": ["fine", "lovely", "great"], "bad": ["poor", "awful", "dull"], "mixed": ["so-so", "mild", "half"]}
FILL = ["the", "film", "is", "a", "story", "of", "people", "and", "Élan", "x"]


def reviews(n: int, sides: int) -> tuple[list[str], list[str]]:
    """Texts of a few words, one of which says the label, as a rule."""
    rng = random.Random(n + sides)
    texts, labels = [], []
    for label in rng.choices([*SIDES][:sides], k=n):
        said = label if rng.random() < 0.9 else rng.choice([*SIDES][:sides])
        words = [*rng.choices(FILL, k=rng.randint(1, 9)), rng.choice(SIDES[said])]
        rng.shuffle(words)
        texts.append(" ".join(words) + "!")
        labels.append(label)
    return texts, labels


@pytest.mark.parametrize("sides", [2, 3])
@pytest.mark.parametrize(
    "settings",
    [{}, {"sublinear": False, "characters": (0, 0)}, {"words": (0, 0), "characters": (3, 3), "lowercase": False},
     {"min_documents": 3}],
)  # fmt: skip
def test_scikit_learn_has_the_same_figures(sides: int, settings: dict[str, Any]) -> None:
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression as Theirs
    from sklearn.pipeline import make_union

    config = LinearConfig(**settings)
    texts, answers = reviews(120, sides)
    fresh, _ = reviews(41, sides)
    fresh += ["", "unheard-of"]
    shared: dict[str, Any] = {
        "sublinear_tf": config.sublinear, "lowercase": config.lowercase, "min_df": config.min_documents,
    }  # fmt: skip
    parts = []
    if config.words != (0, 0):
        parts.append(TfidfVectorizer(ngram_range=config.words, token_pattern=r"\w+|[^\w\s]", **shared))
    if config.characters != (0, 0):
        parts.append(TfidfVectorizer(analyzer="char_wb", ngram_range=config.characters, **shared))
    theirs = make_union(*parts)
    x = theirs.fit_transform(texts)
    labels = sorted({*answers})
    fitted = Theirs(C=2.0, tol=1e-8, max_iter=10_000).fit(x, answers)

    preprocessor = LabelledTfidf.learn(texts, labels, config)
    bags = preprocessor.tokenizer.bags(texts)
    assert [name for part in preprocessor.tokenizer.parts.values() for name in part.names] == [
        name for part in parts for name in part.get_feature_names_out()
    ]
    np.testing.assert_allclose(bags.toarray(), x.toarray(), atol=1e-12)
    model = fit(preprocessor, texts, answers, C=2.0, tolerance=1e-8)
    mine = model(Bags(preprocessor.tokenizer.bags(fresh), [0] * len(fresh)).batch(range(len(fresh)))).logits
    np.testing.assert_allclose(mine.softmax(dim=1).detach(), fitted.predict_proba(theirs.transform(fresh)), atol=1e-5)
    weights = (model.weight[:, 1] - model.weight[:, 0])[None] if sides == 2 else model.weight.T
    np.testing.assert_allclose(weights.detach(), fitted.coef_, atol=1e-4)


def fit(preprocessor: LabelledTfidf, texts: list[str], answers: list[str], **settings: Any) -> Linear:
    """A model at its minimum."""
    objective = LogisticRegression(LogisticRegressionConfig(**settings))
    bags = Bags(preprocessor.tokenizer.bags(texts), [preprocessor.index[answer] for answer in answers])
    loader = objective.loader(bags.loader(None, 1), None)  # type: ignore[arg-type]
    model = Linear(LinearConfig(), preprocessor.spec, len(preprocessor.labels))
    loss = objective(model, next(iter(loader)))
    assert objective.finished and loss.count == len(texts)
    return model


@pytest.mark.parametrize("classes", [2, 3])
def test_the_gradient_is_that_of_the_loss(classes: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.random((7, 4)) * (rng.random((7, 4)) < 0.6)
    labels, each = rng.integers(classes, size=7), rng.random(7) + 0.5
    from scipy import sparse

    search = Search(sparse.csr_array(x), labels, classes, each, 0.7)
    point = rng.standard_normal(5 * (1 if classes == 2 else classes))
    weight, bias = search.whole(point)
    loss, gradient = search(point)
    # As a loop writes it: Σ c·nll + |W|²/(2C), of two classes of the difference of their vectors.
    p = [np.exp(row) / np.exp(row).sum() for row in x @ weight + bias]
    penalty = np.square(weight[:, 1] - weight[:, 0]).sum() if classes == 2 else np.square(weight).sum()
    expected = sum(-c * np.log(row[y]) for c, row, y in zip(each, p, labels, strict=True)) + penalty / 1.4
    assert loss == pytest.approx(expected / 7)
    for i in range(len(point)):
        step = np.eye(len(point))[i] * 1e-6
        assert gradient[i] == pytest.approx((search(point + step)[0] - search(point - step)[0]) / 2e-6, abs=1e-7)


def test_ngrams() -> None:
    assert of_words("a film, a", (1, 2)) == ["a", "film", ",", "a", "a film", "film ,", ", a"]
    assert of_characters("ab", (2, 5)) == [" a", "ab", "b ", " ab", "ab ", " ab "]
    assert of_characters("a", (4, 5)) == [" a "]
    pair = Tfidf.learn(["one two\tthree"], LinearConfig(characters=(0, 0)))
    assert pair.bags(["one two"], ["three"]).nnz == 4  # one, two, one two, three: none across the border
    with pytest.raises(DataError, match="no n-gram stands in 2 of the 1"):
        Tfidf.learn(["a film"], LinearConfig(min_documents=2))
    with pytest.raises(ValueError, match="nothing to read"):
        LinearConfig(words=(0, 0), characters=(0, 0))
    with pytest.raises(ValueError, match="shortest and the longest"):
        LinearConfig(words=(2, 1))


def test_a_search_that_does_not_end_is_told() -> None:
    texts, answers = reviews(60, 2)
    preprocessor = LabelledTfidf.learn(texts, ["bad", "good"], LinearConfig())
    with pytest.raises(RecipeError, match="minimum was not found"):
        fit(preprocessor, texts, answers, iterations=1, tolerance=1e-9)


def test_balanced_classes_count_alike() -> None:
    texts, answers = ["good"] * 9 + ["bad"] * 3, ["good"] * 9 + ["bad"] * 3
    preprocessor = LabelledTfidf.learn(texts, ["bad", "good"], LinearConfig())
    model = fit(preprocessor, texts, answers, class_weights="balanced", tolerance=1e-8)
    nothing = model(Bags(preprocessor.tokenizer.bags(["?"]), [0]).batch([0])).logits
    assert nothing.softmax(dim=1)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    plain = fit(preprocessor, texts, answers, tolerance=1e-8)
    assert plain(Bags(preprocessor.tokenizer.bags(["?"]), [0]).batch([0])).logits.argmax() == 1


# The whole thread.


def clew(*arguments: str | Path, text: str | None = None) -> Any:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear")
    for name, n in (("train", 150), ("valid", 40)):
        rows = (f"{text}\t{label}" for text, label in zip(*reviews(n, 3), strict=True))
        (folder / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    (folder / "neural.toml").write_text(f"""
name = "neural"
[task]
kind = "classify"
text = "text"
label = "label"
[data]
kind = "files"
train = ["{folder}/train.tsv"]
valid = ["{folder}/valid.tsv"]
columns = ["text", "label"]
[tokenizer]
kind = "word"
[model]
kind = "text_classifier"
d_embedding = 8
d_model = 8
[objective]
kind = "classification"
[train]
average = 0.9
threads = 1
budget.epochs = 2
""")
    (folder / "linear.toml").write_text('extends = "neural.toml"\nname = "linear"\n[model]\nkind = "linear"\n')
    for _ in train(load_recipe(folder / "linear.toml")[0], folder / "run"):
        pass
    return folder


def test_the_kind_of_model_brings_its_objective(place: Path) -> None:
    recipe, origin = load_recipe(place / "linear.toml")
    assert recipe.objective.kind == "logistic_regression"
    assert "linear.toml:4 (a linear brings it)" in origin["objective.kind"]
    assert load_recipe(place / "neural.toml", ["model.kind=linear"])[0].objective == recipe.objective
    chosen = load_recipe(place / "neural.toml", ["model.kind=linear", "objective.kind=classification"])[0]
    assert chosen.objective.kind == "classification"
    assert load_recipe(place / "linear.toml", ["objective.C=2"])[0].objective.model_dump()["C"] == 2
    with pytest.raises(RecipeError, match="bags of n-grams"):
        open_training(load_recipe(place / "neural.toml", ["objective.kind=logistic_regression"])[0], place / "wrong")


def test_one_step_is_the_whole_search(place: Path) -> None:
    run = Run.open(place / "run")
    results = run.results()
    assert results["step"] == 1 and results["best"]["best_step"] == 1  # though two epochs were allowed
    assert any("optimizer and schedule are not used" in line for line in results["data"])
    assert results["splits"]["valid"]["accuracy"]["value"] > 60
    row = next(row for row in run.metrics() if "iterations" in row)
    assert row["accuracy"] > 0.9 and row["iterations"] >= 3
    assert open_training(run.recipe, place / "run", resume=True) is None


def test_an_interrupted_search_begins_again_and_ends_alike(place: Path) -> None:
    recipe = load_recipe(place / "linear.toml")[0]
    training = open_training(recipe, place / "again")
    assert training is not None
    next(training.go())  # the checkpoint is written; killed before the results
    again = open_training(recipe, place / "again", resume=True)
    assert again is not None
    assert list(again.go()) == []  # it was at the minimum
    again.finish()
    one, other = (Run.open(place / name).model().state_dict() for name in ("run", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_predictions_and_table_are_the_same_scores(place: Path) -> None:
    texts = ["the film is lovely!", "half and half", "words-never-seen"]
    (place / "texts.txt").write_text("\n".join(texts) + "\n")
    out = clew("predict", place / "run", place / "texts.txt", "--json", "--n-best", "3").stdout
    said = [json.loads(line) for line in out.splitlines()]
    assert [each["text"] for each in said][:2] == ["good", "mixed"]
    clew("export", place / "run", "--to", "table", "--out", place / "weights.tsv")
    with (place / "weights.tsv").open(encoding="utf-8") as file:
        bias, *rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    preprocessor = Run.open(place / "run").preprocessor()
    labels = preprocessor.labels
    assert len(rows) == preprocessor.spec.n_features and bias["sort"] == "bias"
    weights = np.array([[float(row[label]) for label in labels] for row in rows])
    scores = preprocessor.tokenizer.bags(texts) @ weights + np.array([float(bias[label]) for label in labels])
    p = torch.from_numpy(scores).softmax(dim=1)
    for row, each in zip(p.tolist(), said, strict=True):
        assert {h["text"]: pytest.approx(h["score"], abs=1e-5) for h in each["n_best"]} == dict(
            zip(labels, row, strict=True)
        )


def test_what_spoke_for_a_label_is_walked_through(place: Path) -> None:
    run = Run.open(place / "run")
    model, preprocessor = run.model(), run.preprocessor()
    offers = walks_for(run.recipe, model)
    assert [offer.kind for offer in offers] == ["evidence"]
    walk = take(model, preprocessor, "a lovely film", kind="evidence")
    assert walk.title == "What spoke for “good”"
    assert any(name in ("lovely", "‹ove›", "‹lovel›", "‹love›") for name in walk.tokens[:5])
    assert all(step.check is None or step.check < 1e-6 for step in walk.steps)
    assert [step.check is None for step in walk.steps] == [True, False, True, False, False]
    values = {value.name: value for step in walk.steps for value in step.values}
    said = np.array(values["s"].data)[:, preprocessor.index["good"]]
    assert (np.diff(np.abs(said)) <= 1e-12).all() and said[0] > 0
    with pytest.raises(DataError, match="nothing in this text"):
        take(model, preprocessor, "ŋŋŋ", kind="evidence")


def test_it_competes_with_a_neural_model(place: Path) -> None:
    out = clew("compare", place / "linear.toml", place / "neural.toml", "--out", place / "both", "--json").stdout
    view = json.loads(out)
    kinds = {model["kind"]: model for model in view["models"]}
    assert kinds["linear"]["results"]["accuracy"]["mean"] > kinds["text_classifier"]["results"]["accuracy"]["mean"]
    assert kinds["linear"]["parameters"] == 3 * (Run.open(place / "run").preprocessor().spec.n_features + 1)


def test_steps_of_an_optimizer_fit_it_too(place: Path) -> None:
    settings = [
        "objective.kind=classification",
        "name=steps",
        "train.optimizer={kind='adamw', lr=0.05}",
        "train.batch={examples=10}",
    ]
    recipe = load_recipe(place / "linear.toml", settings)[0]
    for _ in train(recipe, place / "steps"):
        pass
    results = Run.open(place / "steps").results()
    assert results["step"] == 30 and results["splits"]["valid"]["accuracy"]["value"] > 60


def test_it_labels_texts_and_nothing_else(place: Path) -> None:
    with pytest.raises(RecipeError, match="does not tag"):
        Linear.with_head("tag", LinearConfig(), LabelledTfidf.learn(["a b"], ["x", "y"], LinearConfig()).spec, 2)
    from clew.inputs import Tokens

    with pytest.raises(RecipeError, match="one of several labels"):
        Linear.with_head("classify", LinearConfig(), Tokens(9), 2)
