"""What crosses the wall of the sandbox: frames of bytes, safetensors and JSON. Nothing is ever unpickled.

A message is some parts: their number, their lengths, their bytes. Inputs go in as safetensors; outputs come
back as safetensors too, and are read here as what they are: bytes written by a stranger.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, get_args

import numpy as np

from lessonlib.grading.answers import LONGEST, PARTS, Kind, Leaf, Output

LONGEST_HEADER = 8 << 20  # bytes of a safetensors header
LONGEST_NAME = 1000  # characters of a path, a dtype, a line of code
_TYPES = {"F64": np.float64, "I64": np.int64}


class ForgedError(ValueError):
    """Bytes from inside that say nothing that can be graded."""


# --- Messages -----------------------------------------------------------------------------------------------


def send(stream: IO[bytes], *parts: bytes) -> None:
    """Write one message."""
    stream.write(struct.pack(f"<H{len(parts)}Q", len(parts), *map(len, parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes], largest: int) -> list[bytes]:
    """Read one message of at most `largest` bytes.

    Raises:
        EOFError: the other side is gone.
        ForgedError: the message is larger.
    """
    (count,) = struct.unpack("<H", _exactly(stream, 2))
    lengths = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    if sum(lengths) > largest:
        raise ForgedError(f"a message of {sum(lengths)} bytes")
    return [_exactly(stream, length) for length in lengths]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def frame(data: bytes) -> bytes:
    """Data with its length in front, for a stream of them that may break off anywhere."""
    return struct.pack("<Q", len(data)) + data


def frames(stream: bytes, most: int) -> tuple[list[bytes], bytes]:
    """The whole frames at a stream's beginning, at most `most`, and what is behind them."""
    found: list[bytes] = []
    start = 8
    while len(found) < most and start <= len(stream):
        end = start + int.from_bytes(stream[start - 8 : start], "little")
        if end > len(stream):
            break
        found.append(stream[start:end])
        start = end + 8
    return found, stream[start - 8 :]


# --- Inputs, on the way in ----------------------------------------------------------------------------------


def pack_inputs(cases: Sequence[Mapping[str, Any]]) -> bytes:
    """Arguments (see `Inputs`) as safetensors, one set of them a case."""
    from safetensors.torch import save

    tensors: dict[str, Any] = {}
    notes = [[[name, _packed(value, tensors)] for name, value in inputs.items()] for inputs in cases]
    return save(tensors, {"lesson": json.dumps(notes)})


def unpack_inputs(data: bytes) -> list[dict[str, Any]]:
    """The arguments that `pack_inputs` packed."""
    from safetensors.torch import load

    tensors = load(data)
    notes = json.loads(_header(data)["__metadata__"]["lesson"])
    return [{name: _unpacked(value, tensors.__getitem__) for name, value in note} for note in notes]


def _packed(value: Any, tensors: dict[str, Any]) -> list[Any]:
    """[kind, content] as JSON; tensors, arrays and pictures go into `tensors`."""
    import torch

    if isinstance(value, dict):
        return ["dict", [[key, _packed(one, tensors)] for key, one in value.items()]]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_packed(one, tensors) for one in value]]
    name = str(len(tensors))
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().clone(memory_format=torch.contiguous_format)
        return ["tensor", name]
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(np.array(value, order="C"))
        return ["array", name]
    if hasattr(value, "getpixel"):
        tensors[name] = torch.from_numpy(np.array(value))
        return ["image", name]
    return ["value", value]


def _unpacked(packed: list[Any], tensor: Callable[[str], Any]) -> Any:
    kind, content = packed
    if kind == "dict":
        return {key: _unpacked(one, tensor) for key, one in content}
    if kind in ("list", "tuple"):
        parts = [_unpacked(one, tensor) for one in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "image":
        from PIL import Image

        return Image.fromarray(tensor(content).numpy())
    if kind == "array":
        return tensor(content).numpy()
    return tensor(content) if kind == "tensor" else content


# --- Outputs, on the way out --------------------------------------------------------------------------------


def pack_outputs(outputs: Sequence[Output]) -> bytes:
    """What a student's function gave, as safetensors of float64 and int64."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    notes = json.dumps([_note(output, arrays) for output in outputs])
    return save(arrays, {"lesson": notes})


def _note(output: Output, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    name = ""
    if output.values is not None:
        name = str(len(arrays))
        arrays[name] = np.array(output.values, order="C")
    return {
        "kind": output.kind,
        "about": output.about[:LONGEST],
        "line": output.line[:LONGEST_NAME],
        "shape": list(output.shape),
        "dtype": output.dtype,
        "values": name,
        "parts": [[path, _note(part, arrays)] for path, part in output.parts.items()],
    }


def unpack_outputs(data: bytes, most: int) -> list[Output]:
    """Read what came out of the sandbox, at most `most` outputs.

    Raises:
        ForgedError: it is not what `pack_outputs` writes.
    """
    import safetensors

    try:
        notes = json.loads(_header(data)["__metadata__"]["lesson"])
        arrays = {name: _array(info) for name, info in safetensors.deserialize(data)}
        if not isinstance(notes, list) or len(notes) > most:
            raise ForgedError("more outputs than there were inputs")
        return [_output(note, arrays, Kind) for note in notes]
    except ForgedError:
        raise
    except Exception as error:  # whatever parsers raise when they are lied to
        raise ForgedError(type(error).__name__) from error


def _header(data: bytes) -> dict[str, Any]:
    """The JSON in front of the tensors, once its length is known to be sane."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(LONGEST_HEADER, len(data) - 8):
        raise ForgedError("a header that is longer than the message")
    return json.loads(data[8 : 8 + length])


def _array(info: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(info["data"], _TYPES[info["dtype"]]).reshape(info["shape"])


def _output(note: dict[str, Any], arrays: Mapping[str, np.ndarray], kinds: Any) -> Output:
    kind = _one_of(note["kind"], kinds)
    values = arrays[note["values"]] if note["values"] else None
    shape = tuple(note["shape"])
    numeric = kind in ("tensor", "array", "image", "number")
    if not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 32:
        raise ForgedError("a shape that is none")
    if values is not None and (not numeric or values.shape != shape):
        raise ForgedError("values of another shape than they claim")
    if len(note["parts"]) > PARTS or (note["parts"] and kind != "group"):
        raise ForgedError("parts where there can be none")
    parts = {_text(path, LONGEST_NAME): _output(part, arrays, Leaf) for path, part in note["parts"]}
    about, line = _text(note["about"], LONGEST), _text(note["line"], LONGEST_NAME)
    return Output(kind, about, line, shape, _text(note["dtype"], LONGEST_NAME), values, parts)


def _one_of(kind: Any, kinds: Any) -> Any:
    allowed = {name for one in get_args(kinds) for name in (get_args(one) or (one,))}
    if not isinstance(kind, str) or kind not in allowed:
        raise ForgedError("an unknown kind of answer")
    return kind


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ForgedError("a text that is none")
    return value
