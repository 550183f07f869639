from collections import Counter

import pytest

from clew.config import build, resolve
from clew.data.files import Files, FilesConfig
from clew.data.rows import ReadReport, Rows
from clew.data.source import hold_out
from clew.errors import DataError


def pairs(folder, name="train", n=100):
    for language in ("en", "fr"):
        (folder / f"{name}.{language}").write_text("".join(f"{language} {name} {i}\n" for i in range(n)))
    return [str(folder / f"{name}.{language}") for language in ("en", "fr")]


def make(**settings):
    return Files(FilesConfig(columns=("en", "fr"), **settings))


def test_a_recipe_builds_it(tmp_path):
    config = resolve("data", "files").Config.model_validate(
        {"kind": "files", "train": pairs(tmp_path), "columns": ["en", "fr"]}
    )
    source = build("data", config)
    assert isinstance(source, Files) and source.splits == ("train", "valid")


def test_given_splits_are_read_as_they_are(tmp_path):
    source = make(**{name: tuple(pairs(tmp_path, name, n)) for name, n in (("train", 9), ("valid", 3), ("test", 2))})
    assert source.splits == ("train", "valid", "test")
    assert [len(source.split(name)) for name in source.splits] == [9, 3, 2]
    assert source.split("test")["fr"] == ["fr test 0", "fr test 1"]
    assert source.split("train") is source.split("train")
    assert source.about["columns"] == ["en", "fr"] and source.about["size"] > 0


def test_held_out_rows_part_the_whole_by_seed(tmp_path):
    files = pairs(tmp_path)
    parts = {seed: [make(train=files, seed=seed).split(s) for s in ("train", "valid")] for seed in (1, 2)}
    for train, valid in parts.values():
        assert (len(train), len(valid)) == (95, 5)
        assert not set(train["en"]) & set(valid["en"])
        assert len({*train["en"], *valid["en"]}) == 100
        assert all(a[3:] == b[3:] for a, b in zip(valid["en"], valid["fr"], strict=True))
        assert "5 rows held out" in str(valid.report) and "100 of 100" in str(valid.report)
    assert parts[1][1]["en"] != parts[2][1]["en"]
    assert make(train=files).split("valid").columns == parts[1][1].columns  # whichever is asked for first
    assert len(make(train=files, hold_out=20).split("valid")) == 20
    assert len(make(train=files, hold_out=0.1).split("train")) == 90
    assert make(train=files, hold_out=0).splits == ("train",)
    assert len(make(train=files, hold_out=0).split("train")) == 100


def test_rows_with_the_same_source_stay_together():
    columns = {"en": [str(i // 10) for i in range(100)], "fr": [str(i) for i in range(100)]}
    train, valid = hold_out(Rows(columns, ReadReport("rows", 100, 100)), 15, seed=3)
    assert len(valid) == 20 and len(train) == 80
    assert not set(train["en"]) & set(valid["en"])


def test_default_amount_is_bounded():
    rows = Rows({"text": [str(i) for i in range(50_000)]}, ReadReport("rows"))
    assert len(hold_out(rows, None, 1)[1]) == 1000


@pytest.mark.parametrize(("n", "amount"), [(1, None), (5, 5), (5, 100)])
def test_nothing_left_to_train_on(n, amount):
    rows = Rows({"text": [str(i) for i in range(n)]}, ReadReport("here"))
    with pytest.raises(DataError, match="leaves none to train on"):
        hold_out(rows, amount, 1)


def test_wrong_requests(tmp_path):
    with pytest.raises(DataError, match='no "test" split'):
        make(train=pairs(tmp_path)).split("test")
    with pytest.raises(DataError, match="same name"):
        Files(FilesConfig(train=("a", "b"), columns=("en", "en")))
    with pytest.raises(DataError, match="no such file"):
        make(train=(str(tmp_path / "absent.en"), str(tmp_path / "absent.fr"))).split("train")
    with pytest.raises(DataError, match="no such file"):
        _ = make(train=("absent.en",)).about
    (tmp_path / "train.fr").write_text("x\n\n" * 50)
    with pytest.raises(DataError, match="empty fr"):
        make(train=pairs_of(tmp_path), on_bad="stop").split("train")


def pairs_of(folder):
    return (str(folder / "train.en"), str(folder / "train.fr"))


def labelled(counts: dict[str, int]) -> Rows:
    """Texts of labels one after another, the label's column first."""
    labels = [label for label, n in counts.items() for _ in range(n)]
    return Rows({"label": labels, "text": [f"text {i}" for i in range(len(labels))]}, ReadReport("rows"))


@pytest.mark.parametrize("seed", range(5))
def test_held_out_rows_are_a_fair_sample_of_the_labels(seed):
    train, valid = hold_out(labelled({"positive": 250, "negative": 45, "neutral": 5}), None, seed, "label")
    assert Counter(valid["label"]) == {"positive": 50, "negative": 9, "neutral": 1}
    assert len(train) == 240 and not {*train["text"]} & {*valid["text"]}
    assert "60 rows held out, a fair sample by label" in str(valid.report)
    one, other = (hold_out(labelled({"a": 40, "b": 60}), 10, s, "label")[1] for s in (seed, seed + 1))
    assert Counter(one["label"]) == {"a": 4, "b": 6} and one["text"] != other["text"]


def test_more_is_held_out_where_there_are_few():
    sizes = {n: len(hold_out(labelled({"a": n // 2, "b": n - n // 2}), None, 1, "label")[1]) for n in
             (10, 100, 1000, 3000, 6000, 40_000)}  # fmt: skip
    assert sizes == {10: 2, 100: 20, 1000: 200, 3000: 200, 6000: 300, 40_000: 1000}


def test_a_label_of_one_text_is_trained_on():
    train, valid = hold_out(labelled({"a": 20, "b": 20, "once": 1}), None, 1, "label")
    assert "once" in train["label"] and "once" not in valid["label"]
    with pytest.raises(DataError, match="no label of label has two texts"):
        hold_out(labelled({"a": 1, "b": 1}), None, 1, "label")


def test_many_labels_do_not_enlarge_the_sample():
    _, valid = hold_out(labelled({f"{i:02}": 7 for i in range(50)}), 100, 1, "label")
    assert len(valid) == 100 and {*Counter(valid["label"]).values()} == {2}


def test_texts_that_are_alike_stay_together_under_labels_too():
    rows = Rows({"label": ["a", "b"] * 20, "text": [str(i // 4) for i in range(40)]}, ReadReport("rows"))
    train, valid = hold_out(rows, 8, 1, "label")
    assert len(valid) == 8 and not {*train["text"]} & {*valid["text"]}


def test_labels_that_are_not_there():
    with pytest.raises(DataError, match='no column "kind"'):
        hold_out(labelled({"a": 3, "b": 3}), None, 1, "kind")
    with pytest.raises(DataError, match="leaves none to train on"):
        hold_out(labelled({"a": 3, "b": 3}), 6, 1, "label")


def test_scores_are_sampled_by_size():
    rows = Rows({"score": [str(i / 7) for i in range(100)], "text": [str(i) for i in range(100)]}, ReadReport("rows"))
    _, valid = hold_out(rows, None, 1, "score")
    assert Counter(int(text) // 20 for text in valid["text"]) == dict.fromkeys(range(5), 4)
