"""What it costs to run a model and to train it: multiplications by its weights."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from clew.contracts import Model
from clew.nn.positions import Learned


def embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Return the tables whose rows are looked up, of tokens and of positions."""
    kinds = (nn.Embedding, Learned)
    return [table for module in model.modules() if isinstance(module, kinds) for table in module.parameters()]


class Work:
    """The operations of one token, by the weights that it is multiplied by (Kaplan et al. 2020, §2.1).

    Forward: 2 for each weight. Backward: 2 for the gradient of what came in, where something at its height or below
    it learns, and 2 for its own, where it learns. That makes 6 for what learns, 4 for what is frozen above it, 2
    for what is frozen below it; each as often as an input is multiplied by it (`Model.times_used`). Heights are the
    model's blocks; the head, and the projection onto the vocabulary, are on top.

    Tables are looked up for nothing, except one that is also the projection. A weight under a low-rank update
    learns as a whole: its gradient is made first, and those of the two factors from it, once a step. Not counted
    are the products within attention, which grow with the length of a text, and what an objective learns beside the
    model.
    """

    def __init__(self, model: Model) -> None:
        blocks, projection = model.blocks(), {id(part) for part in model.output_table()}
        height = {id(p): n for n, block in enumerate(blocks) for p in block.parameters()}
        whole = {
            id(factor): made.original
            for made in model.modules() if isinstance(made, ParametrizationList)
            for update in made for factor in update.parameters()
        }  # fmt: skip
        self.top, self.share = len(blocks), model.share_read
        self.every = [(p, whole.get(id(p), p), height.get(id(p), self.top)) for p in model.parameters()]
        free = (whole.keys() | {id(table) for table in embeddings(model)}) - projection
        times = model.times_used()
        self.weights = [
            (id(p), p.numel() * times.get(id(p), 1.0), self.top if id(p) in projection else n)
            for p, _, n in self.every if id(p) not in free
        ]  # fmt: skip

    def forward(self) -> float:
        """Return the operations of a token that is read, or written after what a cache holds."""
        return 2.0 * self.share * sum(size for _, size, _ in self.weights)

    def training(self) -> float:
        """Return the operations of a token in a step of training, by what learns now."""
        learning = [(id(weight), n) for p, weight, n in self.every if p.requires_grad]
        learns, lowest = {weight for weight, _ in learning}, min((n for _, n in learning), default=self.top + 1)
        back = sum(size * ((n >= lowest) + (w in learns)) for w, size, n in self.weights)
        return self.forward() + 2.0 * self.share * back


def n_parameters(model: nn.Module, *, learning: bool = False) -> int:
    """Numbers in all parameters, or in those that learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not learning)
