"""Processor operations that Numba does not offer: comparison of 64 bytes at once, unaligned words."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64, _I8 = ir.IntType(64), ir.IntType(8)
WIDTH = 64
"""The number of bytes compared together; each has one bit in a mask."""


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at])


def _bytes_at(builder: Any, pointer: Any) -> Any:
    loaded = builder.load(builder.bitcast(pointer, ir.VectorType(_I8, WIDTH).as_pointer()))
    loaded.align = 1
    return loaded


def _all(value: int) -> Any:
    return ir.Constant(ir.VectorType(_I8, WIDTH), [value] * WIDTH)


@intrinsic
def word_at(_: Any, array: Any, __: Any) -> Any:
    """Eight bytes of a uint8 array from any place on, as a little-endian number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        loaded = builder.load(builder.bitcast(pointer, _I64.as_pointer()))
        loaded.align = 1
        return loaded

    return types.uint64(array, types.intp), generate


@intrinsic
def masks_at(_: Any, array: Any, __: Any) -> Any:
    """Bit masks of the 64 bytes from a place on: newline, delimiter, '@', '.', '-', '_' or '+', digit, letter."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _bytes_at(builder, _pointer(context, builder, signature.args[0], *arguments))

        def equal(character: str) -> Any:
            return builder.icmp_unsigned("==", found, _all(ord(character)))

        def any_of(characters: str) -> Any:
            mask = equal(characters[0])
            for character in characters[1:]:
                mask = builder.or_(mask, equal(character))
            return mask

        def between(value: Any, first: str, count: int) -> Any:
            return builder.icmp_unsigned("<", builder.sub(value, _all(ord(first))), _all(count))

        newline = equal("\n")
        masks = [
            newline,
            builder.or_(newline, any_of(":;,|\t ")),
            equal("@"),
            equal("."),
            equal("-"),
            any_of("_+"),
            between(found, "0", 10),
            between(builder.or_(found, _all(0x20)), "a", 26),
        ]
        bits = [builder.bitcast(mask, _I64) for mask in masks]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 8)(array, types.intp), generate


@intrinsic
def hex_masks_at(_: Any, array: Any, __: Any) -> Any:
    """Bit masks of the 64 bytes from a place on: newline, base64 character, lower-case and upper-case hex digit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _bytes_at(builder, _pointer(context, builder, signature.args[0], *arguments))

        def between(value: Any, first: str, count: int) -> Any:
            return builder.icmp_unsigned("<", builder.sub(value, _all(ord(first))), _all(count))

        digit = between(found, "0", 10)
        letter = between(builder.or_(found, _all(0x20)), "a", 26)
        extra = builder.or_(*(builder.icmp_unsigned("==", found, _all(ord(one))) for one in "+/"))
        masks = [
            builder.icmp_unsigned("==", found, _all(ord("\n"))),
            builder.or_(builder.or_(digit, letter), extra),
            builder.or_(digit, between(found, "a", 6)),
            builder.or_(digit, between(found, "A", 6)),
        ]
        bits = [builder.bitcast(mask, _I64) for mask in masks]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 4)(array, types.intp), generate


@intrinsic
def newlines_at(_: Any, array: Any, __: Any) -> Any:
    """A bit mask of the newlines among the 64 bytes from a place on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _bytes_at(builder, _pointer(context, builder, signature.args[0], *arguments))
        return builder.bitcast(builder.icmp_unsigned("==", found, _all(ord("\n"))), _I64)

    return types.uint64(array, types.intp), generate


def _spread(builder: Any, value: Any) -> Any:
    """A vector with one byte in all 64 lanes."""
    vector = ir.VectorType(_I8, WIDTH)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), order)


@intrinsic
def equal_at(_: Any, array: Any, __: Any, ___: Any) -> Any:
    """A bit mask of the 64 bytes from a place on that equal a byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _bytes_at(builder, _pointer(context, builder, signature.args[0], *arguments[:2]))
        return builder.bitcast(builder.icmp_unsigned("==", found, _spread(builder, arguments[2])), _I64)

    return types.uint64(array, types.intp, types.uint8), generate


@intrinsic
def between_at(_: Any, array: Any, __: Any, ___: Any, ____: Any) -> Any:
    """A bit mask of the 64 bytes from a place on whose value is one of the `count` values from `first` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _bytes_at(builder, _pointer(context, builder, signature.args[0], *arguments[:2]))
        above = builder.sub(found, _spread(builder, arguments[2]))
        return builder.bitcast(builder.icmp_unsigned("<", above, _spread(builder, arguments[3])), _I64)

    return types.uint64(array, types.intp, types.uint8, types.uint8), generate


@intrinsic
def lowest_bit(_: Any, value: Any) -> Any:
    """The place of the lowest set bit; 64 when no bit is set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(value), generate


@intrinsic
def bits_set(_: Any, value: Any) -> Any:
    """The number of bits that are set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(value), generate


@intrinsic
def zeros_above(_: Any, value: Any) -> Any:
    """The number of zero bits above the highest set bit; 64 when no bit is set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(value), generate
