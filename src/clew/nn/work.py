"""What it costs to run a model: multiplications by its weights."""

from __future__ import annotations

from torch import nn

from clew.nn.positions import Learned


def embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Return the tables whose rows are looked up, of tokens and of positions."""
    kinds = (nn.Embedding, Learned)
    return [table for module in model.modules() if isinstance(module, kinds) for table in module.parameters()]


def multiplied(model: nn.Module, projection: tuple[object, ...]) -> list[nn.Parameter]:
    """Return the weights that every token is multiplied by.

    Embeddings are only looked up, except a table that is also the projection onto the vocabulary.
    """
    tables = {id(table) for table in embeddings(model)} - {id(part) for part in projection}
    return [parameter for parameter in model.parameters() if id(parameter) not in tables]


def forward_flops(model: nn.Module, projection: tuple[object, ...]) -> float:
    """Return the operations of one token going forward: 2 for each weight that it is multiplied by."""
    return 2.0 * sum(parameter.numel() for parameter in multiplied(model, projection))
