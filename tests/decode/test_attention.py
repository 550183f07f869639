"""Attention maps are captured, and cut to sentences; those of a model that must align are read as its alignments."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.data.batches import Pairs
from clew.decode.attention import attention_maps, sentence_maps
from clew.metrics.alignment import align, merge_subwords, salient
from clew.nn.taps import Tap

IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}


class Looker(nn.Module):
    """Each target position attends, with one hot head and one flat head, to the source position it says."""

    target_attention = "layers.*.weights"

    def __init__(self, stepwise: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Module(), nn.Module()])
        for layer in self.layers:
            layer.weights = Tap()
        self.stepwise = stepwise

    def forward(self, batch: PairBatch) -> SimpleNamespace:
        assert not self.training
        size, T, S = *batch.target_in.shape, batch.source.shape[1]
        hot = torch.eye(S).flip(0)[torch.arange(T) % S].expand(size, 1, T, S)
        weights = torch.cat([hot, torch.full_like(hot, 1 / S)], dim=1)
        for layer in self.layers:
            for part in weights.split(1, dim=2) if self.stepwise else [weights]:
                layer.weights(part)
        return SimpleNamespace(hidden=weights)


def batch() -> PairBatch:
    return Pairs([[5, 6, 7], [5]], [[8, 9], [8, 9, 10]]).batch([0, 1], **IDS)


@pytest.mark.parametrize("stepwise", [False, True])
def test_maps_are_captured_whole_or_step_by_step(stepwise: bool) -> None:
    model = Looker(stepwise).train()
    maps = attention_maps(model, batch())
    assert list(maps) == ["layers.0.weights", "layers.1.weights"]
    assert maps["layers.0.weights"].shape == (2, 2, 4, 4)  # (batch, heads, target, source), </s> included
    assert model.training
    assert not any(tap.heard for tap in model.modules() if isinstance(tap, Tap))
    torch.testing.assert_close(maps["layers.0.weights"].sum(-1), torch.ones(2, 2, 4))


def test_a_model_without_attention_has_no_maps() -> None:
    model = Looker()
    model.target_attention = ""
    assert attention_maps(model, batch()) == {}


def test_maps_of_one_sentence_name_each_head() -> None:
    maps = sentence_maps(attention_maps(Looker(), batch()), row=0, n_target=3, n_source=4)
    assert list(maps)[:3] == ["layers.0.weights", "layers.0.weights[0]", "layers.0.weights[1]"]
    assert salient(maps["layers.1.weights[0]"]) == [3, 2, 1]
    torch.testing.assert_close(maps["layers.0.weights"].sum(-1), torch.ones(3))
    single = sentence_maps({"attention.weights": torch.ones(1, 1, 2, 1)}, 0, 2, 1)
    assert list(single) == ["attention.weights"]


class Copier(nn.Module):
    """A pointer: p(y_t | y_{t-1}) is the attention that the places of y_t in the source receive."""

    target_attention = "weights"

    def __init__(self, size: int, width: int = 16) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(size, width), nn.Embedding(size, width)
        self.weights = Tap()

    def forward(self, batch: PairBatch) -> Tensor:
        scores = self.target(batch.target_in) @ self.source(batch.source).transpose(1, 2) / 16
        weights = self.weights(scores.softmax(-1)[:, None])[:, 0]
        return weights @ nn.functional.one_hot(batch.source, self.source.num_embeddings).float()


def test_row_t_aligns_with_the_token_that_it_predicts() -> None:
    """A cycle 3 → 4 → … in shuffled source order: having read y_{t-1}, the model must look at y_t's place."""
    torch.manual_seed(0)
    size, n = 9, 6
    tokens = list(range(3, 3 + n))
    sources = [[tokens[i] for i in torch.randperm(n)] for _ in range(64)]
    pairs = Pairs(sources, [tokens] * 64).batch(range(64), **IDS)
    model = Copier(size)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(100):
        loss = nn.functional.nll_loss(model(pairs).clamp(min=1e-9).log().flatten(0, 1), pairs.target_out.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    maps = attention_maps(model, pairs)
    for row, source in enumerate(sources):
        words = merge_subwords(sentence_maps(maps, row, n + 1, n + 1)["weights"], range(n), range(n))
        assert align(words) == {(source.index(token), t) for t, token in enumerate(tokens)}
