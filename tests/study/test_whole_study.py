"""A study of real trainings, from recipes to the report, with nothing faked."""

import json
import random

import pytest

from clew.config import Recipe
from clew.page.single_file import STATIC
from clew.study.compare import compare
from clew.study.plan import make_plan, parse_budget
from clew.study.report import write_report

WORDS = {"the": "le", "dog": "chien", "cat": "chat", "sees": "voit", "bird": "oiseau", "big": "grand", "and": "et"}


def write_pairs(path, n: int, seed: int) -> str:
    """Pairs translated word by word, so that word i is aligned with word i."""
    rng = random.Random(seed)
    lines = ["en\tfr\talignment"]
    for _ in range(n):
        words = rng.choices(list(WORDS), k=rng.randint(2, 7))
        links = " ".join(f"{i}-{i}" for i in range(len(words)))
        lines.append(f"{' '.join(words)}\t{' '.join(WORDS[word] for word in words)}\t{links}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def recipe(folder, name: str, model: dict) -> Recipe:
    files = {
        split: [write_pairs(folder / f"{split}.tsv", n, n)] for split, n in [("train", 60), ("valid", 9), ("test", 12)]
    }
    return Recipe.model_validate(
        {
            "name": name,
            "task": {"kind": "translate", "source": "en", "target": "fr"},
            "data": {"kind": "files", "columns": ["en", "fr", "alignment"], **files},
            "tokenizer": {"kind": "word", "vocab_size": 40},
            "model": model,
            "objective": {"kind": "translation"},
            "train": {"evaluate_every": 2, "batch": {"tokens": 128}, "threads": 1},
            "decode": {"beam": 2, "max_length": 8},
        }
    )


def test_from_recipes_to_the_report(tmp_path) -> None:
    if not (STATIC / "clew.js").is_file():
        pytest.skip("the browser page has not been built (python web/build.py)")
    lstm = recipe(tmp_path, "lstm", {"kind": "seq2seq", "d_model": 16, "d_embedding": 16})
    sizes = {"d_model": 16, "d_ff": 32, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 2}
    transformer = recipe(tmp_path, "transformer", {"kind": "transformer", **sizes})
    vary = {"model.attention.score": ["none", "additive"]}
    plan = make_plan([lstm, transformer], vary, 1, tmp_path / "out", budget=parse_budget("4steps"))
    events = list(compare(plan))
    assert [event.state for event in events].count("finished") == 3, [event.error for event in events]
    view = write_report(tmp_path / "out")
    assert view == json.loads((tmp_path / "out/report.json").read_text())
    assert [model["label"] for model in view["models"]] == ["lstm, none", "lstm, additive", "transformer"]
    none, additive, transformer = view["models"]
    assert "aer" not in none["results"]
    assert 0 <= additive["results"]["aer"]["mean"] <= 1
    assert [p["step"] for p in transformer["curves"][0]["points"] if p["valid_loss"]] == [2, 4]
    for sentence in view["sentences"]:
        assert sentence["gold_alignment"] == [[i, i] for i in range(len(sentence["source"].split()))]
        assert sentence["outputs"]["lstm-none"]["attention"] == []
        for name, n_maps in [("lstm-additive", 1), ("transformer", 2 * (1 + 2))]:
            out = sentence["outputs"][name]
            assert len(out["attention"]) == n_maps
            assert len(out["salient"]) == len(out["target_tokens"])
            for attention in out["attention"]:
                assert len(attention["weights"]) == len(out["target_tokens"])
                assert all(sum(row) == pytest.approx(1, abs=0.02) for row in attention["weights"])
                assert all(len(row) == len(out["source_tokens"]) for row in attention["weights"])
    assert [event.state for event in compare(plan)] == ["finished"] * 3
    assert "lstm, additive" in (tmp_path / "out/report.html").read_text()
