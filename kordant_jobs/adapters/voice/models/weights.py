"""Reads the tensors of a PyTorch checkpoint without PyTorch and without executing its pickle.

A checkpoint is a zip: `data.pkl` names each tensor with its storage, shape and strides; `data/<key>` holds the bytes.
The opcodes are read by `pickletools` and interpreted here, but only those that a state dict needs; every other opcode
is an error.
"""

import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kordant_jobs.errors import PermanentError

Tensors = dict[str, NDArray[Any]]
_DTYPES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
_REBUILD, _DICT = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_VALUES = frozenset({"BININT", "BININT1", "BININT2", "BINUNICODE", "GLOBAL"})


@dataclass(frozen=True)
class _Storage:
    """A tensor's storage in the archive: its type, and the name of its file."""

    dtype: np.dtype[Any]
    key: str


class _Mark:
    """The mark on the stack at which a tuple or a group of items begins."""


def read_checkpoint(path: Path) -> Tensors:
    """The tensors of a state dict by name.

    Raises:
        PermanentError: the file is not a checkpoint, or its pickle has more than tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickle_name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            folder = pickle_name.removesuffix("data.pkl") + "data/"

            def tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
                flat = np.frombuffer(archive.read(folder + storage.key), storage.dtype)[offset:]
                steps = tuple(step * storage.dtype.itemsize for step in strides)
                needed = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
                if min((*shape, 1)) < 1 or needed > flat.size:
                    raise ValueError("a tensor is larger than its storage")
                return np.lib.stride_tricks.as_strided(flat, shape, steps).copy()

            found = _interpret(archive.read(pickle_name), tensor)
    except (KeyError, StopIteration, ValueError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise PermanentError(f"{path.name} is not a checkpoint of tensors: {error}.") from None
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


_MADE: dict[str, Callable[[], Any]] = {
    "NEWFALSE": bool,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
_TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack and memo of a pickle, with the effect of its opcodes."""

    def __init__(self, tensor: Callable[..., Any]) -> None:
        self.stack: list[Any] = []
        self._memo: dict[Any, Any] = {}
        self._tensor = tensor

    def step(self, name: str, argument: Any) -> None:
        """Interpret one opcode.

        Raises:
            ValueError: a state dict does not need this opcode.
        """
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self._taken(_TUPLES[name])))
        elif name in {"BINPUT", "LONG_BINPUT"}:
            self._memo[argument] = self.stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            self.stack.append(self._memo[argument])
        elif name == "BINPERSID":
            _, kind, key, _, _ = self.stack.pop()
            self.stack.append(_Storage(_DTYPES[kind], key))
        elif name == "REDUCE":
            called, arguments = self._taken(2)
            self.stack.append(self._call(called, arguments))
        elif name in {"SETITEMS", "SETITEM"}:
            items = self._taken(None if name == "SETITEMS" else 2)
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "BUILD":
            self.stack.pop()  # attributes of the dict, which PyTorch writes and is not needed
        elif name not in {"PROTO", "STOP"}:
            raise ValueError(f"it has the opcode {name}")

    def _taken(self, count: int | None) -> list[Any]:
        """The last values, `count` of them or down to the mark."""
        begin = len(self.stack) - (count or 0)
        if count is None:
            begin = max(place for place, value in enumerate(self.stack) if isinstance(value, _Mark))
            self.stack.pop(begin)
        taken = self.stack[begin:]
        del self.stack[begin:]
        return taken

    def _call(self, called: str, arguments: tuple[Any, ...]) -> Any:
        if called == _REBUILD:
            return self._tensor(*arguments[:4])
        if called == _DICT:
            return {}
        raise ValueError(f"it calls {called}")


def _interpret(program: bytes, tensor: Callable[..., Any]) -> dict[str, Any]:
    machine = _Machine(tensor)
    for opcode, argument, _ in pickletools.genops(program):
        machine.step(opcode.name, argument)
    return dict(machine.stack[-1])
