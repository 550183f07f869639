"""Multi-head attention, step by step on a text: from embeddings to the sum with the residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.inspect.walk import NamedTensor, Step, Walk, gap, named, precise
from clew.inspect.walks.embedding import embedding
from clew.inspect.walks.norms import normalise, normed
from clew.inspect.walks.places import Place, Site, flat, place_of, visit
from clew.models.t5 import bucket
from clew.nn.attention import Dot, ScaledDot, attend
from clew.nn.positions import rotate

PLACES = {
    "encoder": "self-attention of the encoder",
    "decoder": "self-attention of the decoder, causal",
    "cross": "attention of the decoder to the encoder",
}


def by_hand(tokens: Sequence[str], x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor | None = None) -> Walk:
    """softmax(QKᵀ/√d_k)V of given numbers: Q = x W_q, K = x W_k, V = x W_v, or x itself.

    x: (T, d) in double precision; W: (d, d_k). The engine is torch's fused kernel.
    """
    q, k, v = x @ W_q, x @ W_k, x if W_v is None else x @ W_v
    labels, d = [*tokens], W_q.shape[1]
    engine = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
    _, weights = attend(q, k, v, None, ScaledDot())
    values = [named("x", x, labels), named("Q", q, labels), named("K", k, labels), named("V", v, labels)]
    project = Step(
        "queries, keys, values", rf"Q = xW_q,\quad K = xW_k,\quad V = {'x' if W_v is None else 'xW_v'}",
        "Each token asks with its query, is found by its key, and gives its value.", [], values, None,
    )  # fmt: skip
    mask = torch.ones(len(x), len(x), dtype=torch.bool)
    steps = look(q, k, v, mask, labels, labels, weights, engine)
    return Walk(f"Scaled dot-product attention, d_k = {d}", labels, [project, *steps])


def attention_walk(
    model: nn.Module, batch: PairBatch | TextBatch, rows: Sequence[str], columns: Sequence[str], *, place: str,
    layer: int, head: int,
) -> Walk:  # fmt: skip
    """One head of one layer on a batch of one text, from the embedding of its tokens to the norm after attention.

    rows: the tokens that ask; columns: those that are asked (the same in self-attention). Everything is computed twice
    in double precision: here by the equations, there by the model's engine. Raises RecipeError for a place, layer or
    head that is not there.
    """
    at = place_of(model, place, layer, head)
    exact = precise(model)
    with torch.no_grad():
        site, weights = visit(exact, batch, at, layer), visit(exact, batch, at, layer, listen=True).weights
        assert weights is not None
        steps = embedding(exact, batch, place, rows)
        if layer or place == "cross":
            steps.append(came_in(site, at, layer, rows))
        steps += [*through(site, weights, rows, columns, head)]
    title = f"{PLACES[place].capitalize()}, layer {layer + 1} of {at.n_layers}, head {head + 1} of {at.n_heads}"
    return Walk(title, [*rows], steps)


def came_in(site: Site, at: Place, layer: int, rows: Sequence[str]) -> Step:
    below = f"the {layer} layer{'s' * (layer > 1)} below" if layer else "the self-attention of this layer"
    return Step(
        "what comes in", rf"x = h^{{({layer})}}" if at.name != "cross" else "x = h",
        f"What {below} made of the tokens: the engine's own numbers.", [], [named("x", site.x, rows)], None,
    )  # fmt: skip


def project(site: Site, y: Tensor, memory: Tensor) -> list[Tensor]:
    """Queries (heads, T, d_head), keys and values (heads or groups of them, S, d_head), by the equation."""
    attention = site.attention
    parts = ((attention.query, y), (attention.key, memory), (attention.value, memory))
    return [apply(part, x).unflatten(-1, (-1, site.d_head)).transpose(0, 1) for part, x in parts]


def apply(linear: nn.Linear, x: Tensor) -> Tensor:
    """x Wᵀ + b, where there is a b."""
    product = x @ linear.weight.T
    return product if linear.bias is None else product + linear.bias


def with_bias(linear: nn.Linear) -> Callable[[str], str]:
    """What a formula adds to a product, by the name of the map: its bias, or nothing."""
    return lambda name: "" if linear.bias is None else f" + b_{name}"


def shares(site: Site, q: Tensor, k: Tensor) -> Tensor:
    """The weights (…, T, S) of all heads, of queries and keys as they meet."""
    scores = q @ k.transpose(-2, -1) / site.scale
    if site.bias is not None:
        scores = scores + site.bias
    return scores.masked_fill(~site.mask, -torch.inf).softmax(dim=-1)


def turned(site: Site, x: Tensor) -> Tensor:
    """Queries or keys (…, T, d_head), as they meet."""
    return rotate(x, base=site.attention.base) if site.attention.rotary else x


def through(site: Site, weights: Tensor, rows: Sequence[str], columns: Sequence[str], head: int) -> list[Step]:
    """The steps from the residual that comes in to the one that goes on."""
    attention, steps = site.attention, []
    y = site.x
    if site.pre:
        y = normalise(site.norm, site.x)
        steps.append(normed(site.norm, "norm before", "y", "x", site.x, site.norm(site.x), rows))
    memory = y if site.memory is None else site.memory
    of = "y" if site.pre else "x"
    q, k, v = project(site, y, memory)
    group = group_of(site, head)
    meeting = turned(site, q), turned(site, k)
    engine = [part[0] for part in attention.project(y[None], memory[None])]  # as they meet
    checks = [gap(ours, theirs) for ours, theirs in zip((*meeting, v), engine, strict=True)]
    steps.append(projected(site, (q[head], k[group], v[group]), memory, of, max(checks), rows, columns, head))
    if site.attention.rotary:
        steps.append(rotated(meeting[0][head], meeting[1][group], max(checks[:2]), rows, columns))
    q, (k, v) = meeting[0], (part.repeat_interleave(len(q) // len(k), dim=0) for part in (meeting[1], v))
    heads = shares(site, q, k) @ v
    joined = heads.transpose(0, 1).flatten(1)  # (T, n_heads · d_head)
    share = slice(head * site.d_head, (head + 1) * site.d_head)
    seen = weights[0, head], flat(site.joined.args[0])[:, share]
    bias = None if site.bias is None else site.bias[head]
    steps += look(q[head], k[head], v[head], site.mask, rows, columns, *seen, bias, distances(site, head))
    output, b = apply(attention.output, joined), with_bias(attention.output)
    mine = heads[head] @ attention.output.weight[:, share].T
    steps.append(Step(
        "the heads together", rf"y = [O_1; \dots; O_h]\,W_o^\top{b('o')} = \textstyle\sum_i O_i W_o^{{i\top}}{b('o')}",
        f"Each head adds its own part: that of head {head + 1} stands beside the sum of all {attention.n_heads}.",
        ["O"], [named(f"O W_o of head {head + 1}", mine, rows), named("y of all heads", output, rows)],
        gap(output, flat(site.joined.output)),
    ))  # fmt: skip
    return [*steps, *ending(site, output, rows)]


def projected(
    site: Site, qkv: Sequence[Tensor], memory: Tensor, of: str, check: float, rows: Sequence[str],
    columns: Sequence[str], head: int,
) -> Step:  # fmt: skip
    """The projections of one head."""
    attention = site.attention
    share = slice(head * site.d_head, (head + 1) * site.d_head)
    asked = of if site.memory is None else "m"
    values = [named("Q", qkv[0], rows), named("K", qkv[1], columns), named("V", qkv[2], columns)]
    values.append(named("W_q", attention.query.weight[share]))
    group, shared, b = group_of(site, head), "", with_bias(attention.query)
    share = slice(group * site.d_head, (group + 1) * site.d_head)
    values += [named("W_k", attention.key.weight[share]), named("W_v", attention.value.weight[share])]
    if len(attention.key.weight) < len(attention.query.weight):
        shared = f" Keys and values are those of group {group + 1}, which several heads share."
    if site.memory is not None:
        values.insert(0, named("m", memory, columns))
    return Step(
        "queries, keys, values",
        rf"Q = {of}W_q^\top{b('q')},\quad K = {asked}W_k^\top{b('k')},\quad V = {asked}W_v^\top{b('v')}",
        f"Each token asks with its query, is found by its key, and gives its value: {site.d_head} numbers each."
        + shared,
        [of], values, check,
    )  # fmt: skip


def group_of(site: Site, head: int) -> int:
    """Whose keys and values a head asks: its own, but where groups of heads share them."""
    attention = site.attention
    return head * attention.key.out_features // attention.query.out_features


def rotated(q: Tensor, k: Tensor, check: float, rows: Sequence[str], columns: Sequence[str]) -> Step:
    return Step(
        "rotary positions", r"q_t \leftarrow R_t q_t,\quad k_s \leftarrow R_s k_s,\quad q_t^\top R_t^\top R_s k_s",
        "Queries and keys are turned by their positions, so that products depend on how far apart two tokens stand.",
        ["Q", "K"], [named("Q", q, rows), named("K", k, columns)], check,
    )  # fmt: skip


def look(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, rows: Sequence[str], columns: Sequence[str], weights: Tensor,
    context: Tensor, bias: Tensor | None = None, found: tuple[Tensor, Tensor] | None = None,
) -> list[Step]:  # fmt: skip
    """q·k → ÷√d_k → mask → softmax → ×V of one head, beside the engine's weights (T, S) and context (T, d_head).

    bias: (T, S), added to scores that are not divided (T5); found: see `distances`.
    """
    d = q.shape[-1]
    scores = q @ k.T
    scaled = scores / math.sqrt(d) if bias is None else scores + bias
    masked = scaled.masked_fill(~mask, -torch.inf)
    shifted = (masked - masked.amax(dim=-1, keepdim=True)).exp()
    alpha = shifted / shifted.sum(dim=-1, keepdim=True)
    hidden = int((~mask).sum())

    def table(name: str, value: Tensor) -> list[NamedTensor]:
        return [named(name, value, rows, columns)]

    return [
        Step("scores", r"S = QK^\top", "The more a query and a key agree, the larger their product.", ["Q", "K"],
             table("S", scores), gap(scores, Dot()(q, k))),
        Step("scaled", rf"S / \sqrt{{d_k}} = S / \sqrt{{{d}}}",
             f"The variance of the scores falls from {spread(scores):.3g} to {spread(scaled):.3g}, which keeps softmax "
             "where it has a gradient.", ["S"], table("scaled", scaled), gap(scaled, ScaledDot()(q, k)))
        if bias is None else
        positions(scaled, bias, found, table),
        Step("mask", r"S_{ts} = -\infty \text{ where } s \text{ is hidden from } t",
             f"{hidden} of {mask.numel()} pairs are hidden." if hidden else "Nothing is hidden: every token sees all.",
             ["scaled"], table("masked", masked), None),
        Step("softmax", r"\alpha_{ts} = \frac{\exp S_{ts}}{\sum_{s'} \exp S_{ts'}}",
             "Every row becomes shares of one.", ["masked"], table("α", alpha), gap(alpha, weights)),
        Step("context", r"O = \alpha V", "Each token takes its shares of the values.", ["α", "V"],
             [named("O", alpha @ v, rows)], gap(alpha @ v, context)),
    ]  # fmt: skip


def distances(site: Site, head: int) -> tuple[Tensor, Tensor] | None:
    """The bucket of each distance (T, S) and the bias that is learned for it, where there are such biases (T5)."""
    if site.distances is None or site.bias is None:
        return None
    n, config = site.bias.shape[-1], site.distances.config
    apart = torch.arange(n) - torch.arange(n)[:, None]  # s - t
    number = bucket(apart, config.buckets, config.max_distance, site.distances.causal)
    return number, site.distances.bias.weight[number, head]


def positions(
    scaled: Tensor, bias: Tensor, found: tuple[Tensor, Tensor] | None, table: Callable[[str, Tensor], list[NamedTensor]]
) -> Step:
    """T5's biases of distances, added to the scores."""
    if found is None:
        return Step("positions", r"S_{ts} + 0", "No bias, and no division: only what the two say counts.", ["S"],
                    table("scaled", scaled), None)  # fmt: skip
    number, learned = found
    visible = bias != 0  # what may not be attended to has none
    return Step(
        "positions", r"S_{ts} + B_{\beta(s - t)}",
        "A learned number for each bucket β of distances: near ones have their own, farther ones share. The scores are "
        "not divided.", ["S"],
        [*table("β", number), *table("B", learned), *table("scaled", scaled)], gap(learned[visible], bias[visible]),
    )  # fmt: skip


def spread(scores: Tensor) -> float:
    """The variance over all pairs; 0 of one pair."""
    return float(scores.detach().var()) if scores.numel() > 1 else 0.0


def ending(site: Site, output: Tensor, rows: Sequence[str]) -> list[Step]:
    """The sum with the residual, and the norm where it comes last."""
    total = site.x + output
    added = Step(
        "residual", r"x' = x + y", "What comes in goes on; attention adds to it.", ["x", "y of all heads"],
        [named("x'", total, rows)], gap(total, site.result) if site.pre else None,
    )  # fmt: skip
    if site.pre:
        return [added]
    return [added, normed(site.norm, "norm", "z", "x'", total, site.result, rows)]
