"""Everything that a beam search kept, as a tree."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from clew.decode.search import Hypothesis


@dataclass(frozen=True)
class Node:
    """A hypothesis after one more token.

    parent: what it goes on from, by its place among the nodes, -1 for the beginning; length: its tokens; log_p: of all
    of them; score = log_p / length ** length_penalty; over: it went no further, having ended or reached its limit.
    """

    parent: int
    token: int
    length: int
    log_p: float
    score: float
    over: bool


class BeamTree:
    """The nodes of one sentence's search, parents before children; hand it to `beam_search` as `listener`.

    At each step those that end come first, then those that go on, each in the order of the beam. What was found better
    than neither is not kept, nor what still went on when the search was done.
    """

    def __init__(self, eos_id: int, length_penalty: float, sentence: int = 0) -> None:
        self.eos_id, self.length_penalty, self.sentence = eos_id, length_penalty, sentence
        self.nodes: list[Node] = []
        self.live: list[int] = [-1]  # the node of each live hypothesis, in the order of the beam

    def __call__(
        self, where: Tensor, going: Tensor, value: Tensor, token: Tensor, row: Tensor, over: Tensor, ranks: Tensor
    ) -> None:
        if self.sentence not in where.tolist():
            return
        group = where.tolist().index(self.sentence)
        best, tokens, rows = (part[group].tolist() for part in (value, token, row))
        goes_on = group in going.tolist()
        found = [(rank, True) for rank in over[group].nonzero().flatten().tolist()]
        found += [(rank, False) for rank in ranks[group].tolist()] if goes_on else []
        live = []
        for rank, ended in found:
            if not ended:
                live.append(len(self.nodes))
            if best[rank] == -float("inf"):  # fewer words than hypotheses: an empty place of the beam
                continue
            parent = self.live[rows[rank]]
            length = 1 if parent < 0 else self.nodes[parent].length + 1
            score = best[rank] / length**self.length_penalty
            self.nodes.append(Node(parent, tokens[rank], length, best[rank], score, ended))
        self.live = live

    def ids(self, node: int) -> list[int]:
        """The tokens from the beginning to a node."""
        found: list[int] = []
        while node >= 0:
            found.append(self.nodes[node].token)
            node = self.nodes[node].parent
        return found[::-1]

    def hypotheses(self, beam: int) -> list[tuple[int, Hypothesis]]:
        """What the search returns, best first, each with its node."""
        found = []
        for place, node in enumerate(self.nodes):
            if node.over:
                ids = self.ids(place)
                found.append((place, Hypothesis(ids[:-1] if ids[-1] == self.eos_id else ids, node.score)))
        return sorted(found, key=lambda each: -each[1].score)[:beam]
