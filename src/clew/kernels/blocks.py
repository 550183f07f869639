"""The engine's core: one gradient step of the logistic loss between a few input rows and a few output rows.

Every word-vector objective here is a stream of such blocks. With input rows c_i, output rows o_j, labels y_ij ∈ {0, 1}
and weights w_ij (how many training pairs the entry stands for, often 0 or 1), the loss of a block is

    L = Σ_ij w_ij · [log(1 + exp(c_i·o_j)) − y_ij c_i·o_j]        (−log σ(c·o) for y = 1, −log σ(−c·o) for y = 0)
    g_ij = −lr · ∂L/∂(c_i·o_j) = lr · w_ij · (y_ij − σ(c_i·o_j))
    c_i += Σ_j g_ij o_j        o_j += Σ_i g_ij c_i                (both from the rows as they were before the step)

so that a block is three small matrix products, held in vector registers: `score_tile` and `update_tile` write vector
instructions for TILE output rows at a time, which LLVM lowers to what the processor has. A row is padded with zeros to
a multiple of LANES numbers, and is named by its offset in the flat table (row · padded width).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16  # float32 numbers in a vector register of 64 bytes
TILE = 6  # output rows held in registers at once: 1 positive + 5 negatives, the usual setting
SLOTS = 8  # columns of the score matrix per tile (the last two of eight stay empty)

FLOAT, INDEX = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
CONTRACT = ("contract",)  # lets a multiplication and an addition fuse; reorders nothing


def _fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    return builder.fadd(builder.fmul(a, b, flags=CONTRACT), c, flags=CONTRACT)


def _shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def _totals(builder: ir.IRBuilder, vectors: list[ir.Value | None]) -> ir.Value:
    """The sums of 16 vectors as the lanes of one: pairs are folded into each other, 16 → 8 → 4 → 2 → 1 vectors."""
    zero, width = ir.Constant(VECTOR, [0.0] * LANES), LANES
    while len(vectors) > 1:
        half = width // 2
        folded: list[ir.Value | None] = []
        # A vector holds LANES/width sums in parts of `width` lanes; folding keeps the first vector's parts first.
        parts = range(0, LANES, width)
        low = [part + k for base in (0, LANES) for part in (base + p for p in parts) for k in range(half)]
        for a, b in zip(vectors[0::2], vectors[1::2], strict=True):
            if a is None and b is None:
                folded.append(None)
                continue
            a, b = zero if a is None else a, zero if b is None else b
            high = [k + half for k in low]
            folded.append(builder.fadd(_shuffle(builder, a, b, low), _shuffle(builder, a, b, high), flags=CONTRACT))
        vectors, width = folded, half
    return vectors[0]


class _Flat:
    """An array argument of an intrinsic, seen as its flat memory."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: types.Array, value: ir.Value) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder, self.data = builder, array.data
        self.width = builder.extract_value(array.shape, kind.ndim - 1)

    def at(self, offset: ir.Value, element: ir.Type = FLOAT) -> ir.Value:
        return self.builder.gep(self.data, [offset], source_etype=element)

    def number(self, offset: ir.Value, element: ir.Type = FLOAT) -> ir.Value:
        return self.builder.load(self.at(offset, element), typ=element)

    def vector(self, offset: ir.Value) -> ir.Value:
        return self.builder.load(self.at(offset), align=4, typ=VECTOR)

    def put(self, value: ir.Value, offset: ir.Value) -> None:
        self.builder.store(value, self.builder.bitcast(self.at(offset), ir.PointerType(value.type)), align=4)


def _plus(builder: ir.IRBuilder, a: ir.Value, k: int) -> ir.Value:
    return builder.add(a, ir.Constant(INDEX, k))


def _score_tile(n_inputs: int) -> Any:
    """Scores of `n_inputs` (1 or 2) input rows with TILE output rows."""

    @intrinsic
    def score_tile(
        typing: Any, inputs: Any, rows: Any, i: Any, outputs: Any, cols: Any, j: Any, out: Any, k: Any, stride: Any
    ) -> Any:
        """out[k + stride·a + b] = inputs[rows[i + a]] · outputs[cols[j + b]] for a < n_inputs, b < TILE; then zeros."""

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            array = [_Flat(context, builder, signature.args[a], args[a]) for a in (0, 1, 3, 4, 6)]
            table_in, row, table_out, col, target = array
            starts = [row.number(_plus(builder, args[2], a), INDEX) for a in range(n_inputs)]
            ends = [col.number(_plus(builder, args[5], b), INDEX) for b in range(TILE)]
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(n_inputs * TILE)]
            step = ir.Constant(INDEX, LANES)
            with cgutils.for_range_slice(builder, ir.Constant(INDEX, 0), table_in.width, step, INDEX) as (at, _):
                left = [table_in.vector(builder.add(start, at)) for start in starts]
                for b, end in enumerate(ends):
                    right = table_out.vector(builder.add(end, at))
                    for a in range(n_inputs):
                        total = sums[a * TILE + b]
                        value = _fma(builder, left[a], right, builder.load(total, typ=VECTOR))
                        builder.store(value, total)
            empty: list[ir.Value | None] = [None] * (SLOTS - TILE)
            slots: list[ir.Value | None] = []
            for a in range(2):
                held = [builder.load(s, typ=VECTOR) for s in sums[a * TILE : (a + 1) * TILE]]
                slots += [*held, *empty] if held else [None] * SLOTS
            scores = _totals(builder, slots)
            for a in range(n_inputs):
                lanes = list(range(a * SLOTS, (a + 1) * SLOTS))
                offset = builder.add(args[7], builder.mul(args[8], ir.Constant(INDEX, a)))
                target.put(_shuffle(builder, scores, scores, lanes), offset)
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(inputs, rows, i64, outputs, cols, i64, out, i64, i64), codegen

    return score_tile


score_tile_1, score_tile_2 = _score_tile(1), _score_tile(2)


@intrinsic
def update_tile(
    typing: Any,
    inputs: Any,
    rows: Any,
    m: Any,
    outputs: Any,
    cols: Any,
    j: Any,
    grads: Any,
    k: Any,
    stride: Any,
    sink: Any,
    to: Any,
) -> Any:
    """With g_ib = grads[k + stride·i + b]: sink[to[i]] += Σ_b g_ib o_b and o_b += Σ_i g_ib c_i, for i < m, b < TILE.

    o_b is outputs[cols[j + b]] and c_i is inputs[rows[i]]. A c_i that is its own sink must occur once in the block; an
    o_b may occur more than once, for it is added to and not overwritten.
    """

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        array = [_Flat(context, builder, signature.args[a], args[a]) for a in (0, 1, 3, 4, 6, 9, 10)]
        table_in, row, table_out, col, grad, target, place = array
        ends = [col.number(_plus(builder, args[5], b), INDEX) for b in range(TILE)]
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        sums = [cgutils.alloca_once(builder, VECTOR) for _ in range(TILE)]
        step = ir.Constant(INDEX, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(INDEX, 0), table_in.width, step, INDEX) as (at, _):
            right = [table_out.vector(builder.add(end, at)) for end in ends]
            for total in sums:
                builder.store(zero, total)
            with cgutils.for_range(builder, args[2], intp=INDEX) as loop:
                left = table_in.vector(builder.add(row.number(loop.index, INDEX), at))
                goal = builder.add(place.number(loop.index, INDEX), at)
                moved = target.vector(goal)
                line = builder.add(args[7], builder.mul(loop.index, args[8]))
                for b in range(TILE):
                    g = grad.number(_plus(builder, line, b))
                    lane = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), g, ir.Constant(ir.IntType(32), 0))
                    spread = _shuffle(builder, lane, lane, [0] * LANES)
                    moved = _fma(builder, spread, right[b], moved)
                    total = sums[b]
                    builder.store(_fma(builder, spread, left, builder.load(total, typ=VECTOR)), total)
                target.put(moved, goal)
            for end, total in zip(ends, sums, strict=True):
                goal = builder.add(end, at)
                now = builder.fadd(table_out.vector(goal), builder.load(total, typ=VECTOR))
                table_out.put(now, goal)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(inputs, rows, i64, outputs, cols, i64, grads, i64, i64, sink, to), codegen


@intrinsic
def prefetch(typing: Any, table: Any, offset: Any) -> Any:
    """Ask the processor to bring the row at `offset` of `table` near, without waiting for it."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        rows = _Flat(context, builder, signature.args[0], args[0])
        kinds = [ir.PointerType(), ir.IntType(32), ir.IntType(32), ir.IntType(32)]
        fetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), kinds), "llvm.prefetch.p0"
        )
        to_write, near, data = (ir.Constant(ir.IntType(32), k) for k in (0, 3, 1))
        step = ir.Constant(INDEX, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(INDEX, 0), rows.width, step, INDEX) as (at, _):
            builder.call(fetch, [rows.at(builder.add(args[1], at)), to_write, near, data])
        return context.get_dummy_value()

    return types.void(table, types.int64), codegen


COMPILED = {"nogil": True, "cache": True, "fastmath": True, "error_model": "numpy"}
engine = njit(**COMPILED)  # a loop over a slice of the corpus
part = njit(**COMPILED, forceinline=True)  # what such a loop calls: inlined, or each call would count array references


@part
def logistic(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, n: int, lr: float) -> float:
    """Turn the first n scores s into lr·w·(y − σ(s)), in place; returns Σ w·[log(1 + eˢ) − y·s].

    With t = exp(−|s|): σ(|s|) = 1/(1 + t) and log(1 + eˢ) = max(s, 0) + log(1 + t), to float32 accuracy for every s.
    """
    one, rate, loss = np.float32(1), np.float32(lr), np.float32(0)
    for i in range(n):
        s = scores[i]
        size = min(abs(s), np.float32(80))
        # t = 2^−k · e^−r with k whole and |r| ≤ ln 2 / 2, where six terms of the series are exact to float32
        k = np.floor(size * np.float32(1.4426950408889634) + np.float32(0.5))
        r = k * np.float32(0.6931471805599453) - size
        series = np.float32(1 / 120) + r * np.float32(1 / 720)
        series = one + r * (
            one + r * (np.float32(1 / 2) + r * (np.float32(1 / 6) + r * (np.float32(1 / 24) + r * series)))
        )
        t = series * np.int32((np.int32(127) - np.int32(k)) << np.int32(23)).view(np.float32)
        inverse = one / (one + t)
        sigma = inverse if s >= 0 else t * inverse
        # log(1 + t) = 2 artanh(u) with u = t / (2 + t) ≤ 1/3
        u = t / (np.float32(2) + t)
        v = u * u
        log = np.float32(1 / 7) + v * (np.float32(1 / 9) + v * np.float32(1 / 11))
        log = np.float32(2) * u * (one + v * (np.float32(1 / 3) + v * (np.float32(1 / 5) + v * log)))
        loss += weights[i] * (max(s, np.float32(0)) + log - labels[i] * s)
        scores[i] = rate * weights[i] * (labels[i] - sigma)
    return loss


class Block(NamedTuple):
    """Room for one block, filled by the objective: m input rows, n output rows.

    rows (m,), cols (n,): offsets of the rows in their tables; labels, weights: y and w of input i and output j at
    i·stride(n) + column(j); delta (m, padded d): where `push` leaves what the inputs have to move by.
    """

    rows: np.ndarray  # (most inputs,) int64
    cols: np.ndarray  # (most outputs, up to a whole tile) int64
    scores: np.ndarray  # (most inputs · stride,) float32, like the next two
    labels: np.ndarray
    weights: np.ndarray
    delta: np.ndarray  # (most inputs, padded d) float32
    places: np.ndarray  # (most inputs,) int64: offsets of the rows of delta


@part
def stride(n: int) -> int:
    """Columns of a score matrix for n outputs."""
    return (n + TILE - 1) // TILE * SLOTS


@part
def column(j: int) -> int:
    """Where output j stands in a row of the score matrix."""
    return j // TILE * SLOTS + j % TILE


@part
def block(m: int, n: int, width: int) -> Block:
    """Room for at most m inputs and n outputs of `width` numbers (a multiple of LANES), all weights 0."""
    size = m * stride(n)
    return Block(
        np.zeros(m, np.int64),
        np.zeros(stride(n) // SLOTS * TILE, np.int64),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros((m, width), np.float32),
        np.arange(m) * width,
    )


@part
def _gradients(b: Block, m: int, n: int, inputs: np.ndarray, outputs: np.ndarray, lr: float) -> float:
    """Scores, then g in their place; returns the loss."""
    wide = stride(n)
    for j in range(n, wide // SLOTS * TILE):
        b.cols[j] = b.cols[0]  # filling up a tile: weight 0, and a row that is touched anyway
    for tile in range(wide // SLOTS):
        i = 0
        while i + 1 < m:
            score_tile_2(inputs, b.rows, i, outputs, b.cols, tile * TILE, b.scores, i * wide + tile * SLOTS, wide)
            i += 2
        if i < m:
            score_tile_1(inputs, b.rows, i, outputs, b.cols, tile * TILE, b.scores, i * wide + tile * SLOTS, wide)
    return logistic(b.scores, b.labels, b.weights, m * wide, lr)


@part
def step(b: Block, m: int, n: int, inputs: np.ndarray, outputs: np.ndarray, lr: float, repeats: bool) -> float:
    """Move inputs and outputs by one gradient step; returns the loss. `repeats`: a row may be in b.rows twice."""
    if n > TILE or repeats:
        loss = push(b, m, n, inputs, outputs, lr)
        width = inputs.shape[1]
        for i in range(m):
            row = b.rows[i] // width
            for at in range(width):
                inputs[row, at] += b.delta[i, at]
        return loss
    loss = _gradients(b, m, n, inputs, outputs, lr)
    update_tile(inputs, b.rows, m, outputs, b.cols, 0, b.scores, 0, stride(n), inputs, b.rows)
    return loss


@engine
def push(b: Block, m: int, n: int, inputs: np.ndarray, outputs: np.ndarray, lr: float) -> float:
    """Move the outputs and leave in b.delta what the inputs should move by; returns the loss of the block."""
    loss = _gradients(b, m, n, inputs, outputs, lr)
    b.delta[:m] = 0
    for tile in range(stride(n) // SLOTS):
        update_tile(
            inputs, b.rows, m, outputs, b.cols, tile * TILE, b.scores, tile * SLOTS, stride(n), b.delta, b.places
        )
    return loss
