"""Registers of eight words for Numba: a type and six functions, written in LLVM's language.

On a processor with narrower registers LLVM takes two or four of them for one of these.
"""

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import models, register_model

intrinsic: Any = extending.intrinsic  # for a type checker: what it makes takes no typing context when it is called

_WORD, _INT, _COUNT = ir.IntType(64), ir.IntType(32), 8
_EIGHT = ir.VectorType(_WORD, _COUNT)


class Lanes(types.Type):
    """Numba's name for eight words in a register."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """Says to Numba that such a value is one of LLVM's vectors."""

    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, _EIGHT)


lanes = Lanes()


@intrinsic
def nothing(typing: Any) -> Any:
    """Eight zeros."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_EIGHT, [0] * _COUNT)

    return lanes(), emit


@intrinsic
def eight(typing: Any, words: Any, start: Any) -> Any:
    """Eight neighbouring words of an array that begin at a multiple of 64 bytes."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        loaded = builder.load(builder.bitcast(place, _EIGHT.as_pointer()))
        loaded.align = 64
        return loaded

    return lanes(words, types.intp), emit


@intrinsic
def spread(typing: Any, words: Any, place: Any) -> Any:
    """One word of an array, eight times."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, builder.load(_place(context, builder, signature, arguments)))

    return lanes(words, types.intp), emit


@intrinsic
def add_differences(typing: Any, sums: Any, a: Any, b: Any) -> Any:
    """Add to eight sums in how many bits eight words differ: three instructions for 512 products of signs."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, a, b = arguments
        count = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_EIGHT, [_EIGHT]), "llvm.ctpop.v8i64")
        return builder.add(sums, builder.call(count, [builder.xor(a, b)]))

    return lanes(lanes, lanes, lanes), emit


@intrinsic
def write(typing: Any, result: Any, start: Any, numbers: Any, differences: Any) -> Any:
    """Write n − 2·d for eight numbers d of differences into an array of int32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, numbers, differences = arguments
        products = builder.sub(_spread(builder, numbers), builder.add(differences, differences))
        narrow = ir.VectorType(_INT, _COUNT)
        place = builder.bitcast(_place(context, builder, signature, arguments), narrow.as_pointer())
        stored = builder.store(builder.trunc(products, narrow), place)
        stored.align = 4
        return context.get_dummy_value()

    return types.void(result, types.intp, types.int64, lanes), emit


@intrinsic
def signs(typing: Any, values: Any, start: Any) -> Any:
    """Eight neighbouring numbers of an array of float32 as a byte: a bit is 1 where its number is at least 0."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        floats = ir.VectorType(ir.FloatType(), _COUNT)
        place = builder.bitcast(_place(context, builder, signature, arguments), floats.as_pointer())
        loaded = builder.load(place)
        loaded.align = 4
        return builder.bitcast(builder.fcmp_ordered(">=", loaded, ir.Constant(floats, [0.0] * _COUNT)), ir.IntType(8))

    return types.uint8(values, types.intp), emit


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Address of an element of the array that is the first argument, counted as if it were flat; not checked."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


def _spread(builder: Any, word: Any) -> Any:
    first = builder.insert_element(ir.Constant(_EIGHT, ir.Undefined), word, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, ir.Constant(_EIGHT, ir.Undefined),
                                  ir.Constant(ir.VectorType(_INT, _COUNT), [0] * _COUNT))  # fmt: skip
