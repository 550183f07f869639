"""Reports: every figure comes from the run folders, and the words claim no more than the figures carry."""

import json

import pytest
from study_fakes import PREPROCESSOR, recipe, train

from clew.errors import RecipeError, RunError
from clew.runs.folder import Run
from clew.study import report
from clew.study.compare import compare
from clew.study.plan import make_plan
from clew.study.report import write_report
from clew.study.view import Finished, curve
from clew.study.words import figure, markdown
from clew.tasks.examples import by_length

KEY = "model.attention.score"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Trains a study with fakes and writes its report."""
    monkeypatch.setattr(Run, "model", lambda self, device="cpu": self.recipe.model.attention.score)
    monkeypatch.setattr(Run, "preprocessor", lambda self: PREPROCESSOR)
    monkeypatch.setattr(report, "single_file", lambda view, data: f"<html>{view} {json.dumps(data)}</html>")

    def make(scores: list[str], seeds: int = 1, target: float | None = None, **changes):
        plan = make_plan([recipe(**changes)], {KEY: scores}, seeds, tmp_path, command="clew compare lstm.toml")
        list(compare(plan, train=train))
        return write_report(tmp_path, target=target)

    return make


def test_the_view_holds_what_the_runs_measured(study, tmp_path) -> None:
    view = study(["none", "additive", "cosine"], seeds=2)
    none, additive, _ = view["models"]
    assert view["quality"] == "bleu"
    assert additive["results"]["bleu"]["per_seed"] == pytest.approx([30.3, 30.6])
    assert additive["results"]["bleu"]["mean"] == pytest.approx(30.45)
    assert additive["results"]["bleu"]["high"] - 30.45 == pytest.approx(12.706205 * 0.15, rel=1e-5)
    assert additive["results"]["combinations_bleu"]["mean"] == pytest.approx(22.45)
    assert "aer" in additive["results"] and "aer" not in none["results"]
    assert additive["cpu_seconds"]["mean"] == 24
    assert additive["decode_sentences_per_cpu_second"]["per_seed"] == [21, 22]
    assert additive["settings"] == {KEY: "additive"}
    assert (additive["kind"], additive["parameters"], additive["seeds"]) == ("seq2seq", 12345, [1, 2])
    assert view["metrics"]["combinations_bleu"]["label"] == "BLEU, held-out combinations"
    assert list(view["metrics"]) == ["bleu", "perplexity", "aer", "combinations_bleu"]
    assert view["hardware"] == "an abacus"
    assert view["budget"] == "10 epochs for each training"
    assert "(licence: none needed); train: 20 of 20 rows kept; test 20 rows, combinations 20 rows" in view["data"]
    assert json.loads((tmp_path / "report.json").read_text())["models"][1]["label"] == "additive"
    assert (tmp_path / "report.html").read_text().startswith("<html>compare")


def test_time_to_quality_is_that_of_the_first_good_validation(study) -> None:
    view = study(["none", "additive"])
    # validations reach score · step / 8 after 2 · step CPU-seconds; the best ends at 30.3, so the target is 27.27
    assert view["quality_target"] == pytest.approx(27.27)
    assert [model["cpu_seconds_to_quality"] for model in view["models"]] == [None, 16]
    easy = study(["none", "additive"], target=9.0)
    assert [model["cpu_seconds_to_quality"] for model in easy["models"]] == [8, 6]


def test_frontier_is_the_undominated(study) -> None:
    # "none" is cheapest (20), "dot" 19 CPU-seconds: its name is shorter; "cosine" costs more than dot and is worse
    view = study(["none", "additive", "dot", "cosine"])
    assert {m["id"]: m["on_frontier"] for m in view["models"]} == {
        "none": False,
        "additive": True,
        "dot": True,
        "cosine": False,
    }


def test_sentences_are_the_same_for_all_and_show_where_each_looks(study) -> None:
    view = study(["none", "additive"])
    sources = [sentence["source"].split() for sentence in view["sentences"]]
    assert [len(source) for source in sources] == [1, 5, 10, 15, 19, 5, 15]
    shown = view["sentences"][1]
    assert shown["gold_alignment"] == [[0, 0]]
    assert shown["reference"] == "W0 W1 W2 W3 W4"
    assert shown["outputs"]["none"]["attention"] == []
    additive = shown["outputs"]["additive"]
    assert [attention["name"] for attention in additive["attention"]] == [
        "layers.0[1]",
        "layers.0",
    ]  # best aligned first
    assert additive["salient"] == [4, 3, 2, 1, 0]
    assert additive["attention"][0]["weights"][0] == [0, 0, 0, 0, 1]
    assert additive["text"] == "w4 w3 w2 w1 w0"


def test_summary_of_one_seed_says_what_the_test_sentences_show(study) -> None:
    words = "\n".join(study(["none", "additive", "cosine"])["summary"])
    assert (
        "“additive” has the best BLEU: 30.3 [28.8, 31.8]; next is “cosine” with 24.3 [22.8, 25.8], 6.0 behind." in words
    )
    assert "paired bootstrap over the test examples; one seed each, so this says nothing about other seeds" in words
    assert (
        "First to reach a validation BLEU of 27.3 is “additive”, after 16 CPU-seconds; “none” and “cosine” did not"
        in words
    )
    assert "The attention of “additive” aligns words best: AER 0.132" in words
    assert "the worst is that of “cosine”, 0.165" in words
    assert "BLEU, held-out combinations: “additive” 22.3, “cosine” 16.3, “none” 10.3." in words
    assert "Fastest to train" in words
    assert "bootstrap intervals over the test examples of one training each" in words


def test_summary_of_seeds_tests_over_seeds(study) -> None:
    words = "\n".join(study(["additive", "dot", "cosine"], seeds=3)["summary"])
    # per seed: additive 30.3, 30.6, 30.0; dot 29.3, 29.6, 29.0: t = 1 / (0.3 · √(2/3)) = 4.08 with 4 degrees of freedom
    assert "is beyond chance (p = 0.015, Welch's t-test over 3 and 3 seeds)" in words
    assert "t-intervals over up to 3 seeds" in words


def test_a_failure_is_reported_beside_the_others(study) -> None:
    view = study(["none", "cosine"], about="cosine fails")
    assert view["models"][1]["failed"].startswith("the loss became nan")
    assert view["models"][1]["results"] == {}
    assert "“cosine” failed:" in "\n".join(view["summary"])
    assert "“none” has the best BLEU: 18.3 [16.8, 19.8]." in view["summary"]
    assert "| cosine | failed |" in markdown(view)


def test_nothing_finished_is_an_error(tmp_path) -> None:
    make_plan([recipe()], {}, 1, tmp_path).save()
    with pytest.raises(RunError, match="no training of this comparison has finished"):
        write_report(tmp_path)


def test_markdown_has_the_table_and_the_translations(study, tmp_path) -> None:
    study(["none", "additive"])
    text = (tmp_path / "report.md").read_text()
    assert "| model | parameters | BLEU ↑ | Perplexity ↓ | AER ↓ |" in text
    assert "| additive (on the frontier) | 12,345 | 30.3 [28.8, 31.8] |" in text
    assert "## w0 w1 w2 w3 w4" in text
    assert "| reference | W0 W1 W2 W3 W4 |" in text
    assert "BLEU: n-gram precision against the reference, 0-100 (nrefs:1|tok:13a)" in text
    rows = [line for line in text.splitlines() if line.startswith("| none") or line.startswith("| model")]
    assert rows[0].count("|") == rows[1].count("|")


def test_curves_keep_validations_and_average_what_they_leave_out(monkeypatch) -> None:
    monkeypatch.setattr("clew.study.view.POINTS", 5)
    rows = [{"step": s, "tokens": s, "cpu_seconds": s, "loss": float(s)} for s in range(1, 11)]
    rows.insert(3, {"step": 3, "tokens": 3, "cpu_seconds": 3, "valid": {"loss": 9.0, "bleu": float("nan")}})
    points = curve(rows, "bleu")
    assert [(p["step"], p["loss"], p["valid_loss"]) for p in points] == [
        (2, 1.5, None),
        (3, 3.0, 9.0),
        (5, 4.5, None),
        (7, 6.5, None),
        (9, 8.5, None),
    ]
    assert all(p["quality"] is None for p in points)


def test_examples_are_spread_over_the_lengths() -> None:
    texts = ["a b c", "a", "a b", "a b c d e", "a b c d"]
    assert by_length(texts, (0, 0.5, 1)) == [1, 0, 3]
    assert by_length(["a"], (0, 0.5, 1)) == [0]
    assert by_length([], (0.5,)) == []


def test_figures_keep_the_digits_that_matter() -> None:
    assert [figure(x) for x in (0.1234, 3.14159, 31.249, 5120.4)] == ["0.123", "3.1", "31", "5,120"]


def test_a_metric_of_a_users_own_task_is_shown(tmp_path) -> None:
    from clew.study.view import build_view

    plan = make_plan([recipe()], {}, 1, tmp_path)
    own = {"splits": {"test": {"my_score": {"value": 1.0, "low": None, "high": None}}}, "data": [], "parameters": 1}
    results = own | {"hardware": "", "train_tokens_per_cpu_second": 1.0, "cpu_seconds": 1.0}
    view = build_view(plan, {plan.variants[0].id: [Finished(1, results, [])]}, {}, "my_score")
    assert view["metrics"]["my_score"]["label"] == "My score"
    assert "taken for better where it is higher" in view["metrics"]["my_score"]["about"]


def test_without_gold_alignments_the_last_layer_but_one_is_shown() -> None:
    layers = [f"layers.{n}{head}" for n in range(4) for head in ("", "[0]", "[1]")]
    assert report._likeliest(layers) == "layers.2"
    assert report._likeliest(layers[:6]) == "layers.1"
    assert report._likeliest(["attention.weights"]) == "attention.weights"
    assert report._likeliest([]) is None


def changed(monkeypatch: pytest.MonkeyPatch, **figures: dict) -> None:
    """Have the runs of a study report other figures, by the score of their attention."""
    from study_fakes import results as before

    def after(recipe):
        found = before(recipe)
        for name, value in figures.get(recipe.model.attention.score, {}).items():
            target = found if name in ("undertrained", "tokens") else found["splits"]["test"]
            target[name] = value
        return found

    monkeypatch.setattr("study_fakes.results", after)


def test_where_bleu_is_chance_translators_are_compared_by_perplexity_per_word(study, monkeypatch) -> None:
    low = {"value": 0.1, "low": 0.0, "high": 0.2}
    changed(
        monkeypatch,
        additive={"bleu": low, "perplexity_per_word": {"value": 5577.0, "low": 5000.0, "high": 6000.0}},
        dot={"perplexity_per_word": {"value": 334.0, "low": 320.0, "high": 350.0}},
    )
    view = study(["additive", "dot"])
    assert view["quality"] == "perplexity_per_word"
    assert view["summary"][0].startswith("BLEU is no judge here: the interval of the worst begins at 0.0")
    assert "“dot” has the best Perplexity per word: 334.0" in view["summary"][1]


def test_what_speaks_against_a_figure_stands_in_the_summary(study, monkeypatch) -> None:
    aer = {"value": 0.83, "low": 0.8, "high": 0.86, "map": "layers.0"}
    changed(
        monkeypatch,
        additive={"undertrained": True, "tokens": 600_000, "aer": aer},
        dot={"repeating": 0.4, "decode_sentences_per_cpu_second": 900.0, "tokens": 900_000},
    )
    words = "\n".join(study(["additive", "dot"], train={"budget": {"cpu_minutes": 2.0}})["summary"])
    assert "“additive” is undertrained: its validation loss was still falling when its budget ended" in words
    assert "The attention of “additive” has not formed: AER 0.830" in words
    assert "“dot” repeats itself in 40% of its outputs" in words
    assert "fastest to decode is “additive”" in words
    assert "In that time they learned from so many target tokens: “additive” 600,000, “dot” 900,000." in words


def test_a_study_is_compared_by_the_figure_that_is_asked_for(study, tmp_path) -> None:
    study(["none", "additive"])
    assert write_report(tmp_path, by="aer")["quality"] == "aer"
    with pytest.raises(RecipeError, match='"chrf" was not measured'):
        write_report(tmp_path, by="chrf")
