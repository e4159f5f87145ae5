"""An answer as plain data: what a function returned, taken apart into numbers, shapes, dtypes and text.

It may be a tensor, a NumPy array, a PIL picture, a number, a string, a module (then it is its state dict),
or tuples, lists and dicts of these. A group is flat: path -> part, where the path is what one would write
behind the answer to get there, `[0]`, `['scale']`, `.weight`, `[1]['mask']`.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1 << 24  # values of an answer that are worth reading; an expanded view can claim any number
LONGEST = 1 << 14  # characters of a text
PARTS = 256  # parts of a group
DEPTH = 4  # groups in groups

Leaf = Literal["tensor", "array", "image", "number", "text"]
Kind = Leaf | Literal["group", "object", "none", "unsolved", "error"]

# Taken before a student's cell runs, so that a patched torch.Tensor.numpy changes nothing here.
_size, _numel, _detach, _to, _numpy = (
    torch.Tensor.size,
    torch.Tensor.numel,
    torch.Tensor.detach,
    torch.Tensor.to,
    torch.Tensor.numpy,
)
_Tensor, _NoOverrides, _float64, _int64 = (
    torch.Tensor,
    torch._C.DisableTorchFunction,
    torch.float64,
    torch.int64,
)
_Module, _state_dict = torch.nn.Module, torch.nn.Module.state_dict
_ndarray, _generic, _asarray, _Picture = np.ndarray, np.generic, np.asarray, Image.Image


class Prose(str):
    """A reference's text that is shown beside the student's own words and never compared with them."""

    __slots__ = ()


@dataclass(frozen=True)
class Output:
    """What one call gave.

    kind: "tensor", "array" or "image" (then `shape`, `dtype` and, if not too large, `values`: float64 for
        floating-point answers, int64 for integers and booleans), "number" (0-d `values`; `dtype` is "int",
        "float" or "bool"), "text" (`about`), "group" (`parts`; `about` names the container), "object"
        (something else, named by `about`), "none", "unsolved" (the `...` of an exercise not begun), or
        "error" (`about` is the message, `line` the student's own last line that ran).
    dtype: "torch.float32" for tensors, "uint8" for arrays, the mode ("RGB") for images.
    """

    kind: Kind
    about: str = ""
    line: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    values: np.ndarray | None = None
    parts: Mapping[str, Output] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether it is an answer that can be compared, right or wrong."""
        return self.kind not in ("object", "none", "unsolved", "error")

    @property
    def leaves(self) -> dict[str, Output]:
        """path -> part; an answer that is no group is the one part at the path "" itself."""
        return dict(self.parts) if self.kind == "group" else {"": self}


def read(value: Any) -> Output:
    """Take an answer apart. Raises nothing, whatever the object does when it is looked at."""
    if value is None:
        return Output("none")
    if value is Ellipsis:
        return Output("unsolved")
    try:
        container = _container(value)
        if container is None:
            return _leaf(value)
        parts: dict[str, Output] = {}
        for path, part in _walk(value, ""):
            parts[path] = leaf = _leaf(part)
            if leaf.kind == "object":
                return Output("object", about=f"{container} with {leaf.about} at {path}")
            if len(parts) > PARTS:
                return Output("object", about=f"{container} of too many parts")
        if sum(part.values.size for part in parts.values() if part.values is not None) > LARGEST:
            return Output("object", about=f"{container} of too many values")
        return Output("group", about=container, parts=parts)
    except BaseException as error:
        return Output("object", about=f"{type_name(value)} that cannot be read ({message(error)})")


def type_name(value: Any) -> str:
    """`numpy.ndarray`, `int`, ...: the name of an object's type."""
    try:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        return f"{name}, a subclass of torch.Tensor" if issubclass(kind, _Tensor) else name
    except BaseException:
        return "object without a readable type"


def message(error: BaseException) -> str:
    """`ValueError: ...`: an error's last line, even if its own text raises."""
    try:
        return traceback.format_exception_only(type(error), error)[-1].strip()
    except BaseException:
        return type.__name__.__get__(type(error))  # type: ignore[attr-defined]


def _container(value: Any) -> str | None:
    if type(value) in (tuple, list, dict):
        return type(value).__name__
    if isinstance(value, tuple) and type(value).__iter__ is tuple.__iter__:  # a named tuple
        return "tuple"
    return type(value).__name__ if isinstance(value, _Module) else None


def _walk(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(path, part) for everything in a group that is no group itself."""
    if _container(value) is None:
        yield path, value
        return
    if depth == DEPTH:
        raise ValueError("too many groups inside each other")
    if isinstance(value, _Module):
        for name, part in _state_dict(value).items():
            yield f"{path}.{name}", part
    elif isinstance(value, dict):
        for name in sorted(value, key=str):
            yield from _walk(value[name], f"{path}[{name!r}]", depth + 1)
    else:
        for index, part in enumerate(value):
            yield from _walk(part, f"{path}[{index}]", depth + 1)


def _leaf(value: Any) -> Output:
    kind = type(value)  # a subclass can answer any question about itself as it likes
    if kind is _Tensor:
        return _tensor(value)
    if kind in (str, Prose):
        return Output("text", about=str(value)[:LONGEST], dtype="prose" if kind is Prose else "")
    if kind in (bool, int, float) or isinstance(value, _generic):
        return _number(value.item() if isinstance(value, _generic) else value)
    if isinstance(value, _Picture):
        return _array(_asarray(value), "image", value.mode)
    if kind is _ndarray:
        return _array(value, "array", str(value.dtype))
    return Output("object", about=type_name(value))


def _tensor(value: torch.Tensor) -> Output:
    try:
        with _NoOverrides():
            dtype = str(value.dtype)
            if _numel(value) > LARGEST:
                return Output("tensor", shape=tuple(_size(value)), dtype=dtype)
            if value.is_complex():
                return Output("object", about=f"tensor of {dtype}")
            # A copy: what the function keeps a view of can change later.
            exact = _float64 if value.is_floating_point() else _int64
            values = _numpy(_to(_detach(value), "cpu", exact, copy=True))
    except BaseException as error:
        return Output("object", about=f"tensor that cannot be read ({message(error)})")
    return Output("tensor", shape=values.shape, dtype=dtype, values=values)


def _array(value: np.ndarray, kind: Literal["array", "image"], dtype: str) -> Output:
    if value.dtype.kind not in "fiub":
        return Output("object", about=f"NumPy array of {value.dtype}")
    if value.size > LARGEST:
        return Output(kind, shape=value.shape, dtype=dtype)
    values = value.astype(np.float64 if value.dtype.kind == "f" else np.int64)
    return Output(kind, shape=values.shape, dtype=dtype, values=values)


def _number(value: Any) -> Output:
    if type(value) is int and abs(value) >= 1 << 63:
        return Output("object", about="int beyond 64 bits")
    if type(value) not in (bool, int, float):
        return Output("object", about=type_name(value))
    values = _asarray(value, dtype=np.float64 if type(value) is float else np.int64)
    return Output("number", dtype=type(value).__name__, values=values)
