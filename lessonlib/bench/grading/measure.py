"""The figures: seconds a submission, honest answers refused, wrong ones accepted, attacks survived."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lessonlib.bench.grading import answers, attacks, environments
from lessonlib.bench.grading.attacks import ATTACKS, MARK, SECRET, TEXT
from lessonlib.bench.grading.graders import Graded, Grader, Lesson, NbGrader, Otter
from lessonlib.bench.grading.mutants import is_equivalent, mutants
from lessonlib.bench.grading.submissions import Answers, Assignment
from lessonlib.bench.rows import Row, machine
from lessonlib.errors import LessonError

EXERCISES = 30  # a submission
WRONG = 500  # mutants
ATTACKED = 2  # exercises in the assignment that is attacked
ATTACK_SECONDS = 180.0  # for an attack and the honest submission behind it
PREFIX = "grading: "
SEED = "lesson bench --grading"

Say = Callable[[str, float], None]  # what is done now, and which part of all is behind


@dataclass
class Report:
    """The rows, and what to look at: wrong grades one by one, and sentences about what could not be done."""

    rows: list[Row] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def measure(count: int, say: Say) -> Report:
    """Measure all graders that can be had here, on `count` submissions.

    Raises:
        LessonError: cosmic-ray cannot be installed, or `lesson grade` finds no isolation.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="lesson-bench-") as folder:
        say("preparing the other graders", 0.0)
        graders, versions = _graders(report)
        cosmic_ray = environments.python_with("cosmic-ray")
        versions.append(environments.version(cosmic_ray, "cosmic-ray"))
        assignment = Assignment(tuple(answers.compared()[:EXERCISES]), SEED)
        note = ", ".join([machine(), *versions])
        report.rows.append(Row(f"{PREFIX}exercises a submission", len(assignment.tasks), "", note=note))
        rooms = (Path(folder) / str(i) for i in range(1_000_000))
        _honest(report, assignment, graders, count, rooms, say)
        _mutants(report, assignment, graders, cosmic_ray, 1 + WRONG * count // 50 // EXERCISES, rooms, say)
        _attacks(report, graders, rooms, say)
    return report


def _graders(report: Report) -> tuple[list[Grader], list[str]]:
    """`lesson grade`, the others that can be installed, and their versions; a finding for those that cannot."""
    graders: list[Grader] = [Lesson()]
    versions = []
    others: Mapping[str, Callable[[Path], Grader]] = {"nbgrader": NbGrader, "otter-grader": Otter}
    for package, kind in others.items():
        try:
            python = environments.python_with(package)
            versions.append(environments.version(python, package))
        except LessonError as error:
            report.findings.append(f"{error} Its rows are left out.")
        else:
            graders.append(kind(python))
    return graders, versions


# --- Honest submissions: seconds, and what is refused -------------------------------------------------------


def _honest(
    report: Report,
    assignment: Assignment,
    graders: Sequence[Grader],
    count: int,
    rooms: Iterator[Path],
    say: Say,
) -> None:
    """One run of each grader on the same class, every answer right."""
    say("writing the submissions", 0.02)
    class_ = honest_class(assignment, count)
    given = {(student, task): text for student, one in class_.items() for task, text in one.items()}
    different = len({(task, text) for (_, task), text in given.items()})
    alone = Lesson("lesson grade --workers 1", workers=1)  # the others grade one submission at a time
    ours: float | None = None
    for index, grader in enumerate([*graders, alone]):
        say(f"{grader.name}: {count} honest submissions", 0.05 + 0.1 * index)
        graded = grader.grade(assignment, class_, _made(next(rooms)))
        each = graded.seconds / count
        ours = ours or each
        name = f"{PREFIX}a submission, {grader.name}"
        against = f"{PREFIX}a submission, {graders[0].name}" if index else None
        note = f"{count} in one command; isolation: {graded.isolation}"
        report.rows.append(Row(name, each, "s", against, each / ours if index else None, note=note))
        if grader is alone:
            continue
        refused = [place for place in given if graded.points.get(place[0], {}).get(place[1], 0) < 1]
        row = f"{PREFIX}right answers refused, {grader.name}"
        note = f"of {len(given)}, {different} of them different"
        report.rows.append(Row(row, len(refused), "", note=note))
        report.findings += [
            f"{grader.name} refused a right answer to {place[1]}:\n{given[place]}" for place in refused
        ]


def honest_class(assignment: Assignment, count: int) -> dict[str, Answers]:
    """So many submissions of right answers, as different as there are variants."""
    found = {task.id: answers.variants(task, count) for task in assignment.tasks}
    return {
        f"student-{i:03}": {task: programs[i % len(programs)] for task, programs in found.items()}
        for i in range(count)
    }


# --- Mutants: what is accepted ------------------------------------------------------------------------------


def _mutants(
    report: Report,
    assignment: Assignment,
    graders: Sequence[Grader],
    cosmic_ray: Path,
    count: int,
    rooms: Iterator[Path],
    say: Say,
) -> None:
    """A class of mutants. What ours stopped because of time is not given to the others, who would wait for it."""
    say("making mutants", 0.45)
    tasks = list(assignment.tasks)
    made = mutants(tasks, count, cosmic_ray)
    class_ = {
        f"student-{i:03}": {task: programs[i] for task, programs in made.items() if i < len(programs)}
        for i in range(count)
    }
    total = sum(map(len, class_.values()))
    equivalent: dict[str, bool] = {}
    for index, grader in enumerate(graders):
        say(f"{grader.name}: {total} mutants", 0.5 + 0.08 * index)
        graded = grader.grade(assignment, class_, _made(next(rooms)))
        accepted = [
            (task, class_[student][task])
            for student, points in graded.points.items()
            for task, value in points.items()
            if value > 0 and task in class_[student]
        ]
        by_id = {task.id: task for task in tasks}
        for task, program in accepted:
            if program not in equivalent:
                equivalent[program] = is_equivalent(by_id[task], program)
        wrong = [(task, program) for task, program in accepted if not equivalent[program]]
        report.rows.append(
            Row(
                f"{PREFIX}wrong answers accepted, {grader.name}",
                len(wrong),
                "",
                note=f"of {total} mutants; {len(accepted) - len(wrong)} more compute the same on every seed",
            )
        )
        report.findings += [
            f"{grader.name} accepted a wrong answer to {task}:\n{text}" for task, text in wrong
        ]
        class_ = {
            student: {
                task: text for task, text in given.items() if task not in graded.endless.get(student, ())
            }
            for student, given in class_.items()
        }


# --- Attacks ------------------------------------------------------------------------------------------------


def _attacks(report: Report, graders: Sequence[Grader], rooms: Iterator[Path], say: Say) -> None:
    """Each attack on each grader, in a class of two: the attack, then an honest submission."""
    assignment = Assignment(tuple(answers.compared()[:ATTACKED]), SEED)
    done = 0
    for grader in graders:
        beaten = []
        for name in ATTACKS:
            say(f"{grader.name}: {name}", 0.75 + 0.25 * done / (len(graders) * len(ATTACKS)))
            done += 1
            if why := harm(name, grader, assignment, _made(next(rooms))):
                beaten.append(name)
                report.findings.append(f"{grader.name} did not survive {name}: {why}.")
        note = f"of {len(ATTACKS)}" + (f"; not: {', '.join(beaten)}" if beaten else "")
        row = f"{PREFIX}attacks survived, {grader.name}"
        report.rows.append(Row(row, len(ATTACKS) - len(beaten), "", note=note))


def harm(name: str, grader: Grader, assignment: Assignment, folder: Path) -> str:
    """What an attack achieved, "" if nothing."""
    right = {task.id: answers.programs(task.id)[0] for task in assignment.tasks}
    class_ = {
        "a-attack": {task: attacks.attack(name, answers.function_name(text)) for task, text in right.items()},
        "b-honest": {task: attacks.honest(text) for task, text in right.items()},
    }
    graded = grader.grade(assignment, class_, folder, ATTACK_SECONDS)
    return "; ".join(_harms(graded, assignment, folder))


def _harms(graded: Graded, assignment: Assignment, folder: Path) -> Iterator[str]:
    if scored := sum(graded.points.get("a-attack", {}).values()):
        yield f"it scored {scored:g}"
    honest = graded.points.get("b-honest", {})
    if any(honest.get(task.id, 0) < 1 for task in assignment.tasks):
        yield "the honest submission behind it lost its points"
    if graded.seconds == float("inf"):
        yield f"the command had to be ended after {ATTACK_SECONDS:g} s"
    if any(folder.rglob(MARK)) or (Path(tempfile.gettempdir()) / MARK).exists():
        yield "files were left behind"
    handed_back = b"".join(path.read_bytes() for path in graded.returned.get("a-attack", []))
    if SECRET[::-1].encode() in handed_back or TEXT.encode() in handed_back:
        yield "secrets were handed back"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
