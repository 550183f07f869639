"""The text classifier: its features against loops, padding that changes nothing, and the loss it is trained by."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from clew.batches import TextBatch
from clew.config import BatchConfig
from clew.data.batches import TextLoader, Texts
from clew.inputs import Tokens
from clew.models.text_classifier import TextClassifier, TextClassifierConfig
from clew.nn.convolution import MaxOverTime
from clew.nn.taps import capture
from clew.objectives.classification import Classification, ClassificationConfig

TEXTS = Texts([[4, 5, 6, 7, 8, 9, 10], [11], [5, 5, 12]], [0, 2, 1])
ENCODERS = ("mean", "convolution", "recurrent", "attention")


def classifier(encoder: str, **settings: Any) -> TextClassifier:
    torch.manual_seed(3)
    sizes = {"d_embedding": 6, "d_model": 4, "dropout": 0.0} | settings
    return TextClassifier(TextClassifierConfig(encoder=encoder, **sizes), Tokens(15), 3).double()


def test_convolution_is_its_equation() -> None:
    torch.manual_seed(1)
    layer = MaxOverTime(6, 4, 3).double()
    x, lengths = torch.randn(3, 7, 6, dtype=torch.float64), [7, 1, 3]
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    w, b = layer.windows.weight, layer.windows.bias  # (filters, d, h)
    got = layer(x, mask)
    for text, n in enumerate(lengths):
        zeros = torch.zeros(2, 6, dtype=torch.float64)
        padded = torch.cat([zeros, x[text, :n], zeros])
        for k in range(4):
            c = [torch.relu((w[k].T * padded[i : i + 3]).sum() + b[k]) for i in range(n + 2)]
            assert got[text, k].item() == pytest.approx(max(c).item(), abs=1e-12)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_text_alone_gives_the_same_logits(encoder: str) -> None:
    model = classifier(encoder).eval()
    together = model(TEXTS.batch([0, 1, 2], pad_id=0)).logits.detach()
    for i in range(3):
        assert together[i] == pytest.approx(model(TEXTS.batch([i], pad_id=0)).logits[0].detach(), abs=1e-10)
    assert together.shape == (3, 3)


def test_the_mean() -> None:
    model = classifier("mean").eval()
    expected = model.output(model.embedding.weight[[5, 5, 12]].mean(dim=0))
    assert model(TEXTS.batch([2], pad_id=0)).logits[0].detach() == pytest.approx(expected.detach())


def test_attention_over_the_states() -> None:
    model = classifier("attention").eval()
    attended, batch = model.encoder, TEXTS.batch([0, 2], pad_id=0)
    with capture(model, "encoder.weights") as seen:
        found = model(batch).logits
    states, _ = attended.layer(model.embedding(batch.text), batch.mask)
    for text, n in enumerate((7, 3)):
        u = [attended.query(torch.tanh(attended.key(h))).item() for h in states[text, :n]]
        alpha = [math.exp(each) / sum(map(math.exp, u)) for each in u]
        assert seen["encoder.weights"][0][text].tolist() == pytest.approx(alpha + [0.0] * (7 - n))
        expected = model.output(sum(a * h for a, h in zip(alpha, states[text], strict=False)))
        assert found[text].tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_weight_learns(encoder: str) -> None:
    model = classifier(encoder, d_model=32)
    Classification(ClassificationConfig())(model, TEXTS.batch([0, 1, 2], pad_id=0)).total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    frozen = classifier(encoder, embedding={"frozen": True})
    Classification(ClassificationConfig())(frozen, TEXTS.batch([0, 1, 2], pad_id=0)).total.backward()
    assert frozen.embedding.weight.grad is None


@pytest.mark.parametrize("encoder", ENCODERS)
def test_learns_ten_texts_by_heart(encoder: str) -> None:
    generator = torch.Generator().manual_seed(1)
    texts = Texts(torch.randint(1, 15, (10, 5), generator=generator).tolist(), [i % 3 for i in range(10)])
    model, batch = classifier(encoder, d_model=16), texts.batch(range(10), pad_id=0)
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(150):
        optimizer.zero_grad()
        Classification(ClassificationConfig())(model, batch).total.backward()
        optimizer.step()
    assert model(batch).logits.argmax(dim=1).tolist() == texts.label


class Given:
    """A model whose logits are given."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(self, batch: TextBatch) -> Given:
        return self


def test_the_loss() -> None:
    logits = [[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [1.0, 3.0, -2.0]]
    eps, nll, smooth = 0.1, 0.0, 0.0
    for row, y in zip(logits, TEXTS.label, strict=True):
        log_p = [value - math.log(sum(math.exp(v) for v in row)) for value in row]
        nll -= log_p[y]
        smooth -= (1 - eps) * log_p[y] + eps * sum(log_p) / 3
    batch = TEXTS.batch([0, 1, 2], pad_id=0)
    loss = Classification(ClassificationConfig(label_smoothing=eps))(Given(torch.tensor(logits)), batch)
    assert loss.total.item() == pytest.approx(smooth, rel=1e-6)
    assert loss.parts["nll"].item() == pytest.approx(nll, rel=1e-6)
    assert (loss.count, loss.parts["accuracy"].item()) == (3, 2)
    plain = Classification(ClassificationConfig())(Given(torch.tensor(logits)), batch)
    assert plain.total.item() == pytest.approx(nll, rel=1e-6)


def test_batches_of_texts() -> None:
    batch = TEXTS.batch([2, 1], pad_id=0)
    assert batch.text.tolist() == [[5, 5, 12], [11, 0, 0]]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    assert (batch.label.tolist(), batch.index.tolist()) == ([1, 2], [2, 1])
    texts = Texts([[1] * (1 + i % 9) for i in range(50)], [i % 2 for i in range(50)])
    loader = TextLoader(texts, batch=BatchConfig(tokens=20), max_length=8, seed=1, pad_id=0)
    assert loader.n_left_out == 5
    seen: list[int] = []
    for batch in loader:
        seen += batch.index.tolist()
        assert batch.text.numel() <= 20
        assert batch.label.tolist() == [i % 2 for i in batch.index.tolist()]
        if loader.epochs_done >= 1:
            break
    assert sorted(seen) == [i for i in range(50) if i % 9 != 8]
