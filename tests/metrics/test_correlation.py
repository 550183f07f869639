"""Correlations and binary F1 against sums written out, and against scikit-learn and SciPy where they are."""

import json
import math
import os
import random
import subprocess
from pathlib import Path

import pytest

from clew.errors import ClewError
from clew.metrics.classification import accuracy, binary_f1, macro_f1
from clew.metrics.correlation import matthews, pearson, spearman


def by_hand(x: list[float], y: list[float]) -> float:
    mx, my = math.fsum(x) / len(x), math.fsum(y) / len(y)
    top = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return 100 * top / math.sqrt(math.fsum((a - mx) ** 2 for a in x) * math.fsum((b - my) ** 2 for b in y))


def ranks(values: list[float]) -> list[float]:
    return [sum(b < a for b in values) + (values.count(a) + 1) / 2 for a in values]


def numbers(seed: int, offset: float = 0.0) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    gold = [round(5 * rng.random(), 1) + offset for _ in range(150)]
    return [g + rng.gauss(0, 1) for g in gold], gold


def labels(seed: int, names: str) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    gold = rng.choices(names, weights=range(1, len(names) + 1), k=150)
    return [g if rng.random() < 0.7 else rng.choice(names) for g in gold], gold


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_correlations_of_numbers(seed, offset):
    x, y = numbers(seed, offset)
    assert pearson(x, y).value == pytest.approx(by_hand(x, y), abs=1e-6)
    assert spearman(x, y).value == pytest.approx(by_hand(ranks(x), ranks(y)), abs=1e-9)
    found = pearson(x, y)
    assert found.low < found.value < found.high <= 100 + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_matthews_of_two_classes(seed):
    predicted, gold = labels(seed, "01")
    pairs = list(zip(predicted, gold, strict=True))
    tp, tn, fp, fn = (pairs.count(pair) for pair in (("1", "1"), ("0", "0"), ("1", "0"), ("0", "1")))
    phi = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews(predicted, gold).value == pytest.approx(100 * phi)
    assert binary_f1(predicted, gold, "1").value == pytest.approx(200 * tp / (2 * tp + fp + fn))
    assert matthews(predicted, gold).low < 100 * phi < matthews(predicted, gold).high


def test_known_values():
    assert pearson([1, 2, 3], [2, 4, 6]).value == pytest.approx(100) == spearman([1, 2, 30], [2, 4, 5]).value
    assert pearson([3, 2, 1], [2, 4, 6]).value == pytest.approx(-100)
    assert pearson([0.1] * 3, [2, 4, 6]).value == spearman([1, 1, 1], [2, 4, 6]).value == 0  # SciPy: not a number
    assert matthews(["a", "a"], ["a", "b"]).value == 0 and matthews(["a", "b"], ["a", "b"]).value == pytest.approx(100)
    assert matthews(["b", "a"], ["a", "b"]).value == pytest.approx(-100)
    assert binary_f1(["0", "0"], ["0", "0"], "1").value == 0


def test_what_cannot_be_scored():
    for metric in (pearson, spearman):
        with pytest.raises(ClewError, match="cannot be correlated"):
            metric([1], [1, 2])
        with pytest.raises(ClewError, match=r"predicted value is not finite: nan\n.*row 2"):
            metric([1, math.nan], [1, 2])
    for score in (matthews, lambda p, g: binary_f1(p, g, "a")):
        with pytest.raises(ClewError, match="cannot be scored"):
            score([], [])


REFERENCE = """
import json, sys
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as m
out = []
for x, y, p, g in json.load(sys.stdin):
    out.append([pearsonr(x, y)[0], spearmanr(x, y)[0], m.matthews_corrcoef(g, p), m.accuracy_score(g, p),
                m.f1_score(g, p, average="macro"), m.f1_score(g, p, labels=["1"], average="micro")])
print(json.dumps(out))
"""


@pytest.mark.peers
def test_equal_to_scikit_learn_and_scipy():
    python = Path(os.environ.get("CLEW_PEERS", "../peers")) / "sk" / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"scikit-learn is not installed beside clew ({python})")
    cases = [(*numbers(seed), *labels(seed, names)) for seed in range(5) for names in ("01", "0123")]
    said = subprocess.run(
        [python, "-c", REFERENCE], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    for (x, y, p, g), theirs in zip(cases, json.loads(said.stdout), strict=True):
        scores = (pearson(x, y), spearman(x, y), matthews(p, g), accuracy(p, g), macro_f1(p, g), binary_f1(p, g, "1"))
        assert [s.value / 100 for s in scores] == pytest.approx(theirs, abs=1e-12)
