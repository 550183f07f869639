"""Arithmetic on rows of float32 tables in vector registers, for the loops of the engine.

numba compiles loops, but does not keep the tiles of a small matrix product in registers. These functions write LLVM's
vector instructions instead, LANES numbers wide, which LLVM lowers to what the processor has. A row is padded with zeros
to a multiple of LANES numbers, and is named by its offset in the flat table (row · padded width).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
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


def _spread(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """A vector of one number."""
    lane = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, lane, lane, [0] * LANES)


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


@contextmanager
def _chunks(builder: ir.IRBuilder, table: _Flat) -> Iterator[ir.Value]:
    """A loop over the vectors of a row: the offset of each in it."""
    first, step = ir.Constant(INDEX, 0), ir.Constant(INDEX, LANES)
    with cgutils.for_range_slice(builder, first, table.width, step, INDEX) as (at, _):
        yield at


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
            with _chunks(builder, table_in) as at:
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


def _update_tile(move_inputs: bool, move_outputs: bool) -> Any:
    """One half of a step or both."""

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
        """With g_ib = grads[k + stride·i + b]: sink[to[i]] += Σ_b g_ib o_b and o_b += Σ_i g_ib c_i; i < m, b < TILE.

        o_b is outputs[cols[j + b]] and c_i is inputs[rows[i]]. A c_i that is its own sink must occur once in the block;
        an o_b may occur more than once in the tile, for it is added to and not overwritten.
        """

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            array = [_Flat(context, builder, signature.args[a], args[a]) for a in (0, 1, 3, 4, 6, 9, 10)]
            table_in, row, table_out, col, grad, target, place = array
            ends = [col.number(_plus(builder, args[5], b), INDEX) for b in range(TILE)]
            sums, zero = [cgutils.alloca_once(builder, VECTOR) for _ in range(TILE)], ir.Constant(VECTOR, [0.0] * LANES)
            with _chunks(builder, table_in) as at:
                right = [table_out.vector(builder.add(end, at)) for end in ends]
                for total in sums:
                    builder.store(zero, total)
                with cgutils.for_range(builder, args[2], intp=INDEX) as loop:
                    left = table_in.vector(builder.add(row.number(loop.index, INDEX), at))
                    goal = builder.add(place.number(loop.index, INDEX), at)
                    moved = target.vector(goal)
                    line = builder.add(args[7], builder.mul(loop.index, args[8]))
                    for b in range(TILE):
                        spread = _spread(builder, grad.number(_plus(builder, line, b)))
                        moved = _fma(builder, spread, right[b], moved)
                        builder.store(_fma(builder, spread, left, builder.load(sums[b], typ=VECTOR)), sums[b])
                    if move_inputs:
                        target.put(moved, goal)
                for end, total in zip(ends, sums, strict=True) if move_outputs else ():
                    goal = builder.add(end, at)
                    table_out.put(builder.fadd(table_out.vector(goal), builder.load(total, typ=VECTOR)), goal)
            return context.get_dummy_value()

        i64 = types.int64
        return types.void(inputs, rows, i64, outputs, cols, i64, grads, i64, i64, sink, to), codegen

    return update_tile


# What is computed for the half that is not moved, LLVM leaves out.
update_tile, update_inputs, update_outputs = (
    _update_tile(True, True),
    _update_tile(True, False),
    _update_tile(False, True),
)


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
        with _chunks(builder, rows) as at:
            builder.call(fetch, [rows.at(builder.add(args[1], at)), to_write, near, data])
        return context.get_dummy_value()

    return types.void(table, types.int64), codegen


@intrinsic
def sum_rows(typing: Any, table: Any, rows: Any, n: Any, out: Any) -> Any:
    """out[0] = Σ_i table[rows[i]] for i < n."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        source, row, target = (_Flat(context, builder, signature.args[a], args[a]) for a in (0, 1, 3))
        total, zero = cgutils.alloca_once(builder, VECTOR), ir.Constant(VECTOR, [0.0] * LANES)
        with _chunks(builder, source) as at:
            builder.store(zero, total)
            with cgutils.for_range(builder, args[2], intp=INDEX) as loop:
                more = source.vector(builder.add(row.number(loop.index, INDEX), at))
                builder.store(builder.fadd(builder.load(total, typ=VECTOR), more), total)
            target.put(builder.load(total, typ=VECTOR), at)
        return context.get_dummy_value()

    return types.void(table, rows, types.int64, out), codegen


@intrinsic
def add_to_rows(typing: Any, table: Any, rows: Any, n: Any, delta: Any, factor: Any) -> Any:
    """table[rows[i]] += factor · delta[0] for i < n; a row that occurs twice moves twice."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        target, row, source = (_Flat(context, builder, signature.args[a], args[a]) for a in (0, 1, 3))
        spread = _spread(builder, args[4])
        with _chunks(builder, target) as at:
            moved = builder.fmul(source.vector(at), spread)
            with cgutils.for_range(builder, args[2], intp=INDEX) as loop:
                goal = builder.add(row.number(loop.index, INDEX), at)
                target.put(builder.fadd(target.vector(goal), moved), goal)
        return context.get_dummy_value()

    return types.void(table, rows, types.int64, delta, types.float32), codegen
