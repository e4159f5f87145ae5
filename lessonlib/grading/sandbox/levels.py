"""How well this machine can isolate untrusted code, proved before it is said.

sandboxed: bubblewrap; no network, no files but read-only Python and packages, nothing survives.
container: docker or podman, with the same things bound.
process: limits of time and memory only. Code can read the right answers and everything else that is yours.
(A check in a notebook runs in the student's own process: practice, never a grade.)
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable

from lessonlib.errors import LessonError
from lessonlib.grading.sandbox import walls
from lessonlib.grading.sandbox.canaries import CANARIES, escapes
from lessonlib.grading.sandbox.supervisor import Level, Program, Sandbox

Wall = Callable[[tuple[str, ...]], Program]

WALLS: dict[Level, Wall] = {
    "sandboxed": walls.bubblewrap,
    "container": walls.container,
    "process": walls.process,
}


def trouble(level: Level) -> str:
    """Why this level cannot be had here, in a sentence; "" if it can, canaries included."""
    try:
        if level == "process":  # it holds nothing: there is nothing to prove
            with Sandbox(walls.process()) as sandbox:
                sandbox.start()
            return ""
        if level == "container":
            _import_image(walls.container())
        escaped = escapes(WALLS[level](()))
    except LessonError as error:
        return str(error)
    if not escaped:
        return ""
    could = " and ".join(CANARIES[name] for name in escaped)
    return f"It does not hold on this machine: code inside could {could}."


def choose(*, allow_process: bool = False, wanted: Level | None = None) -> Level:
    """The best level that holds here, or the wanted one.

    Raises:
        LessonError: none holds but `process`, and that is not allowed.
    """
    reasons = []
    for level in WALLS if wanted is None else (wanted,):
        if level == "process" and not allow_process:
            continue
        if not (reason := trouble(level)):
            return level
        reasons.append(f"{level}: {reason}")
    if wanted == "process":
        reasons.append("process: code could read the right answers and your files")
    raise LessonError(
        f"Nothing here isolates submissions well enough. {' | '.join(reasons)} "
        "If you trust every student, --allow-process grades with limits of time alone."
    )


def _import_image(program: Program) -> None:
    """Make the empty image; everything in the container is bound from outside."""
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    engine = program.remove[0]
    try:
        made = subprocess.run(
            [engine, "import", "-", walls.IMAGE],
            input=empty.getvalue(),
            capture_output=True,
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LessonError(f"{engine} does not answer: {error}.") from error
    if made.returncode != 0:
        lines = made.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise LessonError(f"{engine} cannot be used: {lines[-1]}")
