"""The compact form of trained weights: one safetensors file of small numbers, gzipped.

A matrix or convolution becomes one integer tensor and one scale per output channel,
    q = clamp(round(w / s), -n, n),   w' = s q,   s = argmin_s ‖w - w'‖²,   n = 127 (8 bits), 31 (6 bits) or 7 (4 bits),
everything else, and a UNet's first and last convolution, float16. In 4 or 6 bits stands only the difference from another
part, the base: w' = w'_base + s q; in the fewest whose error is at most `WORSE` times that of 8 bits, or no larger where w
must be precise. Where the difference is too large for both, w stands whole. gzip takes a tenth of 8 bits, a seventh of 4,
and what 6 bits leave unused of a byte.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    import torch

SCALE = "::scale"  # a quantised tensor's scales are stored under its own name plus this
LARGEST = {4: 7, 6: 31, 8: 127}  # bits -> the largest whole number
# A UNet's first and last convolution: a thousandth of its weights. At pure noise, where a one-step picture begins, an error
# of what it predicts is fifteen times as large in the clean latents.
EDGES = ("conv_in.weight", "conv_out.weight")
WORSE = 3.0  # how many times the error of 8 bits a difference may have


class Base(NamedTuple):
    """A stored part that others are differences from: its name, the SHA-256 of its compact file, its weights."""

    part: str
    sha256: str
    tensors: Mapping[str, torch.Tensor]


class Plain(NamedTuple):
    """Weights as they were: their file's name, the tensors, the file's own metadata."""

    file: str
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]


def encode(plain: Plain, bits: int = 8, base: Base | None = None, precise: Sequence[str] = ()) -> bytes:
    """The compact file.

    Args:
        bits: 8 quantises matrices and convolutions; 16 stores everything as float16.
        base: what has this name and shape there is stored as the difference from it, in 4 or 6 bits, unless that is
            too coarse.
        precise: how the names begin whose difference may have no larger error than 8 bits.

    Raises:
        LessonError: weights that are NaN or infinite.
    """
    from safetensors.torch import save

    tensors, dtypes, packed, changed = {}, {}, {}, []
    for key, tensor in plain.tensors.items():
        if not tensor.is_floating_point():
            tensors[key] = tensor
            continue
        if not bool(tensor.isfinite().all()):
            raise LessonError(f"'{key}' in {plain.file} holds NaN or infinity: such weights are not stored.")
        if str(tensor.dtype) != "torch.float32":
            dtypes[key] = str(tensor.dtype).removeprefix("torch.")
        value = tensor.float()
        known = base.tensors.get(key) if base else None
        # Below about a thousand weights, or sixteen a channel, scales and rounding cost more than they save.
        small = value.ndim < 2 or value.numel() < 1024 or value[0].numel() < 16
        if bits == 16 or small or key in EDGES:
            tensors[key] = _half(value)
        else:
            known = known.float() if known is not None and known.shape == value.shape else None
            few, q, tensors[key + SCALE] = _fewest_bits(
                value, known, 1.0 if key.startswith(tuple(precise)) else WORSE
            )
            tensors[key] = pack(q) if few == 4 else q
            if few == 4:
                packed[key] = list(q.shape)
            elif few == 6:
                changed.append(key)
    note: dict[str, Any] = {"file": plain.file, "metadata": plain.metadata, "dtypes": dtypes}
    if base and (packed or changed):
        note |= {
            "base": [base.part, base.sha256],
            "packed": packed,
            "changed": changed,
            "precise": [*precise],
        }
    # One metadata entry: safetensors writes several in no fixed order; equal weights must give equal bytes.
    whole_file = save(tensors, metadata={"lesson": json.dumps(note, sort_keys=True)})
    return gzip.compress(whole_file, mtime=0)


def decode(path: Path, base: Base | None = None) -> Plain:
    """What `encode` stored in `path`, with the original names, shapes and dtypes; `base` is the part `base_of` names."""
    import torch
    from safetensors.torch import load

    note, compact = _note(_header(path)), load(gzip.decompress(path.read_bytes()))
    tensors = {}
    for key, tensor in compact.items():
        if key.endswith(SCALE):
            continue
        if shape := note.get("packed", {}).get(key):
            tensor = unpack(tensor, shape)
        if key + SCALE in compact:
            tensor = _restored(tensor, compact[key + SCALE])
        if shape or key in note.get("changed", []):
            assert base is not None, f"{path} is stored as a difference"
            tensor = base.tensors[key].float() + tensor
        dtype = getattr(torch, note["dtypes"].get(key, "float32"))
        tensors[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return Plain(note["file"], tensors, note["metadata"])


def read(path: Path) -> Plain:
    """An ordinary `.safetensors` file."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, "pt") as stored:
        metadata = stored.metadata() or {}
    return Plain(path.name, load_file(path), metadata)


def write(plain: Plain, folder: Path) -> None:
    """The ordinary `.safetensors` file again."""
    from safetensors.torch import save

    (folder / plain.file).write_bytes(save(plain.tensors, metadata=plain.metadata or None))


def base_of(path: Path) -> tuple[str, str] | None:
    """The part that a compact file is a difference from, and the SHA-256 that it had then; None if it stands alone."""
    named = _note(_header(path)).get("base")
    return (named[0], named[1]) if named else None


def precise_of(path: Path) -> list[str]:
    """How the names begin that `encode` was told to store precisely."""
    return _note(_header(path)).get("precise", [])


def parameters(path: Path) -> int:
    """Number of weights in a compact file, read from its header alone."""
    header = _header(path)
    shapes = {
        key: entry["shape"] for key, entry in header.items() if "shape" in entry and not key.endswith(SCALE)
    }
    shapes |= _note(header).get("packed", {})
    return sum(prod(shape) for shape in shapes.values())


def _header(path: Path) -> dict[str, Any]:
    """What a safetensors file begins with: eight bytes of length, then JSON of names, shapes and metadata."""
    with gzip.open(path) as stored:
        length = int.from_bytes(stored.read(8), "little")
        return json.loads(stored.read(length))


def _note(header: dict[str, Any]) -> dict[str, Any]:
    """What `encode` wrote beside the tensors."""
    return json.loads(header["__metadata__"]["lesson"])


def quantise(weight: torch.Tensor, steps: int = 24, bits: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric whole numbers per output channel (dim 0), the scale chosen to minimise the squared error.

    Args:
        weight: float32, any shape with at least two axes.
        steps: clipping points tried, from half of each channel's largest magnitude up to all of it.
        bits: 8 for -127..127, 6 for -31..31, 4 for -7..7.

    Returns:
        (q int8 of the same shape, s of shape (channels,) in float16, or float32 where that cannot hold it).
    """
    import torch

    rows, most = weight.flatten(1), LARGEST[bits]
    largest = rows.abs().amax(1)
    best_error = torch.full_like(largest, torch.inf)
    best_scale = torch.zeros_like(largest)
    for clip in torch.linspace(0.5, 1.0, steps).tolist():
        scale = _half_scale(largest * clip / most)
        error = (rows - _round(rows, scale, most) * scale.float()[:, None]).square().sum(1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale.float(), best_scale)
    scale = _half_scale(best_scale)
    return _round(rows, scale, most).to(torch.int8).view_as(weight), scale


def _fewest_bits(
    value: torch.Tensor, known: torch.Tensor | None, worse: float
) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Bits, and what `quantise` makes of them: 4 or 6 for the difference from `known`, 8 for the whole value."""
    q, scale = quantise(value)
    if known is not None:
        for bits in (4, 6):
            difference = quantise(value - known, bits=bits)
            if _error(value - known, *difference) <= worse * _error(value, q, scale):
                return bits, *difference
    return 8, q, scale


def pack(q: torch.Tensor) -> torch.Tensor:
    """Whole numbers -7..7, two in a byte: int8, any shape -> uint8 [ceil(numel / 2)]."""
    import torch

    flat = (q.flatten() + 8).to(torch.uint8)
    if len(flat) % 2:
        flat = torch.cat([flat, flat.new_full((1,), 8)])
    return flat[0::2] * 16 + flat[1::2]


def unpack(packed: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """What `pack` was given: int8 of `shape`."""
    import torch

    both = torch.stack([packed // 16, packed % 16], dim=1).flatten()
    return (both.to(torch.int8) - 8)[: torch.Size(shape).numel()].view(shape)


def _restored(q: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """w' = s q."""
    return (q.float().flatten(1) * scale.float()[:, None]).view_as(q)


def _error(value: torch.Tensor, q: torch.Tensor, scale: torch.Tensor) -> float:
    """‖w - w'‖."""
    return float((value - _restored(q, scale)).norm())


def _round(rows: torch.Tensor, scale: torch.Tensor, most: int) -> torch.Tensor:
    import torch

    divisor = torch.where(scale > 0, scale.float(), 1.0)[:, None]  # a channel of zeros has scale 0
    return (rows / divisor).round().clamp(-most, most)


def _half_scale(scale: torch.Tensor) -> torch.Tensor:
    import torch

    smallest = torch.finfo(torch.float16).smallest_normal
    normal = (scale == 0) | ((scale >= smallest) & (scale <= torch.finfo(torch.float16).max))
    return scale.half() if bool(normal.all()) else scale


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """float16 where that costs no more than its rounding; float32 where it would overflow or underflow."""
    half = tensor.half()
    # float16 rounds by at most 2^-11 of each number.
    fits = bool(half.isfinite().all()) and (half.float() - tensor).norm() <= 2**-11 * tensor.norm()
    return half if fits else tensor
