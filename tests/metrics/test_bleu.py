"""BLEU and chrF are sacrebleu's, and their bootstrap is that of the corpus score."""

import random

import pytest
import sacrebleu

from clew.errors import ClewError
from clew.metrics import bleu, chrf

WORDS = ["the", "a", "cat", "sat", "on", ",", ".", "ran", "away", "Ünder", '"quoted"', "it's", "3.5%"]


def corpus(n: int, noise: float, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(1, 14))) for _ in range(n)]
    hypotheses = [
        " ".join(
            rng.choice(WORDS) if rng.random() < noise else word for word in reference.split()[: rng.randint(1, 14)]
        )
        for reference in references
    ]
    return hypotheses, references


@pytest.mark.parametrize(("n", "noise"), [(60, 0.0), (60, 0.3), (60, 0.9), (1, 0.5), (2, 0.95)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_sacrebleu(n: int, noise: float, seed: int) -> None:
    hypotheses, references = corpus(n, noise, seed)
    expected = sacrebleu.corpus_bleu(hypotheses, [references])
    assert bleu(hypotheses, references).value == pytest.approx(expected.score, abs=1e-9)
    lowered = sacrebleu.corpus_bleu(hypotheses, [references], lowercase=True, tokenize="char")
    assert bleu(hypotheses, references, lowercase=True, tokenize="char").value == pytest.approx(lowered.score, abs=1e-9)
    assert chrf(hypotheses, references).value == pytest.approx(sacrebleu.corpus_chrf(hypotheses, [references]).score)


@pytest.mark.parametrize(
    ("hypothesis", "reference"),
    [("", "a b c"), ("a b c", "a b c"), ("x y z", "a b c"), ("a x b y c z", "a b c"), ("a b c d e", "a b c d e")],
)
def test_edge_sentences_equal_sacrebleu(hypothesis: str, reference: str) -> None:
    assert bleu([hypothesis], [reference]).value == pytest.approx(
        sacrebleu.corpus_bleu([hypothesis], [[reference]]).score
    )
    assert chrf([hypothesis], [reference]).value == pytest.approx(
        sacrebleu.corpus_chrf([hypothesis], [[reference]]).score
    )


def test_signatures_are_sacrebleus() -> None:
    hypotheses, references = corpus(5, 0.2)
    assert bleu(hypotheses, references).signature == (
        f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    )
    assert "case:lc" in bleu(hypotheses, references, lowercase=True).signature
    assert chrf(hypotheses, references).signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no")


def test_interval_is_that_of_resampled_corpora() -> None:
    hypotheses, references = corpus(80, 0.4)
    ours = bleu(hypotheses, references)
    rng = random.Random(3)
    values = []
    for _ in range(300):
        rows = rng.choices(range(80), k=80)
        values.append(sacrebleu.corpus_bleu([hypotheses[i] for i in rows], [[references[i] for i in rows]]).score)
    values.sort()
    assert ours.low == pytest.approx(values[7], abs=1.5)
    assert ours.high == pytest.approx(values[292], abs=1.5)
    assert ours.low < ours.value < ours.high
    assert ours.as_dict() == {"value": ours.value, "low": ours.low, "high": ours.high, "signature": ours.signature}


def test_one_sentence_has_no_interval() -> None:
    assert bleu(["a b c d"], ["a b c d"]).as_dict()["low"] is None
    assert str(bleu(["a b c d"], ["a b c d"])).startswith("100.00 (nrefs")


@pytest.mark.parametrize(("hypotheses", "references"), [(["a"], ["a", "b"]), ([], [])])
def test_unequal_counts_are_errors(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(ClewError, match="hypotheses cannot be scored"):
        bleu(hypotheses, references)
