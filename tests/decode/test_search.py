"""Search against slow references: one sentence at a time, no cache, every prefix read again by `forward`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.data.batches import Pairs
from clew.decode.search import Hypothesis, Limits, all_at_once, beam_search, greedy, search, top
from clew.inputs import TokenPair
from clew.models.encoder_translator import EncoderTranslator, EncoderTranslatorConfig
from clew.models.seq2seq import Seq2Seq, Seq2SeqConfig
from clew.models.transformer import Transformer, TransformerConfig

BOS, EOS, V = 1, 2, 9
LONGEST = 8
SOURCES = [[4, 5, 6], [7], [8, 3, 8, 4, 5], [6, 6], [3, 7, 4, 4, 4, 8]]
TINY = {"d_model": 8, "d_ff": 8, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 2}


def scattered(model: nn.Module, seed: int, towards_end: float) -> Any:
    """Weights large enough that sentences differ, and end at different times."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator)
    with torch.no_grad():
        model.output_table()[1][EOS] += towards_end
    return model.eval()


def transformer(seed: int = 0, towards_end: float = 1.0, **settings: Any) -> Any:
    return scattered(Transformer(TransformerConfig(**TINY | settings), TokenPair.of(V, V)), seed, towards_end)


def seq2seq(seed: int = 0, towards_end: float = 1.0, **settings: Any) -> Any:
    return scattered(
        Seq2Seq(Seq2SeqConfig(d_embedding=6, d_model=8, **settings), TokenPair.of(V, V)), seed, towards_end
    )


# Seeds with which the sentences end at many different times (see the test of that).
MODELS = {
    "transformer": lambda: transformer(19, 2.0),
    "rotary, post-norm": lambda: transformer(3, 2.0, positions="rotary", norm="post"),
    "lstm": lambda: seq2seq(16, 0.0),
    "gru, fed": lambda: seq2seq(16, 0.0, unit="gru", input_feeding=True),
    "rnn, no attention": lambda: seq2seq(0, 1.0, unit="rnn", attention={"score": "none"}),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]()


def batch_of(sources: list[list[int]], targets: list[list[int]] | None = None) -> PairBatch:
    pairs = Pairs(sources, targets or [[] for _ in sources])
    return pairs.batch(range(len(sources)), pad_id=0, bos_id=BOS, eos_id=EOS)


def limits(**settings: Any) -> Limits:
    return Limits(BOS, EOS, **{"max_length": LONGEST} | settings)


@torch.no_grad()
def next_log_p(model: Any, source: list[int], prefix: list[int]) -> Tensor:
    """log p(y | source, prefix) over the vocabulary (V,), by one teacher-forced forward."""
    return model.project(model(batch_of([source], [prefix])).hidden[0, -1]).log_softmax(-1)


def naive_greedy(model: Any, source: list[int], longest: int, alpha: float) -> Hypothesis:
    ids: list[int] = []
    total, written = 0.0, 0
    while written < longest:
        log_p = next_log_p(model, source, ids)
        token, written = int(log_p.argmax()), written + 1
        total += log_p[token].item()
        if token == EOS:
            break
        ids.append(token)
    return Hypothesis(ids, total / written**alpha)


def naive_beam(model: Any, source: list[int], longest: int, alpha: float, beam: int) -> list[Hypothesis]:
    """The definition in `beam_search`, over all extensions of all hypotheses, in Python lists."""
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[Hypothesis] = []
    for length in range(1, longest + 1):
        every = [
            (total + value, [*ids, token])
            for total, ids in live
            for token, value in enumerate(next_log_p(model, source, ids).tolist())
        ]
        best = sorted(every, key=lambda extension: -extension[0])[: 2 * beam]
        for total, ids in best[:beam]:
            if ids[-1] == EOS or length == longest:
                ended.append(Hypothesis([t for t in ids if t != EOS], total / length**alpha))
        live = [(total, ids) for total, ids in best if ids[-1] != EOS][:beam]
        if len(ended) >= beam:
            break
    return sorted(ended, key=lambda hypothesis: -hypothesis.score)[:beam]


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [h.ids for h in found] == [h.ids for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-4)


class Chain:
    """A translator that looks at the last token alone: P(next | last) by a table."""

    TABLE = torch.full((V, V), 1e-9)
    TABLE[:, EOS] = 1e-12
    TABLE[BOS, [EOS, 3, 4]] = torch.tensor([0.35, 0.4, 0.25])
    TABLE[3, [EOS, 5]] = torch.tensor([0.5, 0.5])
    TABLE[4, [EOS, 8]] = torch.tensor([0.3, 0.7])
    TABLE[5, 6], TABLE[6, 7], TABLE[7, EOS], TABLE[8, 8] = 1.0, 1.0, 1.0, 1.0

    def encode(self, source: Tensor, mask: Tensor) -> Tensor:
        return source

    def start(self, memory: Tensor, beam: int = 1) -> Chain:
        return self

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        return self.TABLE[tokens].log()

    def project(self, hidden: Tensor) -> Tensor:
        return hidden

    def reorder(self, rows: Tensor) -> None: ...
    def keep(self, sentences: Tensor, rows: Tensor) -> None: ...


def test_a_narrow_beam_ends_before_a_longer_and_better_hypothesis() -> None:
    """As `beam_search` says of itself; a wider beam finds it, and without a length penalty nothing is lost."""
    source, chain = torch.tensor([[3, 4]]), Chain()

    def found(beam: int, alpha: float) -> list[tuple[list[int], float]]:
        (hypotheses,) = beam_search(chain, source, source > 0, limits(length_penalty=alpha), beam)  # type: ignore[arg-type]
        return [(h.ids, round(h.score, 4)) for h in hypotheses]

    longer = ([3, 5, 6, 7], round(math.log(0.4 * 0.5) / 5, 4))
    assert found(2, 1.0) == [([3], round(math.log(0.4 * 0.5) / 2, 4)), ([], round(math.log(0.35), 4))]
    assert found(3, 1.0)[0] == longer
    assert found(2, 0.0)[0] == ([], round(math.log(0.35), 4))


def test_greedy_equals_the_naive_loop(model: Any) -> None:
    batch = batch_of(SOURCES)
    found = greedy(model, batch.source, batch.source_mask, limits())
    for source, hypotheses in zip(SOURCES, found, strict=True):
        assert_same(hypotheses, [naive_greedy(model, source, LONGEST, 1.0)])


@pytest.mark.parametrize(("beam", "alpha"), [(2, 1.0), (3, 0.0), (4, 0.6)])
def test_beam_equals_the_naive_search(model: Any, beam: int, alpha: float) -> None:
    batch = batch_of(SOURCES)
    found = beam_search(model, batch.source, batch.source_mask, limits(length_penalty=alpha), beam)
    for source, hypotheses in zip(SOURCES, found, strict=True):
        assert_same(hypotheses, naive_beam(model, source, LONGEST, alpha, beam))


def test_sentences_end_at_many_times(model: Any) -> None:
    """Else the tests here would not see a batch that shrinks while it is decoded."""
    batch = batch_of(SOURCES)
    lengths = []
    for beam in (1, 3):
        found = search(model, batch.source, batch.source_mask, limits(), beam)
        lengths.append({len(each[0].ids) for each in found})
    assert min(map(len, lengths)) >= 2
    assert max(map(len, lengths)) >= 3


def test_a_beam_of_one_is_greedy(model: Any) -> None:
    batch = batch_of(SOURCES)
    for cut in (3, LONGEST):
        one = beam_search(model, batch.source, batch.source_mask, limits(max_length=cut), 1)
        for beam, naive in zip(
            one, greedy(model, batch.source, batch.source_mask, limits(max_length=cut)), strict=True
        ):
            assert_same(beam, naive)


def test_a_beam_as_wide_as_the_space_is_exhaustive() -> None:
    """With two tokens at most and every prefix kept alive, the best of all outputs is found."""
    model = transformer(3, towards_end=0.0)
    every: dict[tuple[int, ...], float] = {}
    first = next_log_p(model, [4, 5], [])
    for y in range(V):
        if y == EOS:
            every[()] = first[EOS].item()
            continue
        second = next_log_p(model, [4, 5], [y])
        every |= {(y, z) if z != EOS else (y,): (first[y] + second[z]).item() / 2 for z in range(V)}
    batch = batch_of([[4, 5]])
    best = beam_search(model, batch.source, batch.source_mask, limits(max_length=2), V)[0][0]
    assert best.score == pytest.approx(max(every.values()), abs=1e-5)
    assert every[tuple(best.ids)] == pytest.approx(best.score, abs=1e-5)


@pytest.mark.parametrize("beam", [1, 3])
def test_company_changes_nothing(model: Any, beam: int) -> None:
    whole = batch_of(SOURCES)
    found = search(model, whole.source, whole.source_mask, limits(), beam)
    for source, together in zip(SOURCES, found, strict=True):
        alone = batch_of([source])
        assert_same(search(model, alone.source, alone.source_mask, limits(), beam)[0], together)
    back = batch_of(SOURCES[::-1])
    for one, other in zip(search(model, back.source, back.source_mask, limits(), beam), found[::-1], strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("beam", [1, 4])
def test_scores_can_be_recomputed(model: Any, beam: int, alpha: float) -> None:
    """Best first, all different, and each score is log-probability / length ** alpha of what `forward` says."""
    batch = batch_of(SOURCES)
    cut = 6
    found = search(model, batch.source, batch.source_mask, limits(max_length=cut, length_penalty=alpha), beam)
    for source, hypotheses in zip(SOURCES, found, strict=True):
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(h.ids) for h in hypotheses}) == len(hypotheses) == beam
        for hypothesis in hypotheses:
            written = [*hypothesis.ids, EOS][:cut]
            with torch.no_grad():
                logits = model.project(model(batch_of([source], [hypothesis.ids])).hidden[0])
            total = sum(logits.log_softmax(-1)[t, token].item() for t, token in enumerate(written))
            assert hypothesis.score == pytest.approx(total / len(written) ** alpha, abs=1e-4)


def test_limits_end_every_sentence() -> None:
    """A model that never ends stops at max_length, or at 2·source + 20."""
    model = transformer(towards_end=-100.0)
    batch = batch_of(SOURCES)
    for beam in (1, 2):
        found = search(model, batch.source, batch.source_mask, limits(max_length=26), beam)
        assert [len(each[0].ids) for each in found] == [min(26, 2 * (len(s) + 1) + 20) for s in SOURCES]
        assert all(len(each) == beam for each in found)
    model = transformer(towards_end=100.0)
    assert all(each[0].ids == [] for each in greedy(model, batch.source, batch.source_mask, limits()))


def test_more_hypotheses_than_words() -> None:
    model, batch = transformer(), batch_of(SOURCES[:1])
    (found,) = beam_search(model, batch.source, batch.source_mask, limits(), 2 * V)
    assert_same(found, naive_beam(model, SOURCES[0], LONGEST, 1.0, 2 * V))


@pytest.mark.parametrize("size", [5, 100, 199, 450, 2003])
def test_top_of_many(size: int) -> None:
    """The n best by groups are torch's n best, ties and the remainder past the last whole group included."""
    torch.manual_seed(size)
    for n in (1, 2, 4):
        logits = torch.randn(7, size)
        logits[0] = -torch.inf
        logits[0, -n:] = torch.arange(n).float()
        value, index = top(logits, n)
        expected = logits.topk(n)
        assert torch.equal(value, expected.values)
        assert torch.equal(logits.gather(1, index), value)
        assert torch.equal(index, expected.indices)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_all_at_once(alpha: float) -> None:
    """Each position's likeliest token, to the first </s> or the limit; alone as in company."""
    config = EncoderTranslatorConfig(d_model=8, d_ff=8, n_heads=2, max_length=40)
    for towards_end in (-100.0, 1.0):
        model = scattered(EncoderTranslator(config, TokenPair.of(V, V)), 1, towards_end)
        batch = batch_of(SOURCES)
        for cut in (3, 26, 30):
            given = limits(max_length=cut, length_penalty=alpha)
            found = search(model, batch.source, batch.source_mask, given, 5)
            for source, (hypothesis,) in zip(SOURCES, found, strict=True):
                longest = min(cut, 2 * (len(source) + 1) + 20)
                alone = batch_of([source])
                with torch.no_grad():
                    log_p = model.project(model.write(alone.source, alone.source_mask, longest))[0].log_softmax(-1)
                ids = log_p.argmax(-1).tolist()
                written = ids.index(EOS) + 1 if EOS in ids else longest
                total = sum(log_p[t, ids[t]].item() for t in range(written))
                assert_same([hypothesis], [Hypothesis([i for i in ids[:written] if i != EOS], total / written**alpha)])
                assert math.isfinite(hypothesis.score)
                assert_same(all_at_once(model, alone.source, alone.source_mask, given)[0], [hypothesis])
