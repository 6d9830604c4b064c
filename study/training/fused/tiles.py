"""The inner loops of every matrix product, written as LLVM vectors, with one order of additions per output element.

A tile is a few rows × a few vectors of outputs, held in registers while the summed index runs. Lanes run over outputs,
never over the summed index, and every step is one fused multiply-add per element. So no bit depends on the shape of the
tile, on the vector length of the CPU (LLVM splits 16 lanes into the vectors of the CPU), or on the blocks in which the
summed index runs.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.core import codegen as numba_codegen
from numba.extending import intrinsic

from study.training.fused.layout import LANES

# Where another CPU is named, Numba compiles for it, and assumes no feature that is not listed.
_named = config.CPU_NAME not in (None, "", "host")
_features = config.CPU_FEATURES if config.CPU_FEATURES or _named else numba_codegen.get_host_cpu_features()
WIDE = "+avx512f" in (_features or "")
# A tile must fit into the registers: with AVX-512, 8 × 3 of 32; without it, 6 × 1 in halves, so 12 of 16.
ROWS, COLUMNS = (8, 3) if WIDE else (6, 1)
STRIP = 8 if WIDE else 4  # the number of vectors of a row that are summed together
INT64, INT32 = ir.IntType(64), ir.IntType(32)


@intrinsic
def address(typing: Any, array: Any, offset: Any) -> Any:
    """The pointer to element `offset` of a flat array, or to the element `offset` places after a pointer."""
    if not (isinstance(array, (types.Array, types.CPointer)) and isinstance(offset, types.Integer)):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, base = signature.args[0], args[0]
        if isinstance(kind, types.Array):
            base = context.make_array(kind)(context, builder, base).data
        return builder.gep(base, [args[1]])

    return types.CPointer(array.dtype)(array, types.int64), codegen


def _vector(pointer: Any) -> Any:
    """The type of a vector of LANES elements to which `pointer` points, and the bytes of one element."""
    element = pointer.type.pointee
    return ir.VectorType(element, LANES), 8 if isinstance(element, ir.DoubleType) else 4


def _load(builder: Any, pointer: Any, vector: Any, align: int) -> Any:
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=align)


def _store(builder: Any, value: Any, pointer: Any, align: int) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=align)


def _broadcast(builder: Any, value: Any, vector: Any) -> Any:
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(INT32, 0))
    lanes = ir.Constant(ir.VectorType(INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), lanes)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """The sum a·b + c per lane, rounded once."""
    vector = a.type
    name = f"llvm.fma.v{LANES}f{64 if isinstance(vector.element, ir.DoubleType) else 32}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    return builder.call(function, [a, b, c])


def _emit_tile(builder: Any, rows: int, columns: int, args: Any, done: Any) -> None:
    """Emit code for out (rows, columns · LANES) = start + a @ b, or out += scale · (start + a @ b).

    All sums stay in registers.
    """
    a, a_row, a_step, b, b_step, count, start, start_row, out, out_row, update, scale = args
    vector, align = _vector(b)

    def at(pointer: Any, row: Any, r: int, c: int) -> Any:
        return builder.gep(pointer, [builder.add(builder.mul(row, INT64(r)), INT64(c * LANES))])

    cells = [(r, c) for r in range(rows) for c in range(columns)]
    first = [_load(builder, at(start, start_row, r, c), vector, align) for r, c in cells]
    entry = builder.block
    head, body, tail = (builder.append_basic_block(f"{name}{rows}x{columns}") for name in ("head", "body", "tail"))
    builder.branch(head)

    builder.position_at_end(head)
    k = builder.phi(INT64)
    left, right = builder.phi(a.type), builder.phi(b.type)
    sums = [builder.phi(vector) for _ in cells]
    for phi, value in zip([k, left, right, *sums], [INT64(0), a, b, *first], strict=True):
        phi.add_incoming(value, entry)
    builder.cbranch(builder.icmp_signed("<", k, count), body, tail)

    builder.position_at_end(body)
    loads = [_load(builder, builder.gep(right, [INT64(c * LANES)]), vector, align) for c in range(columns)]
    following = []
    for r in range(rows):
        value = builder.load(builder.gep(left, [builder.mul(a_row, INT64(r))]), align=align)
        factor = _broadcast(builder, value, vector)
        following += [_fma(builder, factor, loads[c], sums[r * columns + c]) for c in range(columns)]
    steps = [builder.add(k, INT64(1)), builder.gep(left, [a_step]), builder.gep(right, [b_step])]
    for phi, value in zip([k, left, right, *sums], [*steps, *following], strict=True):
        phi.add_incoming(value, body)
    builder.branch(head)

    builder.position_at_end(tail)
    with builder.if_else(update) as (then, otherwise):
        with then:
            rate = _broadcast(builder, builder.load(scale, align=align), vector)
            for (r, c), total in zip(cells, sums, strict=True):
                place = at(out, out_row, r, c)
                _store(builder, _fma(builder, rate, total, _load(builder, place, vector, align)), place, align)
        with otherwise:
            for (r, c), total in zip(cells, sums, strict=True):
                _store(builder, total, at(out, out_row, r, c), align)
    builder.branch(done)


@intrinsic
def _tile(
    typing: Any,
    rows: Any,
    columns: Any,
    a: Any,
    a_row: Any,
    a_step: Any,
    b: Any,
    b_step: Any,
    count: Any,
    start: Any,
    start_row: Any,
    out: Any,
    out_row: Any,
    update: Any,
    scale: Any,
) -> Any:
    """The code of `tile`: a switch over the shapes of a tile, each of which has a loop of its own."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, columns, *rest = args
        done = builder.append_basic_block("done")
        shape = builder.add(builder.mul(rows, INT64(COLUMNS + 1)), columns)
        choice = builder.switch(shape, done)
        for r in range(1, ROWS + 1):
            for c in range(1, COLUMNS + 1):
                block = builder.append_basic_block(f"tile{r}x{c}")
                choice.add_case(INT64(r * (COLUMNS + 1) + c), block)
                builder.position_at_end(block)
                _emit_tile(builder, r, c, rest, done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.int64
    return types.none(n, n, a, n, n, b, n, n, start, n, out, n, types.boolean, scale), codegen


@njit
def tile(
    rows: int,
    columns: int,
    a: Any,
    a_row: int,
    a_step: int,
    b: Any,
    b_step: int,
    count: int,
    start: Any,
    start_row: int,
    out: Any,
    out_row: int,
    update: bool,
    scale: Any,
) -> None:
    """Write out (rows, columns · LANES) = start + a @ b, or for an update out += scale · (start + a @ b).

    Every matrix is a pointer and the distance from row to row. `a_step` and `b_step` lead to the next summed index, so
    that a transposed `a` is read without a copy. `scale` points to one number. The sums run in the order of the index,
    with one fused multiply-add per term.
    """
    _tile(rows, columns, a, a_row, a_step, b, b_step, count, start, start_row, out, out_row, update, scale)


def _emit_sum(builder: Any, columns: int, args: Any, done: Any) -> None:
    """Emit code for out (columns · LANES) = start + Σ over places of rows of `table`, with all sums in registers."""
    table, table_row, places, count, start, out = args
    vector, align = _vector(table)
    first = [_load(builder, builder.gep(start, [INT64(c * LANES)]), vector, align) for c in range(columns)]
    entry = builder.block
    head, body, tail = (builder.append_basic_block(f"{name}{columns}") for name in ("head", "body", "tail"))
    builder.branch(head)

    builder.position_at_end(head)
    k = builder.phi(INT64)
    sums = [builder.phi(vector) for _ in first]
    for phi, value in zip([k, *sums], [INT64(0), *first], strict=True):
        phi.add_incoming(value, entry)
    builder.cbranch(builder.icmp_signed("<", k, count), body, tail)

    builder.position_at_end(body)
    place = builder.load(builder.gep(places, [k]))
    row = builder.gep(table, [builder.mul(place, table_row)])
    terms = [_load(builder, builder.gep(row, [INT64(c * LANES)]), vector, align) for c in range(columns)]
    following = [builder.fadd(total, term) for total, term in zip(sums, terms, strict=True)]
    for phi, value in zip([k, *sums], [builder.add(k, INT64(1)), *following], strict=True):
        phi.add_incoming(value, body)
    builder.branch(head)

    builder.position_at_end(tail)
    for c, total in enumerate(sums):
        _store(builder, total, builder.gep(out, [INT64(c * LANES)]), align)
    builder.branch(done)


@intrinsic
def _sum_rows(
    typing: Any, columns: Any, table: Any, table_row: Any, places: Any, count: Any, start: Any, out: Any
) -> Any:
    """The code of `sum_rows`: a switch over the number of vectors."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        columns, *rest = args
        done = builder.append_basic_block("done")
        choice = builder.switch(columns, done)
        for c in range(1, STRIP + 1):
            block = builder.append_basic_block(f"sum{c}")
            choice.add_case(INT64(c), block)
            builder.position_at_end(block)
            _emit_sum(builder, c, rest, done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    n = types.int64
    return types.none(n, table, n, places, n, start, out), codegen


@njit
def sum_rows(columns: int, table: Any, table_row: int, places: Any, count: int, start: Any, out: Any) -> None:
    """Write out (columns · LANES) = start + Σₖ table[places[k]] for k < count, in the order of k. places are int64."""
    _sum_rows(columns, table, table_row, places, count, start, out)


@intrinsic
def _transpose(typing: Any, source: Any, source_row: Any, rows: Any, empty: Any, out: Any, out_row: Any) -> Any:
    """The code of `transpose`: log2(LANES) rounds, in which pairs of vectors exchange halves, quarters, and so on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, source_row, rows, empty, out, out_row = args
        vector, align = _vector(source)
        block = []
        for r in range(LANES):
            inside = builder.icmp_signed("<", INT64(r), rows)
            place = builder.select(inside, builder.gep(source, [builder.mul(source_row, INT64(r))]), empty)
            block.append(_load(builder, place, vector, align))
        half = LANES // 2
        while half:
            swapped = list(block)
            lanes = range(LANES)
            low = [lane if not lane & half else LANES + lane - half for lane in lanes]
            high = [lane + half if not lane & half else LANES + lane for lane in lanes]
            for r in (r for r in range(LANES) if not r & half):
                for to, mask in ((r, low), (r + half, high)):
                    indices = ir.Constant(ir.VectorType(INT32, LANES), mask)
                    swapped[to] = builder.shuffle_vector(block[r], block[r + half], indices)
            block, half = swapped, half // 2
        for r, value in enumerate(block):
            _store(builder, value, builder.gep(out, [builder.mul(out_row, INT64(r))]), align)
        return context.get_dummy_value()

    n = types.int64
    return types.none(source, n, n, empty, out, n), codegen


@njit
def transpose(source: Any, source_row: int, rows: int, empty: Any, out: Any, out_row: int) -> None:
    """Write out (LANES, LANES) = the transpose of source (rows, LANES), whose missing rows are read as `empty`."""
    _transpose(source, source_row, rows, empty, out, out_row)


def _lanewise(combine: Any) -> Any:
    """The code of out (LANES) = combine(builder, out, source, scale), where `scale` is broadcast from one number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, out, scale = args
        vector, align = _vector(source)
        rate = _broadcast(builder, builder.load(scale, align=align), vector)
        terms = [_load(builder, pointer, vector, align) for pointer in (out, source)]
        _store(builder, combine(builder, *terms, rate), out, align)
        return context.get_dummy_value()

    return codegen


@intrinsic
def _move(typing: Any, source: Any, out: Any, scale: Any) -> Any:
    return types.none(source, out, scale), _lanewise(lambda builder, out, source, scale: source)


@intrinsic
def _add(typing: Any, source: Any, out: Any, scale: Any) -> Any:
    return types.none(source, out, scale), _lanewise(lambda builder, out, source, scale: builder.fadd(out, source))


@intrinsic
def _step(typing: Any, source: Any, out: Any, scale: Any) -> Any:
    return types.none(source, out, scale), _lanewise(
        lambda builder, out, source, scale: _fma(builder, scale, source, out)
    )


@njit
def move(source: Any, out: Any, width: int) -> None:
    """Copy source (width) to out (width), in whole vectors."""
    for i in range(0, width, LANES):
        _move(address(source, i), address(out, i), source)


@njit
def add(source: Any, out: Any, width: int) -> None:
    """Add source (width) to out (width), in whole vectors."""
    for i in range(0, width, LANES):
        _add(address(source, i), address(out, i), source)


@njit
def step(scale: Any, source: Any, out: Any, width: int) -> None:
    """Add scale · source (width) to out (width), in whole vectors, with one fused multiply-add per term."""
    for i in range(0, width, LANES):
        _step(address(source, i), address(out, i), scale)
