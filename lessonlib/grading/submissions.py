"""What students handed in: folders, zips and single notebooks, read into memory and never unpacked to disk.

Everything here is written by strangers. What is too large, points elsewhere or is no plain file refuses the
whole submission with a reason; it is parsed later, in the sandbox.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from lessonlib.errors import LessonError
from lessonlib.grading.roster import Student, owner

LARGEST = 64 << 20  # bytes of one submission, unpacked
MOST = 2000  # files of one submission
SKIPPED = {"__MACOSX", ".ipynb_checkpoints", ".git", ".venv", "node_modules"}


class RefusedError(Exception):
    """A submission is not read; the text is the reason, one sentence."""


@dataclass(frozen=True)
class Handed:
    """A student and the files and folders that bear their name; none if nothing was handed in."""

    student: Student
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Contents:
    """The notebooks of one submission (path in it -> bytes), or why it is refused.

    digest: of all of it, so that a changed submission is told from one already graded.
    """

    notebooks: dict[str, bytes]
    refused: str = ""
    digest: str = ""


def find(folder: Path, roster: list[Student]) -> list[Handed]:
    """Each student of the roster with what they handed in, then submissions that are nobody's.

    Args:
        folder: holds one entry a student (or several, as Canvas writes them): a folder, a zip, a notebook;
            or is one entry itself.

    Raises:
        LessonError: there is no such folder.
    """
    if not os.path.lexists(folder):
        raise LessonError(f"There are no submissions at {folder}: name a folder, a zip or a notebook.")
    if folder.is_dir():
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__")))
    else:
        entries = [folder]
    known: dict[Student, list[Path]] = {student: [] for student in roster}
    strangers: list[Handed] = []
    for entry in entries:
        name = entry.name if entry.is_dir() else entry.stem
        student = owner(name, roster)
        if student is not None:
            known[student].append(entry)
        elif entry.is_symlink() or entry.is_dir() or entry.suffix.lower() in (".zip", ".ipynb"):
            strangers.append(Handed(Student(entry.name, entry.name, on_roster=False), (entry,)))
    return [Handed(student, tuple(paths)) for student, paths in known.items()] + strangers


def read(paths: tuple[Path, ...]) -> Contents:
    """Read a submission. Raises nothing that a student can cause."""
    reader = _Reader()
    refused = ""
    try:
        for path in paths:
            reader.entry(path)
        if not reader.notebooks:
            refused = "No notebook was handed in."
    except RefusedError as error:
        refused = str(error)
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,  # zipfile's, of a password or, as NotImplementedError, of a compression that it does not know
        ValueError,
        EOFError,
    ) as error:
        refused = f"It cannot be read ({type(error).__name__})."
    notebooks = {} if refused else dict(sorted(reader.notebooks.items()))
    return Contents(notebooks, refused, reader.digest(refused))


class _Reader:
    """Reads with one allowance of bytes and files for the whole submission."""

    def __init__(self) -> None:
        self.notebooks: dict[str, bytes] = {}
        self._bytes = 0
        self._files = 0

    def digest(self, refused: str) -> str:
        total = hashlib.sha256(refused.encode())
        for name, data in sorted(self.notebooks.items()):
            total.update(repr((name, len(data))).encode() + data)
        return total.hexdigest()

    def entry(self, path: Path) -> None:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise RefusedError("It is a symbolic link: hand in the file itself.")
        if stat.S_ISDIR(mode):
            for file, name in _walk(path):
                self._file(file, f"{path.name}/{name}")
        else:
            self._file(path, path.name)

    def _file(self, path: Path, name: str) -> None:
        self._count()
        suffix = path.suffix.lower()
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise RefusedError("It contains a symbolic link: hand in the file itself.")
        if not stat.S_ISREG(mode):
            raise RefusedError("It contains something that is no plain file.")
        if suffix not in (".ipynb", ".zip"):
            return
        # Not followed, should it have become a link since.
        with open(
            os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as stream:
            if suffix == ".zip":
                self._zip(stream, name)
            else:
                self._keep(name, stream)

    def _zip(self, stream: BinaryIO, name: str) -> None:
        if os.fstat(stream.fileno()).st_size > LARGEST:
            raise RefusedError(f"The zip is larger than {LARGEST >> 20} MB.")
        with zipfile.ZipFile(stream) as archive:
            if len(archive.infolist()) > MOST:
                raise RefusedError(f"The zip holds more than {MOST} files.")
            for member in archive.infolist():
                self._count()
                inner = PurePosixPath(member.filename.replace("\\", "/"))
                if (
                    inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0]
                    if inner.parts
                    else True
                ):
                    raise RefusedError("The zip has a path that leads out of it.")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise RefusedError("The zip contains a symbolic link.")
                if member.flag_bits & 1:
                    raise RefusedError("The zip is encrypted.")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise RefusedError("The zip is packed in an unusual way.")  # lzma may ask for gigabytes
                if member.is_dir() or _hidden(inner.parts) or inner.suffix.lower() != ".ipynb":
                    continue
                with archive.open(member) as file:
                    self._keep(f"{name}/{inner}", file)

    def _keep(self, name: str, stream: IO[bytes]) -> None:
        """Read at most what is left of the allowance, whatever size a header claims."""
        data = stream.read(LARGEST - self._bytes + 1)
        self._bytes += len(data)
        if self._bytes > LARGEST:
            raise RefusedError(f"It is larger than {LARGEST >> 20} MB unpacked.")
        self.notebooks[name] = data

    def _count(self) -> None:
        self._files += 1
        if self._files > MOST:
            raise RefusedError(f"It holds more than {MOST} files.")


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """(file, path in the folder), links not followed."""
    for parent, folders, files in os.walk(folder):
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise RefusedError("It contains a symbolic link: hand in the file itself.")
        folders[:] = sorted(name for name in folders if not _hidden((name,)))
        for name in sorted(files):
            if not _hidden((name,)):
                path = Path(parent) / name
                yield path, path.relative_to(folder).as_posix()


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part in SKIPPED or part.startswith(".") for part in parts)
