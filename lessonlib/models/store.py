"""The compact store: trained weights are committed once, small, and unfolded once into ordinary folders.

Under the weights root (`lessonlib/zoo/weights`, or `LESSON_WEIGHTS`)

    parts/<part>/        one component: its small files, and `weights.safetensors` in compact form
    members.json         {member: {"model_index": {...} | null, "folders": {"unet": "sd15-unet", ...}}}
    manifest.json        {part: {file: {"sha256": ..., "bytes": ...}}}

Members share parts: the VAE is stored once. A folder name may be "" (the member's root, as of a ControlNet)
or a path ("models/image_encoder"), and may hold several parts (the three weight files of an IP-Adapter).

Compact form: a matrix or convolution becomes one int8 tensor and one scale per output channel,
    q = clamp(round(w / s), -127, 127),   w' = s q,   s = argmin_s ‖w - w'‖²,
everything else float16. `unfold` gives back the original names, shapes and dtypes in plain diffusers layout.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from lessonlib.errors import LessonError
from lessonlib.files import sha256, write_text

if TYPE_CHECKING:
    import torch

COMPACT = "weights.safetensors"
SMALL_FILES = {".json", ".txt"}
PICKLES = {".bin", ".pt", ".pth", ".ckpt"}
SCALE = "::scale"  # a quantised tensor's scales are stored under its own name plus this
STAMP = ".lesson.json"  # {file: bytes} of an unfolded member, written last


class Member(TypedDict):
    model_index: dict[str, Any] | None
    folders: dict[str, str | list[str]]


Files = dict[str, dict[str, Any]]  # {file: {"sha256": str, "bytes": int}}


# --- What a reader of the weights calls ------------------------------------------------------------


def unfold(member: str, weights_root: str | os.PathLike[str] | None = None) -> Path:
    """The member as an ordinary diffusers / transformers folder in the cache.

    The first call checks the compact files against the manifest and writes the folder; later calls look only
    at file sizes. The folder's name carries a digest of what it was made from: a new release never reads an
    old cache. Processes may unfold at once: each writes a folder of its own, the first to rename it wins.

    Raises:
        LessonError: unknown member; a stored file is missing or altered; the cache cannot be written.
    """
    root = _root(weights_root)
    entry = members(root).get(member)
    if entry is None:
        raise LessonError(f"The zoo in {root} has no member '{member}': it ships {_listing(members(root))}.")
    manifest = _read(root / "manifest.json")
    used = {part: manifest.get(part, {}) for part in parts_of(entry)}
    target = cache_root() / "zoo" / f"{member}-{_digest({'member': entry, 'parts': used})}"
    if _whole(target):
        return target

    for part, files in used.items():
        for problem in _problems(root / "parts" / part, files):
            raise LessonError(f"{problem}: restore it with `git checkout` or install lessonlib again.")
    with _new_folder(target) as temporary:
        for folder, parts in entry["folders"].items():
            for part in [parts] if isinstance(parts, str) else parts:
                _unfold_part(root / "parts" / part, temporary / folder)
        if entry["model_index"]:
            (temporary / "model_index.json").write_text(_json(entry["model_index"]), encoding="utf-8")
        sizes = {str(f.relative_to(temporary)): f.stat().st_size for f in _files(temporary)}
        (temporary / STAMP).write_text(_json(sizes), encoding="utf-8")
    return target


def export(
    member: str, folder: str | os.PathLike[str], weights_root: str | os.PathLike[str] | None = None
) -> Path:
    """Write the member's plain folder as `folder/<member>`, for use without this package; whole or not at all.

    Raises:
        LessonError: what `unfold` raises; the folder cannot be written.
    """
    source, target = unfold(member, weights_root), Path(folder) / member
    with _replaced_folder(target) as temporary:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(STAMP), dirs_exist_ok=True)
    return target


def members(weights_root: str | os.PathLike[str] | None = None) -> dict[str, Member]:
    """The members this store ships: name -> model index and folders."""
    return _read(_root(weights_root) / "members.json")


def verify(weights_root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Part -> "ok" | "missing" | "altered", from the SHA-256 of every stored file."""
    root = _root(weights_root)
    states = {}
    for part, files in _read(root / "manifest.json").items():
        folder = root / "parts" / part
        if any(not (folder / name).is_file() for name in files):
            states[part] = "missing"
        else:
            states[part] = "altered" if list(_problems(folder, files)) else "ok"
    for entry in members(root).values():
        states.update({part: "missing" for part in parts_of(entry) if part not in states})
    return states


def parameters(part: str, weights_root: str | os.PathLike[str] | None = None) -> int:
    """Number of weights in a part, read from the header alone."""
    from math import prod

    from safetensors import safe_open

    path = _root(weights_root) / "parts" / part / COMPACT
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as stored:
        return sum(prod(stored.get_slice(k).get_shape()) for k in stored.keys() if not k.endswith(SCALE))  # noqa: SIM118


def weights_root() -> Path:
    """Where the compact weights lie: `LESSON_WEIGHTS`, or the package's own."""
    return Path(os.environ.get("LESSON_WEIGHTS") or Path(__file__).parents[1] / "zoo" / "weights")


def cache_root() -> Path:
    """Where members are unfolded: `LESSON_CACHE`, or the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("LESSON_CACHE") or user_cache_path("lessonlib"))


# --- What training calls ---------------------------------------------------------------------------


def fold(
    source_dir: str | os.PathLike[str],
    part: str,
    weights_root: str | os.PathLike[str] | None = None,
    *,
    bits: int = 8,
) -> Path:
    """Store a component folder (small files, at most one `.safetensors`) as `part`, whole or not at all.

    Args:
        bits: 8 quantises matrices and convolutions; 16 stores everything as float16.

    Raises:
        LessonError: nothing to store, pickled, sharded or non-finite weights, an unwritable root.
    """
    if bits not in (8, 16):
        raise LessonError(f"Weights are stored in 8 or 16 bits, not {bits}.")
    source, root = Path(source_dir), _root(weights_root)
    inside = [f for f in _files(source) if f.parent == source] if source.is_dir() else []
    small = [f for f in inside if f.suffix in SMALL_FILES]
    weights = [f for f in inside if f.suffix == ".safetensors"]
    if not small and not weights:
        raise LessonError(
            f"There is no component in {source}: expected config files or one .safetensors file."
        )
    if len(weights) > 1 or any(f.suffix in PICKLES for f in inside):
        raise LessonError(
            f"{source} must hold its weights as one .safetensors file (not pickled, not sharded)."
        )

    target = root / "parts" / part
    with _locked(root), _replaced_folder(target) as temporary:
        for file in small:
            (temporary / file.name).write_text(_without_paths(file), encoding="utf-8")
        if weights:
            (temporary / COMPACT).write_bytes(_compact(weights[0], bits))
        entry = {f.name: {"sha256": sha256(f), "bytes": f.stat().st_size} for f in _files(temporary)}
        manifest = {**_read(root / "manifest.json"), part: entry}
        write_text(root / "manifest.json", _json(dict(sorted(manifest.items()))))
    return target


def add_member(
    name: str,
    model_index: Mapping[str, Any] | None,
    folders: Mapping[str, str | list[str]],
    weights_root: str | os.PathLike[str] | None = None,
) -> None:
    """Register a member made of stored parts; `model_index` is None for what is not a pipeline.

    Raises:
        LessonError: a part is not stored, or the model index names a component that no folder holds.
    """
    root = _root(weights_root)
    index = dict(model_index) if model_index else None
    entry: Member = {"model_index": index, "folders": dict(folders)}
    with _locked(root):
        stored = _read(root / "manifest.json")
        if absent := [part for part in parts_of(entry) if part not in stored]:
            raise LessonError(f"Member '{name}' needs parts that are not stored yet: {', '.join(absent)}.")
        components = {k for k, v in (index or {}).items() if isinstance(v, list) and all(v)}
        if absent := sorted(components - set(folders)):
            raise LessonError(
                f"Member '{name}': its model index names {', '.join(absent)}, but no folder does."
            )
        table = {**members(root), name: entry}
        write_text(root / "members.json", _json(dict(sorted(table.items()))))


# --- The compact form ------------------------------------------------------------------------------


def quantise(weight: torch.Tensor, steps: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric int8 per output channel (dim 0), the scale chosen to minimise the squared error.

    Args:
        weight: float32, any shape with at least two axes.
        steps: clipping points tried, from half of each channel's largest magnitude up to all of it.

    Returns:
        (q int8 of the same shape, s of shape (channels,) in float16, or float32 where that cannot hold it).
    """
    import torch

    rows = weight.flatten(1)
    largest = rows.abs().amax(1)
    best_error = torch.full_like(largest, torch.inf)
    best_scale = torch.zeros_like(largest)
    for clip in torch.linspace(0.5, 1.0, steps).tolist():
        scale = _half_scale(largest * clip / 127)
        error = (rows - _round(rows, scale) * scale.float()[:, None]).square().sum(1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale.float(), best_scale)
    scale = _half_scale(best_scale)
    return _round(rows, scale).to(torch.int8).view_as(weight), scale


def _round(rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    import torch

    divisor = torch.where(scale > 0, scale.float(), 1.0)[:, None]  # a channel of zeros has scale 0
    return (rows / divisor).round().clamp(-127, 127)


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


def _compact(path: Path, bits: int) -> bytes:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save

    with safe_open(path, "pt") as stored:
        metadata = stored.metadata() or {}
    tensors, dtypes = {}, {}
    for key, tensor in load_file(path).items():
        if not tensor.is_floating_point():
            tensors[key] = tensor
            continue
        if not bool(tensor.isfinite().all()):
            raise LessonError(f"'{key}' in {path} holds NaN or infinity: such weights are not stored.")
        if tensor.dtype != torch.float32:
            dtypes[key] = str(tensor.dtype).removeprefix("torch.")
        value = tensor.float()
        # Below about a thousand weights, or sixteen a channel, scales and rounding cost more than they save.
        if bits == 8 and value.ndim >= 2 and value.numel() >= 1024 and value[0].numel() >= 16:
            tensors[key], tensors[key + SCALE] = quantise(value)
        else:
            tensors[key] = _half(value)
    note = {"file": path.name, "metadata": metadata, "dtypes": dtypes}
    # One metadata entry: safetensors writes several in no fixed order; equal weights must give equal bytes.
    return save(tensors, metadata={"lesson": json.dumps(note, sort_keys=True)})


def _unfold_part(part: Path, folder: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    for file in _files(part):
        if file.name != COMPACT:
            (folder / file.name).write_bytes(file.read_bytes())
    if not (part / COMPACT).is_file():
        return
    with safe_open(part / COMPACT, "pt") as stored:
        note = json.loads(stored.metadata()["lesson"])
        compact = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    tensors = {}
    for key, tensor in compact.items():
        if key.endswith(SCALE):
            continue
        dtype = getattr(torch, note["dtypes"].get(key, "float32"))
        if key + SCALE in compact:
            scale = compact[key + SCALE].float()
            tensor = (tensor.float().flatten(1) * scale[:, None]).view_as(tensor)  # w' = s q
            tensors[key] = tensor.to(dtype)
        else:
            tensors[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    (folder / note["file"]).write_bytes(save(tensors, metadata=note["metadata"] or None))


def _without_paths(file: Path) -> str:
    """The text of a small file; configs lose the note of where on someone's disk they were loaded from."""
    text = file.read_text(encoding="utf-8")
    if not file.name.endswith("config.json"):
        return text
    config = json.loads(text)
    return _json({k: v for k, v in config.items() if k not in ("_name_or_path", "name_or_path")})


# --- Folders that are whole or absent --------------------------------------------------------------


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target`, unless another process put a whole one there first."""
    with _temporary_beside(target) as temporary:
        yield temporary
        try:
            os.rename(temporary, target)
        except OSError:
            if _whole(target):
                return
            with _temporary_beside(target) as rubbish:  # a damaged folder: step over it
                os.rename(target, rubbish / target.name)
                os.rename(temporary, target)


@contextmanager
def _replaced_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `target` when the block succeeds."""
    with _temporary_beside(target) as temporary, _temporary_beside(target) as old:
        yield temporary
        if target.exists():
            os.rename(target, old / target.name)
        os.rename(temporary, target)


@contextmanager
def _temporary_beside(target: Path) -> Iterator[Path]:
    """A temporary folder in the target's parent, removed at the end if it is still there."""
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        # mkdtemp makes private folders (0700); a class may share one cache.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        yield temporary
    except OSError as error:
        raise LessonError(_cannot_write(target, error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _cannot_write(target: Path, error: OSError) -> str:
    advice = "Free some room, or choose a writable folder (LESSON_CACHE sets the cache)."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"The disk is full: no room for {target}. {advice}"
    return f"Cannot write {target}: {error.strerror or error}. {advice}"


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One writer of a weights root at a time."""
    from filelock import FileLock

    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"lesson-store-{name}.lock"):
        yield


def _whole(folder: Path) -> bool:
    """Whether an unfolded folder still has every file at its size (contents are not read again)."""
    try:
        sizes = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _problems(folder: Path, files: Files) -> Iterator[str]:
    if not files:
        yield f"The stored part {folder} is missing"
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            yield f"The stored file {path} is missing"
        elif path.stat().st_size != entry["bytes"]:
            size = f"{path.stat().st_size} of {entry['bytes']} bytes"
            yield f"The stored file {path} is truncated or altered ({size})"
        elif sha256(path) != entry["sha256"]:
            yield f"The stored file {path} is altered (its SHA-256 is not the manifest's)"


def parts_of(entry: Member) -> list[str]:
    """The stored parts that a member is made of, each once."""
    values = entry["folders"].values()
    return sorted({p for value in values for p in ([value] if isinstance(value, str) else value)})


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file())


def _root(root: str | os.PathLike[str] | None) -> Path:
    return Path(root) if root is not None else weights_root()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LessonError(f"{path} is damaged ({error}): restore it with `git checkout`.") from error


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _listing(names: Mapping[str, object]) -> str:
    return ", ".join(names) if names else "none yet"
