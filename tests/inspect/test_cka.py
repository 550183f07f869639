"""CKA: against its definition by loops, its invariances, its minibatch form, and on real layers."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import pytest
import torch

from clew.config import TokenizerConfig
from clew.data.batches import Pairs, Texts
from clew.errors import DataError
from clew.inputs import TokenPair, Tokens
from clew.inspect.cka import MinibatchCKA, cka, cka_map, cka_of_texts, hsic
from clew.inspect.states import layers, states
from clew.models.bert import Bert, BertConfig
from clew.models.heads import with_head
from clew.models.seq2seq import Seq2Seq
from clew.models.transformer import Transformer
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}


def two(n: int = 9, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(n, 4).double(), torch.randn(n, 6).double()


def test_by_centred_kernels() -> None:
    """As HSIC with centring matrices, tr(KHLH), of the same kernels."""
    x, y = two()
    H = torch.eye(9).double() - 1 / 9
    K, L = x @ x.T, y @ y.T

    def trace(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.trace(a @ H @ b @ H))

    assert cka(x, y) == pytest.approx(trace(K, L) / (trace(K, K) * trace(L, L)) ** 0.5)


def test_invariances() -> None:
    x, y = two(200)
    rotation = torch.linalg.qr(torch.randn(4, 4).double())[0]
    assert cka(x, x) == pytest.approx(1.0) and cka(x, 3 * x @ rotation + 5) == pytest.approx(1.0)
    assert cka(x, y) == pytest.approx(cka(y, x)) and cka(x, y) < 0.1
    assert cka(x, x @ torch.diag(torch.tensor([1.0, 5, 1, 1]).double())) < 0.99  # not to any linear map
    assert cka(x, torch.ones(200, 2)) == 0.0


def test_unbiased_hsic_by_its_u_statistic() -> None:
    """The mean over all quadruples of different examples (Song et al. 2012, theorem 2's kernel)."""
    x, y = two(6)
    K, L = x @ x.T, y @ y.T
    total, count = 0.0, 0
    for four in combinations(range(6), 4):
        for s, t, u, v in permutations(four):
            total += float(K[s, t] * (L[s, t] + L[u, v] - 2 * L[s, u]))
            count += 1
    assert float(hsic(K, L)) == pytest.approx(total / count)


def test_minibatches() -> None:
    """Independent states come out at 0 whatever the batch, where the plain form has a bias; equal ones at 1."""
    found = MinibatchCKA()
    for seed in range(300):
        x, y = two(8, seed)
        found.add([x, y], [x @ torch.linalg.qr(torch.ones(4, 4).double() + torch.eye(4))[0], y])
    value = found.value()
    assert found.examples == 2400 and value.shape == (2, 2)
    assert value[0, 0] == pytest.approx(1.0) and value[1, 1] == pytest.approx(1.0)
    assert abs(value[0, 1]) < 0.04 and sum(cka(*two(8, seed)) for seed in range(50)) / 50 > 0.2


def test_what_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="same examples"):
        cka(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(DataError, match="four or more"):
        MinibatchCKA().add([torch.zeros(3, 2)], [torch.zeros(3, 2)])
    with pytest.raises(DataError, match="no states"):
        MinibatchCKA().value()


def far(model: torch.nn.Module) -> Any:
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def bert(n_layers: int = 2) -> Any:
    config = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=n_layers, max_length=16)
    return far(with_head("classify", config, Tokens(19), 2))


TEXTS = Texts([[2, 7, 8, 9, 3], [2, 10, 3], [2, 5, 6, 3], [2, 11, 12, 3], [2, 7, 3]], [0] * 5).batch(range(5), pad_id=0)
PAIRS = Pairs([[4, 5, 6], [7], [8, 9], [10, 11]], [[7, 8]] * 4).batch(range(4), **IDS)


def test_states_of_padded_and_unpadded_layers() -> None:
    """Of tokens and of texts, the same as the model's own last states and mean."""
    model = bert().eval()
    out = model.encoder(TEXTS)
    last = "encoder.layers.1"
    assert layers(model) == ["encoder.layers.0", last]
    torch.testing.assert_close(states(model, TEXTS, "text")[last], out.mean)
    torch.testing.assert_close(states(model, TEXTS, "token")[last], out.packing.unpack(out.hidden)[TEXTS.mask])
    translator = far(
        Transformer(Transformer.Config(d_model=8, d_ff=12, n_heads=2, norm="post"), TokenPair.of(19, 19))
    ).eval()
    assert layers(translator) == [f"encoder.layers.{n}" for n in range(3)]
    memory = translator.encode(PAIRS.source, PAIRS.source_mask)
    torch.testing.assert_close(states(translator, PAIRS, "token")["encoder.layers.2"], memory.states[PAIRS.source_mask])
    recurrent = far(Seq2Seq(Seq2Seq.Config(d_embedding=6, d_model=8), TokenPair.of(19, 19))).eval()
    memory = recurrent.encode(PAIRS.source, PAIRS.source_mask)
    torch.testing.assert_close(states(recurrent, PAIRS, "token")["encoder"], memory.states[PAIRS.source_mask])


def test_a_map() -> None:
    found = cka_map(bert(2), bert(3), [(TEXTS, TEXTS)], per="token")
    assert len(found.rows) == 2 and len(found.columns) == 3 and found.examples == int(TEXTS.mask.sum())
    assert found.values[0][0] == pytest.approx(1.0) and found.values[1][1] == pytest.approx(1.0)  # equal layers
    assert found.values[0][2] < 0.999
    own = bert()
    values = torch.tensor(cka_map(own, own, [(TEXTS, TEXTS)]).values)
    torch.testing.assert_close(values, values.T)
    across = cka_map(
        own, far(Seq2Seq(Seq2Seq.Config(d_embedding=6, d_model=8), TokenPair.of(19, 19))), [(TEXTS_OF_PAIRS, PAIRS)]
    )
    assert across.columns == ["encoder"] and across.examples == 4


TEXTS_OF_PAIRS = Texts([[2, 4, 5, 6, 3], [2, 7, 3], [2, 8, 9, 3], [2, 10, 11, 3]], [0] * 4).batch(range(4), pad_id=0)


def test_texts_as_each_model_reads_them() -> None:
    """A BERT of word pieces beside a Transformer of words; one model with itself."""
    lines = ["the cat sat on the mat", "a dog ran", "he likes cats", "a mat", "the dog"] * 8
    pieces = Tokenizer.train(lines, TokenizerConfig(kind="wordpiece", vocab_size=50), mask=True)
    words = Tokenizer.train(lines, TokenizerConfig(kind="word"))
    config = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16)
    one = far(with_head("classify", config, Tokens(len(pieces)), 2)), LabelledTokenizer(pieces, ["no", "yes"])
    other = far(Transformer(Transformer.Config(d_model=8, d_ff=12, n_heads=2), TokenPair.of(len(words), len(words))))
    found = cka_of_texts(one, (other, TokenizerPair(words, words)), lines)
    assert found.examples == 40 and (len(found.rows), len(found.columns)) == (2, 3)
    own = torch.tensor(cka_of_texts(one, one, lines).values)
    torch.testing.assert_close(own.diagonal(), torch.ones(2))
    with pytest.raises(DataError, match="four texts"):
        cka_of_texts(one, one, lines[:3])


def test_a_model_without_layers() -> None:
    with pytest.raises(DataError, match="no layers"):
        states(torch.nn.Linear(2, 2), TEXTS, "text")
    assert layers(far(Bert(BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=1), Tokens(9)))) == ["layers.0"]
