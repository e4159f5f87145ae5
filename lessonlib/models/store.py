"""The compact store: trained weights are committed once, small, and unfolded once into ordinary folders.

Under the weights root (`lessonlib/zoo/weights`, or `LESSON_WEIGHTS`)

    parts/<part>/        one component: its small files, and `weights.safetensors.gz` in compact form
    members.json         {member: {"model_index": {...} | null, "folders": {"unet": "sd15-unet", ...}}}
    manifest.json        {part: {file: {"sha256": ..., "bytes": ...}}}

Members share parts: the VAE is stored once. A folder name may be "" (the member's root, as of a ControlNet)
or a path ("models/image_encoder"), and may hold several parts (the three weight files of an IP-Adapter).

The compact form is that of `models/compact.py`; `unfold` gives back names, shapes and dtypes in plain diffusers layout.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from lessonlib.errors import LessonError
from lessonlib.files import sha256, write_text
from lessonlib.models import compact

COMPACT = "weights.safetensors.gz"
SMALL_FILES = {".json", ".txt"}
PICKLES = {".bin", ".pt", ".pth", ".ckpt"}
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
    used = _stored(root, entry)
    target = cache_root() / "zoo" / f"{member}-{_digest({'member': entry, 'parts': used})}"
    if _whole(target):
        return target

    for part, files in used.items():
        for problem in _problems(root, part, files):
            raise LessonError(f"{problem}: restore it with `git checkout` or install lessonlib again.")
    with _new_folder(target) as temporary:
        for folder, parts in entry["folders"].items():
            for part in [parts] if isinstance(parts, str) else parts:
                _unfold_part(root, part, temporary / folder)
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


def digest(member: str) -> str:
    """What names the shipped member's present weights; it changes with any of them."""
    root = _root(None)
    entry = members(root)[member]
    return _digest({"member": entry, "parts": _stored(root, entry)})


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
            states[part] = "altered" if list(_problems(root, part, files)) else "ok"
    for entry in members(root).values():
        states.update({part: "missing" for part in parts_of(entry) if part not in states})
    return states


def parameters(part: str, weights_root: str | os.PathLike[str] | None = None) -> int:
    """Number of weights in a part, read from the header alone."""
    path = _root(weights_root) / "parts" / part / COMPACT
    return compact.parameters(path) if path.is_file() else 0


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
    base: str | None = None,
    precise: Sequence[str] = (),
) -> Path:
    """Store a component folder (small files, at most one `.safetensors`) as `part`, whole or not at all.

    Parts that are differences from this one keep their weights: they are written anew, as differences from what it is now.

    Args:
        bits: 8 quantises matrices and convolutions; 16 stores everything as float16.
        base: a stored part that this one was trained on from: only the difference is stored, in 4 or 6 bits.
        precise: how the names begin whose difference may have no larger error than 8 bits.

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

    plain = compact.read(weights[0]) if weights else None
    texts = {file.name: _without_paths(file) for file in small}
    with _locked(root):
        others = _differences(root, part)
        _write_part(root, part, texts, plain, bits, base, precise)
        for other, difference in others.items():
            stored = [f for f in _files(root / "parts" / other) if f.name != COMPACT]
            texts = {file.name: file.read_text(encoding="utf-8") for file in stored}
            _write_part(root, other, texts, difference.weights, 8, difference.base, difference.precise)
    return root / "parts" / part


def _write_part(
    root: Path,
    part: str,
    texts: Mapping[str, str],
    plain: compact.Plain | None,
    bits: int,
    base: str | None,
    precise: Sequence[str],
) -> None:
    """Replace a part and its line in the manifest."""
    encoded = compact.encode(plain, bits, _base(root, base) if base else None, precise) if plain else None
    with _replaced_folder(root / "parts" / part) as temporary:
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        if encoded:
            (temporary / COMPACT).write_bytes(encoded)
        entry = {f.name: {"sha256": sha256(f), "bytes": f.stat().st_size} for f in _files(temporary)}
        manifest = {**_read(root / "manifest.json"), part: entry}
        write_text(root / "manifest.json", _json(dict(sorted(manifest.items()))))


def add_member(
    name: str,
    model_index: Mapping[str, Any] | None,
    folders: Mapping[str, str | list[str]],
    weights_root: str | os.PathLike[str] | None = None,
) -> None:
    """Register a member made of stored parts; `model_index` is None for what is not a pipeline.

    The version of diffusers is added to the index: some pipelines are not loaded without.

    Raises:
        LessonError: a part is not stored, or the model index names a component that no folder holds.
    """
    root = _root(weights_root)
    index = {"_diffusers_version": version("diffusers"), **model_index} if model_index else None
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


# --- Parts that are differences from others --------------------------------------------------------


def _plain(root: Path, part: str) -> compact.Plain:
    """The weights of a part, its base's taken first."""
    path = root / "parts" / part / COMPACT
    base = compact.base_of(path)
    return compact.decode(path, _base(root, base[0]) if base else None)


def _base(root: Path, part: str) -> compact.Base:
    path = root / "parts" / part / COMPACT
    if not path.is_file():
        raise LessonError(f"There is no stored part '{part}' with weights to take the difference from.")
    return compact.Base(part, sha256(path), _plain(root, part).tensors)


class _Difference(NamedTuple):
    """A part that is stored as the difference from another."""

    base: str
    precise: list[str]
    weights: compact.Plain


def _differences(root: Path, base: str) -> dict[str, _Difference]:
    """The parts that are differences from `base` or from one of these, bases first."""
    found: dict[str, _Difference] = {}
    for part in _read(root / "manifest.json"):
        path = root / "parts" / part / COMPACT
        named = compact.base_of(path) if path.is_file() else None
        if named and named[0] == base:
            for problem in _base_problems(root, path):
                raise LessonError(f"{problem}: restore both with `git checkout`.")
            found[part] = _Difference(base, compact.precise_of(path), _plain(root, part))
            found |= _differences(root, part)
    return found


def _stored(root: Path, entry: Member) -> dict[str, Files]:
    """What the manifest says of the member's parts and of those they are differences from."""
    manifest = _read(root / "manifest.json")
    return {part: manifest.get(part, {}) for part in _with_bases(root, parts_of(entry))}


def _with_bases(root: Path, parts: Iterable[str]) -> list[str]:
    """The parts, and those they are differences from."""
    found = dict.fromkeys(parts)
    for part in parts:
        path = root / "parts" / part / COMPACT
        with suppress(Exception):  # a file that cannot be read is named by its SHA-256
            if path.is_file() and (named := compact.base_of(path)):
                found |= dict.fromkeys(_with_bases(root, [named[0]]))
    return sorted(found)


def _unfold_part(root: Path, part: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in _files(root / "parts" / part):
        if file.name != COMPACT:
            (folder / file.name).write_bytes(file.read_bytes())
    if (root / "parts" / part / COMPACT).is_file():
        compact.write(_plain(root, part), folder)


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


def _problems(root: Path, part: str, files: Files) -> Iterator[str]:
    folder = root / "parts" / part
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
        elif name == COMPACT:
            yield from _base_problems(root, path)


def _base_problems(root: Path, path: Path) -> Iterator[str]:
    """Whether the part that a compact file is a difference from is still the one it was taken from."""
    if named := compact.base_of(path):
        base = root / "parts" / named[0] / COMPACT
        if not base.is_file() or sha256(base) != named[1]:
            yield f"The stored file {path} is the difference from another '{named[0]}' than the one stored"


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
