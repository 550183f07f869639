"""The tree of a beam search is the search that was made, no other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from test_search import EOS, LONGEST, MODELS, SOURCES, batch_of, limits, next_log_p, transformer

from clew.decode.search import beam_search, search
from clew.decode.tree import BeamTree


@pytest.mark.parametrize("model", ["transformer", "lstm"])
@pytest.mark.parametrize(("beam", "alpha"), [(1, 1.0), (3, 0.0), (4, 0.6)])
@pytest.mark.parametrize("sentence", [0, 3])
def test_its_best_leaves_are_what_the_search_returns(model: str, beam: int, alpha: float, sentence: int) -> None:
    made, batch, how = MODELS[model](), batch_of(SOURCES), limits(length_penalty=alpha)
    tree = BeamTree(EOS, alpha, sentence)
    watched = beam_search(made, batch.source, batch.source_mask, how, beam, tree)
    assert watched == beam_search(made, batch.source, batch.source_mask, how, beam)
    found = tree.hypotheses(beam)
    assert [each.ids for _, each in found] == [each.ids for each in watched[sentence]]
    assert [each.score for _, each in found] == pytest.approx([each.score for each in watched[sentence]])
    assert all(tree.nodes[place].over for place, _ in found)


def test_every_node_is_a_hypothesis_with_its_probability() -> None:
    made, batch, beam = transformer(19, 2.0), batch_of(SOURCES), 3
    tree = BeamTree(EOS, 1.0)
    beam_search(made, batch.source, batch.source_mask, limits(), beam, tree)
    kept: dict[int, int] = {}
    for place, node in enumerate(tree.nodes):
        ids = tree.ids(place)
        assert node.parent < place and len(ids) == node.length and ids[-1] == node.token
        log_p = sum(next_log_p(made, SOURCES[0], ids[:t])[ids[t]].item() for t in range(len(ids)))
        assert node.log_p == pytest.approx(log_p, abs=1e-4) and node.score == pytest.approx(log_p / len(ids), abs=1e-4)
        assert node.over or node.token != EOS
        kept[node.length] = kept.get(node.length, 0) + (not node.over)
    assert all(count == beam for length, count in kept.items() if length < max(kept))
    assert max(kept) <= LONGEST and all(not tree.nodes[node.parent].over for node in tree.nodes if node.parent >= 0)


def test_fewer_words_than_hypotheses_and_models_without_steps() -> None:
    made: Any = transformer()
    batch = batch_of([[4]])
    tree = BeamTree(EOS, 1.0)
    found = search(made, batch.source, batch.source_mask, limits(max_length=2), 8, tree)
    assert all(node.log_p > -torch.inf for node in tree.nodes) and len(tree.hypotheses(8)) == len(found[0])
    one = BeamTree(EOS, 1.0)
    assert search(made, batch.source, batch.source_mask, limits(), 1, one)[0] == [h for _, h in one.hypotheses(1)]
    assert len([node for node in one.nodes if not node.over]) <= LONGEST
