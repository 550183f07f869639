"""The task of translation, with models whose every answer is known: words in upper case, and where each one looks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import DecodeConfig, TokenizerConfig, TrainConfig
from clew.data.grammar import Grammar
from clew.data.rows import ReadReport, Rows
from clew.decode.search import Hypothesis
from clew.errors import DataError
from clew.metrics import aer, parse_links
from clew.models.translator import Memory, TranslatorOutput
from clew.nn.taps import Tap
from clew.tasks.translate import Translate, TranslateConfig
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

WORDS = [f"w{chr(97 + i)}{chr(97 + j)}" for i in range(4) for j in range(5)]
SURE = 6.0  # logit of the right token; the others have 0
EOS = 2


class Look(nn.Module):
    """Where heads look: 0 at the source word of the same position, 1 mostly at the one before it."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weights, self.heads = Tap(), heads

    def forward(self, batch: PairBatch) -> None:
        t, s = torch.arange(batch.target_in.shape[1])[:, None], torch.arange(batch.source.shape[1])
        same, before = (s == t).float(), (s == (t - 1).clamp(min=0)).float()
        maps = torch.stack([same, 0.7 * before + 0.3 * same])[: self.heads]
        self.weights(maps.expand(len(batch.source), -1, -1, -1))


class Cache:
    """The position, and the source of each sentence."""

    def __init__(self, source: Tensor, beam: int) -> None:
        self.source, self.beam, self.position = source, beam, 0

    def reorder(self, rows: Tensor) -> None:
        pass

    def keep(self, sentences: Tensor, rows: Tensor) -> None:
        self.source = self.source[sentences]


class UpperCase(nn.Module):
    """Writes word i of the source as word i of the target, in upper case; the logits are hidden states of size V."""

    parallel = False

    def __init__(self, preprocessor: TokenizerPair, heads: int = 1) -> None:
        super().__init__()
        self.config = self.max_length = None
        self.target_attention = "look.weights" if heads else ""
        self.look = Look(heads)
        self.anchor = nn.Parameter(torch.zeros(()))  # a model is where its parameters are
        source, target = preprocessor.source.inner, preprocessor.target.inner
        table = [target.token_to_id(str(source.id_to_token(i)).upper()) for i in range(source.get_vocab_size())]
        self.table = torch.tensor([i if j is None else j for i, j in enumerate(table)])
        self.size = target.get_vocab_size()

    def logits(self, source: Tensor) -> Tensor:
        return SURE * nn.functional.one_hot(self.table[source], self.size).float()

    def project(self, hidden: Tensor) -> Tensor:
        return hidden + self.anchor

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        if self.target_attention:
            self.look(batch)
        longer = nn.functional.pad(batch.source, (0, batch.target_in.shape[1]), value=EOS)
        return TranslatorOutput(self.logits(longer[:, : batch.target_in.shape[1]]))

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        return Memory(source, source_mask)

    def start(self, memory: Memory, beam: int = 1) -> Cache:
        return Cache(nn.functional.pad(memory.states, (0, 100), value=EOS), beam)

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        here = cache.source[:, cache.position].repeat_interleave(cache.beam)
        assert len(here) == len(tokens)
        cache.position += 1
        return self.logits(torch.where(here == 0, EOS, here))


@pytest.fixture(scope="module")
def preprocessor() -> TokenizerPair:
    config = TokenizerConfig(kind="word", vocab_size=64, joint=False)
    return TokenizerPair(Tokenizer.train(WORDS, config), Tokenizer.train([w.upper() for w in WORDS], config))


@pytest.fixture(scope="module")
def model(preprocessor: TokenizerPair) -> UpperCase:
    return UpperCase(preprocessor)


TASK = Translate(TranslateConfig(source="en", target="fr"))


def rows(sources: list[str], targets: list[str] | None = None, links: list[str] | None = None) -> Rows:
    columns = {"en": sources, "fr": targets or [text.upper() for text in sources]}
    if links is not None:
        columns["alignment"] = links
    return Rows(columns, ReadReport("rows of a test"))


def sentences(n: int) -> list[str]:
    """n sentences of one to nine words, lengths in no order."""
    return [" ".join(WORDS[(7 * i + j) % len(WORDS)] for j in range(1 + i * i % 9)) for i in range(n)]


def right(words: int, size: int) -> float:
    """Log-probability of a sentence of so many words, </s> after them, each being what the model is sure of."""
    return (words + 1) * (SURE - math.log(math.exp(SURE) + size - 1))


# predict


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_one_answer_a_text_in_order(model: UpperCase, preprocessor: TokenizerPair, beam: int, batch_size: int) -> None:
    texts = sentences(50)
    texts[3] = texts[20] = texts[-1] = ""
    texts[7], texts[8] = "   ", "\t\u2003"
    found = list(TASK.predict(model, preprocessor, texts, DecodeConfig(beam=beam, batch_size=batch_size)))
    assert [prediction.text for prediction in found] == [text.strip().upper() for text in texts]
    assert found[3].score == 0 and found[3].alternatives == []


def test_no_texts_no_answers(model: UpperCase, preprocessor: TokenizerPair) -> None:
    assert list(TASK.predict(model, preprocessor, [], DecodeConfig())) == []


def test_texts_are_drawn_as_they_are_needed(model: UpperCase, preprocessor: TokenizerPair) -> None:
    drawn = 0

    def texts() -> Iterator[str]:
        nonlocal drawn
        for text in sentences(10_000):
            drawn += 1
            yield text

    stream = TASK.predict(model, preprocessor, texts(), DecodeConfig(beam=1, batch_size=2))
    assert drawn == 0
    first = [prediction.text for prediction in islice(stream, 128)]
    assert drawn == 128  # 64 batches ahead, no more
    next(stream)
    assert drawn == 256
    assert first == [text.upper() for text in sentences(128)]


def test_hypotheses_come_best_first_with_their_scores(model: UpperCase, preprocessor: TokenizerPair) -> None:
    size = len(preprocessor.target)
    for penalty in (0.0, 1.0):
        decode = DecodeConfig(beam=4, length_penalty=penalty)
        (found,) = TASK.predict(model, preprocessor, ["waa wbc waa"], decode)
        assert found.score == pytest.approx(right(3, size) / 4**penalty, abs=1e-5)
        scores = [found.score, *(score for _, score in found.alternatives)]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True)


def test_attention_comes_with_its_labels(preprocessor: TokenizerPair) -> None:
    texts = ["waa wbc", "", "wab"]
    with_heads = UpperCase(preprocessor, heads=2)
    first, empty, last = TASK.predict(with_heads, preprocessor, texts, DecodeConfig(), attention=True)
    assert first.source_tokens == ["▁waa", "▁wbc", "</s>"]
    assert first.target_tokens == ["▁WAA", "▁WBC", "</s>"]
    maps = dict(first.attention)
    assert list(maps) == ["look.weights", "look.weights[0]", "look.weights[1]"]
    assert torch.equal(maps["look.weights[0]"], torch.eye(3))
    assert torch.allclose(maps["look.weights[1]"], torch.tensor([[1, 0, 0], [0.7, 0.3, 0], [0, 0.7, 0.3]]))
    assert torch.allclose(maps["look.weights"], torch.tensor([[1, 0, 0], [0.35, 0.65, 0], [0, 0.35, 0.65]]))
    assert first.salient == [0, 1, 2]
    assert (empty.text, empty.source_tokens, empty.attention, empty.salient) == ("", [], [], [])
    assert last.attention[0][1].shape == (2, 2)


def test_a_model_that_does_not_attend_has_no_maps(preprocessor: TokenizerPair) -> None:
    blind = UpperCase(preprocessor, heads=0)
    (found,) = TASK.predict(blind, preprocessor, ["waa"], DecodeConfig(), attention=True)
    assert found.target_tokens == ["▁WAA", "</s>"] and found.attention == [] and found.salient == []


def test_what_was_never_seen_is_left_out(model: UpperCase, preprocessor: TokenizerPair) -> None:
    texts = ["waa 猫 wbc", "\U0001f40b\x00", "<s> waa </s>"]
    found = [prediction.text for prediction in TASK.predict(model, preprocessor, texts, DecodeConfig(beam=1))]
    assert found[0] == "WAA WBC"
    assert found[1] == ""
    assert "WAA" in found[2]


def test_an_over_long_text_is_cut_and_shifts_nothing(model: UpperCase, preprocessor: TokenizerPair) -> None:
    texts = ["waa", "wab " * 3000, "wac"]
    for beam in (1, 3):
        found = TASK.predict(model, preprocessor, texts, DecodeConfig(beam=beam, max_length=50))
        assert [prediction.text for prediction in found] == ["WAA", " ".join(["WAB"] * 50), "WAC"]


def test_an_answer_is_one_line(model: UpperCase) -> None:
    """Every byte is a token of a byte-level vocabulary, line ends among them."""
    by_byte = Tokenizer.train(["a b"], TokenizerConfig(kind="byte_bpe", vocab_size=260))
    ids = [by_byte.inner.token_to_id(piece) for piece in ("a", "Ċ", "č", "b")]
    found = TASK.prediction(model, TokenizerPair(by_byte, by_byte), [], [Hypothesis(ids, -1.0)], attention=False)
    assert found.text == "a b"


# evaluate


def test_every_metric_of_a_perfect_model(model: UpperCase, preprocessor: TokenizerPair) -> None:
    texts = sentences(100)
    links = [" ".join(f"{i}-{i}" for i in range(len(text.split()))) for text in texts]
    found = TASK.evaluate(model, preprocessor, rows(texts, links=links), DecodeConfig(beam=2))
    assert found["sentences"] == 100
    assert found["outputs"] == [text.upper() for text in texts]
    assert found["bleu"]["value"] == pytest.approx(100)
    assert found["chrf"]["value"] == pytest.approx(100)
    assert found["aer"]["value"] == 0 and found["aer"]["map"] == "look.weights"
    assert (found["aer"]["precision"], found["aer"]["recall"]) == (1, 1)
    assert found["decode_sentences_per_cpu_second"] > 0


def test_perplexity_by_hand(model: UpperCase, preprocessor: TokenizerPair) -> None:
    """One target of two words has a wrong one, whose logit is 0 instead of SURE."""
    sources, targets = ["waa wab", "wac", "wad wae waf"], ["WAA WBB", "WAC", "WAD WAE WAF"]
    nll = -sum(right(len(text.split()), len(preprocessor.target)) for text in sources) + SURE
    found = TASK.evaluate(model, preprocessor, rows(sources, targets), DecodeConfig(beam=1))
    assert found["perplexity"]["value"] == pytest.approx(math.exp(nll / 9), rel=1e-5)
    assert found["perplexity_per_word"]["value"] == pytest.approx(math.exp(nll / 9), rel=1e-5)
    wrong, good = (nll - 6 / 9 * (nll - SURE)) / 3, (nll - SURE) / 9  # per token: of the worst sentence, of the others
    assert found["perplexity"]["low"] == pytest.approx(math.exp(good), rel=1e-5)
    assert found["perplexity"]["high"] <= math.exp(wrong) * (1 + 1e-5)
    validated = TASK.validate(model, preprocessor, rows(sources, targets), DecodeConfig(), 2)
    assert validated["loss"] == pytest.approx(nll / 9, rel=1e-5)
    assert validated["perplexity"] == pytest.approx(math.exp(nll / 9), rel=1e-5)


def test_perplexity_per_word_counts_words_and_not_tokens(preprocessor: TokenizerPair) -> None:
    """ "WAA,WAB" is one word of three tokens: an unknown mark stands between two known ones."""
    found = TASK.evaluate(
        UpperCase(preprocessor), preprocessor, rows(["waa,wab", "waa"], ["WAA,WAB", "WAA"]), DecodeConfig(beam=1)
    )
    tokens = math.log(found["perplexity"]["value"]) * (4 + 2)
    assert math.log(found["perplexity_per_word"]["value"]) * (2 + 2) == pytest.approx(tokens)


def test_the_map_is_chosen_on_validation_rows(preprocessor: TokenizerPair) -> None:
    """Two heads, one for each of two ways of aligning, and their mean, which aligns as the first:
    what suits the validation rows is used for the test.
    """
    two = UpperCase(preprocessor, heads=2)
    texts = ["waa wab wac wad"] * 3
    same, before = rows(texts, links=["0-0 1-1 2-2 3-3"] * 3), rows(texts, links=["0-0 0-1 1-2 2-3"] * 3)
    for choose_on, test, name, error in [
        (same, same, "look.weights", 0.0),
        (before, before, "look.weights[1]", 0.0),
        (before, same, "look.weights[1]", 0.75),
    ]:
        found = TASK.evaluate(two, preprocessor, test, DecodeConfig(beam=1), choose_on=choose_on)["aer"]
        assert (found["map"], found["value"]) == (name, pytest.approx(error))


@pytest.mark.parametrize(("heads", "links"), [(0, ["0-0", "0-0"]), (1, None)])
def test_no_alignment_without_gold_or_attention(
    preprocessor: TokenizerPair, heads: int, links: list[str] | None
) -> None:
    found = TASK.evaluate(
        UpperCase(preprocessor, heads), preprocessor, rows(["waa", "wab"], links=links), DecodeConfig()
    )
    assert "aer" not in found


class Oracle(UpperCase):
    """Looks where the gold alignment says, each target word at its first source word; the others at </s>."""

    def __init__(self, preprocessor: TokenizerPair, data: Rows) -> None:
        super().__init__(preprocessor)
        self.preprocessor, self.data = preprocessor, data
        self.first = [self.read(links) for links in data["alignment"]]

    @staticmethod
    def read(links: str) -> dict[int, int]:
        return {t: s for s, t in sorted(parse_links(links)[0], reverse=True)}

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        weights = torch.zeros(len(batch.source), 1, batch.target_in.shape[1], batch.source.shape[1])
        for place, row in enumerate(batch.index.tolist()):
            source = self.preprocessor.source.word_ids(self.data["en"][row])
            target = self.preprocessor.target.word_ids(self.data["fr"][row])
            for t, word in enumerate(target):
                s = self.first[row].get(word)
                weights[place, 0, t, len(source) if s is None else source.index(s)] = 1
        self.look.weights(weights)
        return TranslatorOutput(self.logits(torch.zeros_like(batch.target_in)))


def test_alignment_error_on_the_embedded_corpus() -> None:
    """Sub-words are merged to the words of the gold alignment: an attention that follows it is scored as it should."""
    data = Grammar(Grammar.Config(size=300, valid=20, test=60)).split("test")
    config = TokenizerConfig(kind="bpe", vocab_size=150)
    preprocessor = TokenizerPair(Tokenizer.train(data["en"], config), Tokenizer.train(data["fr"], config))
    oracle = Oracle(preprocessor, data)
    found = TASK.evaluate(oracle, preprocessor, data, DecodeConfig(beam=1, max_length=2))["aer"]
    followed = [{(s, t) for t, s in links.items()} for links in oracle.first]
    wanted = aer(followed, [parse_links(links)[0] for links in data["alignment"]])
    assert found["precision"] == 1
    assert found["value"] == pytest.approx(wanted.aer)
    assert found["value"] < 0.1


# validate, and which examples


def test_validation_spreads_its_outputs_over_the_rows(model: UpperCase, preprocessor: TokenizerPair) -> None:
    data = rows(sentences(100))
    found = TASK.validate(model, preprocessor, data, DecodeConfig(), 10)
    assert found["bleu"] == pytest.approx(100)
    assert [sample["source"] for sample in found["samples"]] == data["en"][:80:10]
    assert all(sample["output"] == sample["reference"] for sample in found["samples"])
    assert len(TASK.validate(model, preprocessor, rows(["waa"]), DecodeConfig(), 10)["samples"]) == 1


def test_a_missing_column_is_told_with_those_there(preprocessor: TokenizerPair) -> None:
    task = Translate(TranslateConfig(source="en", target="de"))
    with pytest.raises(DataError, match='no column "de" in rows of a test') as caught:
        task.batches(rows(["waa"]), preprocessor, TrainConfig(), 1)
    assert caught.value.fix == "columns there: en, fr"


def test_pairs_that_are_all_too_long_are_told(preprocessor: TokenizerPair) -> None:
    with pytest.raises(DataError, match=r"all 9 pairs are longer than 1 tokens.*\n.*train\.max_length"):
        TASK.batches(rows(sentences(9)), preprocessor, TrainConfig(max_length=1), 1)
