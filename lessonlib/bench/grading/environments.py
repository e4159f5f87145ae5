"""Other people's tools, each in a virtual environment of its own in the user's cache folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from lessonlib.errors import LessonError
from lessonlib.files import write_text

SECONDS = 1800.0  # at most, for pip


def python_with(package: str) -> Path:
    """The interpreter of an environment with this package from PyPI, made where there is none yet.

    Behind its own packages it sees this environment's: every grader runs the same torch, and none is fetched
    twice. Only what is installed here in folders is seen; this package itself, installed for editing, is not.

    Raises:
        LessonError: pip cannot install it.
    """
    from lessonlib.models.store import cache_root

    folder = cache_root() / "bench" / package
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if (folder / "ready").is_file() and python.is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package)
        own = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise LessonError(
            f"{package} cannot be installed with pip ({lines[-1]}): connect to PyPI and run the same again."
        ) from error
    write_text(Path(own) / "zz-lesson-bench.pth", sysconfig.get_path("purelib") + "\n")
    write_text(folder / "ready", "")
    return python


def version(python: Path, package: str) -> str:
    """`nbgrader 0.9.6`: what is installed there."""
    code = f"import importlib.metadata as m; print(m.version({json.dumps(package)}))"
    return f"{package} {_run(python, '-c', code).strip()}"


def _run(python: Path, *arguments: str) -> str:
    command = [str(python), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout
