"""The graders side by side: each makes its own files from the same answers, and grades a class with one command.

lesson grade: bubblewrap a student (or what `lesson grade` finds), two or more students at a time.
nbgrader: `nbgrader autograde`, one Jupyter kernel a student with the tests in it; no walls.
otter: `otter run` for one student after the other, a kernel with the tests in it; no walls. (`otter grade` would
    put each into a docker container, where the tests are beside the answers all the same.)

The other graders are run in bubblewrap by this benchmark, so that attacks on them end there. Nothing is held
back from them inside: their files, one another's submissions, a home, a network of their own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lessonlib.bench.grading import submissions
from lessonlib.bench.grading.attacks import SECRET
from lessonlib.bench.grading.submissions import Answers, Assignment
from lessonlib.errors import LessonError


@dataclass(frozen=True)
class Graded:
    """What one command said of a class.

    seconds: the command's, from its start to its end; infinite if it had to be ended.
    points: student -> exercise -> points, 1 for a right answer. Who is missing was not graded.
    returned: student -> files that go back to that student.
    endless: student -> exercises that were stopped because of time.
    isolation: what stands between a student's code and the grader, as `lesson grade` names it.
    """

    seconds: float
    points: dict[str, dict[str, float]]
    returned: dict[str, list[Path]] = field(default_factory=dict)
    endless: dict[str, set[str]] = field(default_factory=dict)
    isolation: str = "none, the tests run in the student's kernel"


class Grader(Protocol):
    """One way to grade a class."""

    @property
    def name(self) -> str:
        """The command."""
        ...

    def grade(
        self, assignment: Assignment, class_: Mapping[str, Answers], folder: Path, limit: float = 3600.0
    ) -> Graded:
        """Grade a class in an empty folder, in `limit` seconds at most.

        Raises:
            LessonError: the grader cannot be used here.
        """
        ...


@dataclass(frozen=True)
class Lesson:
    """`lesson grade`. workers: submissions at a time; None leaves it to the command."""

    name: str = "lesson grade"
    workers: int | None = None

    def grade(
        self, assignment: Assignment, class_: Mapping[str, Answers], folder: Path, limit: float = 3600.0
    ) -> Graded:
        for student, answers in class_.items():
            _write(
                folder / "submitted" / student / "answers.ipynb", submissions.for_lesson(assignment, answers)
            )
        command = [sys.executable, "-m", "lessonlib", "grade", "submitted", "--out", "results", "--json"]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        for place in ("home", "tmp"):
            (folder / place).mkdir()
        environment = {
            "LESSON_SEED": assignment.seed,
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder / "home"),
        }
        seconds = _run(command, folder, limit, environment)
        file = folder / "results" / "results.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        if not rows:
            raise LessonError(f"`lesson grade` graded nothing: {_last_line(folder)}")
        graded = Graded(seconds, {}, isolation=rows[0]["isolation"])
        for row in rows:
            student = row["student"]["id"]
            graded.points[student] = {task["id"]: task["points"] / task["of"] for task in row["tasks"]}
            graded.endless[student] = {task["id"] for task in row["tasks"] if task["kind"] == "timeout"}
            graded.returned[student] = list((folder / "results" / "feedback").glob(f"{student}*"))
        return graded


@dataclass(frozen=True)
class NbGrader:
    """nbgrader's own command, in its environment."""

    python: Path
    name: str = "nbgrader autograde"

    def grade(
        self, assignment: Assignment, class_: Mapping[str, Answers], folder: Path, limit: float = 3600.0
    ) -> Graded:
        right = {task.id: submissions.programs(task.id)[0] for task in assignment.tasks}
        source = submissions.for_nbgrader(assignment, right, tests=True)
        _write(folder / "source/ps1/answers.ipynb", source)
        _write(folder / "nbgrader_config.py", f"c = get_config()\nc.CourseDirectory.root = {str(folder)!r}\n")
        for student, answers in class_.items():
            book = submissions.for_nbgrader(assignment, answers, tests=False)
            _write(folder / "submitted" / student / "ps1/answers.ipynb", book)
        nbgrader = [str(self.python), "-m", "nbgrader"]
        _run(
            contained([*nbgrader, "generate_assignment", "ps1", "--create"], folder, self.python),
            folder,
            limit,
        )
        if not (folder / "release/ps1/answers.ipynb").is_file():
            raise LessonError(f"nbgrader did not make the assignment: {_last_line(folder)}")
        autograde = [*nbgrader, "autograde", "ps1", "--create"]
        seconds = _run(contained(autograde, folder, self.python), folder, limit)
        _write(folder / "scores.py", _SCORES)
        _run(contained([str(self.python), "scores.py"], folder, self.python), folder, limit)
        points = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        returned = {student: list((folder / "autograded" / student).rglob("*.ipynb")) for student in class_}
        graded = {student: points[student] for student in class_ if student in points and returned[student]}
        return Graded(seconds, graded, returned)


_SCORES = """
import json
from nbgrader.api import Gradebook

with Gradebook("sqlite:///gradebook.db") as book:
    found = {
        submission.student.id: {
            grade.name.removeprefix("test_"): grade.score for notebook in submission.notebooks for grade in notebook.grades
        }
        for submission in book.assignment_submissions("ps1")
    }
with open("scores.json", "w") as file:
    json.dump(found, file)
"""


@dataclass(frozen=True)
class Otter:
    """otter's command without containers, in its environment, once a student in a loop of the shell."""

    python: Path
    name: str = "otter run"

    def grade(
        self, assignment: Assignment, class_: Mapping[str, Answers], folder: Path, limit: float = 3600.0
    ) -> Graded:
        for task in assignment.tasks:
            _write(folder / "tests" / f"{task.id}.py", submissions.otter_test(task, assignment.seed))
        _write(folder / "otter_config.json", "{}")
        for student, answers in class_.items():
            _write(folder / "submitted" / f"{student}.ipynb", submissions.for_otter(assignment, answers))
            (folder / "results" / student).mkdir(parents=True)
        otter = f"{shlex.quote(str(self.python))} -m otter"
        generate = f"{otter} generate -t tests -o autograder.zip -c otter_config.json --no-requirements --no-environment"
        _run(contained(["sh", "-c", generate], folder, self.python), folder, limit)
        if not (folder / "autograder.zip").is_file():
            raise LessonError(f"otter did not make the assignment: {_last_line(folder)}")
        shutil.rmtree(folder / "tests")
        grade = f"for s in {' '.join(class_)}; do {otter} run -a autograder.zip -o results/$s submitted/$s.ipynb; done"
        seconds = _run(contained(["sh", "-c", grade], folder, self.python), folder, limit)
        files = {student: folder / "results" / student / "results.json" for student in class_}
        points = {student: _otter_points(file) for student, file in files.items() if file.is_file()}
        return Graded(seconds, points, {student: [file] for student, file in files.items() if file.is_file()})


def _otter_points(file: Path) -> dict[str, float]:
    tests = json.loads(file.read_text(encoding="utf-8")).get("tests", [])
    return {
        test["name"].split(" ")[0]: float(test.get("score") or 0.0) for test in tests if test.get("max_score")
    }


# --- Running commands ---------------------------------------------------------------------------------------


def contained(command: Sequence[str], folder: Path, python: Path) -> list[str]:
    """The command in bubblewrap: it may write to its folder alone, which holds a home and a /tmp.

    Raises:
        LessonError: bubblewrap is not installed.
    """
    if shutil.which("bwrap") is None:
        raise LessonError(
            "Other graders have no walls and are run in bubblewrap here, which is missing: apt-get install bubblewrap."
        )
    for place in ("home", "tmp"):
        (folder / place).mkdir(exist_ok=True)
    room, own = str(folder), str(python.parents[1])
    walls = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev"]
    walls += ["--proc", "/proc", "--bind", f"{room}/tmp", "/tmp", "--ro-bind", own, own]
    walls += ["--bind", room, room, "--chdir", room, "--setenv", "HOME", f"{room}/home"]
    walls += ["--setenv", "TMPDIR", "/tmp", "--setenv", "PATH", f"{own}/bin:/usr/bin:/bin"]
    return [*walls, *command]


def _run(
    command: Sequence[str], folder: Path, limit: float, environment: Mapping[str, str] | None = None
) -> float:
    """Seconds of a command; infinity if it had to be ended. What it prints goes to `log.txt`."""
    start = time.perf_counter()
    surroundings = {**os.environ, "JUPYTER_PLATFORM_DIRS": "1", SECRET: SECRET[::-1], **(environment or {})}
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            return float("inf")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return time.perf_counter() - start


def _last_line(folder: Path) -> str:
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
