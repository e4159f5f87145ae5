"""`lesson exercises build` and `check` over the real notebooks, and over notebooks that went wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lessonlib.cli import app
from lessonlib.errors import LessonError
from lessonlib.grading import references, selfcheck, tasks
from lessonlib.grading.build import build, stale
from lessonlib.grading.notebooks import BEGIN, END, answered, notebooks, read
from lessonlib.grading.task import Misconception, Task, cases

NOTEBOOK = "00_start_here.ipynb"
TASK = tasks.get("cfg")


@pytest.fixture
def course(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of one notebook and one exercise: a copy of everything the command writes or reads."""
    for folder in ("solutions", "exercises"):
        (tmp_path / folder).mkdir()
        shutil.copy(root / folder / NOTEBOOK, tmp_path / folder)
    (tmp_path / "references").mkdir()
    for path in references.FOLDER.glob("cfg.*"):
        shutil.copy(path, tmp_path / "references")
    monkeypatch.setattr(references, "FOLDER", tmp_path / "references")
    monkeypatch.setattr(tasks, "all_tasks", lambda: [TASK])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_is_in_the_tree_is_what_the_command_makes(root: Path) -> None:
    assert stale(root) == []


def test_the_references_are_what_the_command_computes() -> None:
    """Independently of `is_current`: the formula, in numpy, on inputs made again from the seed."""
    for stored, fresh in zip(references.load(TASK), cases(TASK), strict=True):
        noise_pred, w = stored.inputs["noise_pred"], stored.inputs["guidance_scale"]
        assert np.allclose(noise_pred, fresh.inputs["noise_pred"], atol=1e-6)
        assert w == fresh.inputs["guidance_scale"]
        uncond, cond = np.split(noise_pred.double().numpy(), 2)
        assert np.allclose(stored.expected, (1 - w) * uncond + w * cond, rtol=0, atol=1e-12)
        assert stored.dtype == "torch.float32"
        bound = 6 * 2**-24 * (abs(uncond) + w * (abs(cond) + abs(uncond)))
        assert np.allclose(stored.tolerance, bound, rtol=1e-6)


def test_no_solution_is_left_in_an_exercise(root: Path) -> None:
    for path in notebooks(root / "exercises"):
        text = path.read_text()
        assert BEGIN not in text
        assert "NotImplementedError" not in text
        assert all(not cell.get("outputs") for cell in json.loads(text)["cells"])
        solved = {
            cell.id: cell.source for cell in read((root / "solutions" / path.name).read_text(), "").cells
        }
        for cell in read(text, path.name).cells:
            for block in solved[cell.id].split(BEGIN)[1:]:
                lines = (line.strip() for line in block.split(END)[0].splitlines())
                assert not any(line in cell.source for line in lines if len(line) > 20)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: edit(c / "exercises" / NOTEBOOK, "return ...", "return noise_pred"),
        lambda c: edit(c / "solutions" / NOTEBOOK, "See it work", "Watch it work"),
        lambda c: edit(c / "solutions" / NOTEBOOK, "noise_pred.chunk(2)", "noise_pred.chunk(2, 0)"),
        lambda c: (c / "exercises" / NOTEBOOK).unlink(),
        lambda c: shutil.copy(c / "exercises" / NOTEBOOK, c / "exercises" / "99_gone.ipynb"),
        lambda c: (c / "references" / "cfg.solution.txt").unlink(),
        lambda c: (c / "references" / "cfg.safetensors.gz").unlink(),
        lambda c: (c / "references" / "cfg.safetensors.gz").write_bytes(b"x"),
    ],
)
def test_build_puts_right_what_check_finds(course: Path, spoil) -> None:
    assert stale(course) == []
    spoil(course)
    runner = CliRunner()
    assert runner.invoke(app, ["exercises", "build", "--check"]).exit_code == 1
    assert runner.invoke(app, ["exercises", "build", "--check"]).exit_code == 1  # it wrote nothing
    assert runner.invoke(app, ["exercises", "build"]).exit_code == 0
    assert runner.invoke(app, ["exercises", "build", "--check"]).exit_code == 0
    assert build(course) == []


def test_other_reference_numbers_are_stale(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(TASK, reference=TASK.misconceptions[0].answer)
    assert references.is_current(TASK)
    assert not references.is_current(wrong)
    assert not references.is_current(replace(TASK, operations=7))
    assert not references.is_current(replace(TASK, inputs=lambda seed: TASK.inputs(seed + 1)))


@pytest.mark.parametrize(("share", "current"), [(0.05, True), (0.5, False)])
def test_a_stored_answer_may_be_another_processors_rounding(
    share: float, current: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = references.load(TASK)
    rounded = [
        replace(one, answer={at: replace(r, expected=r.expected + share * r.tolerance) for at, r in one.answer.items()})
        for one in stored
    ]  # fmt: skip
    monkeypatch.setattr(references, "load", lambda task: rounded)
    assert references.is_current(TASK) is current


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('exercise(\\"cfg\\")', 'exercise(\\"cgf\\")', "no function under"),
        ("Combine them:", "Combine these:", "is not the one in"),
        ("# BEGIN SOLUTION", "# BEGINN SOLUTION", "without"),
    ],
)
def test_a_notebook_that_went_wrong_is_one_sentence(course: Path, old: str, new: str, sentence: str) -> None:
    edit(course / "solutions" / NOTEBOOK, old, new)
    before = sorted((p, p.read_bytes()) for p in course.rglob("*") if p.is_file())
    with pytest.raises(LessonError, match=sentence):
        build(course)
    assert sorted((p, p.read_bytes()) for p in course.rglob("*") if p.is_file()) == before
    result = CliRunner().invoke(app, ["exercises", "build"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_two_answers_to_one_task_are_refused(course: Path) -> None:
    shutil.copy(course / "solutions" / NOTEBOOK, course / "solutions" / "01_copy.ipynb")
    with pytest.raises(LessonError, match="answered twice"):
        build(course)


def test_without_solutions_it_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(LessonError, match="cloned"):
        build(tmp_path)


@pytest.mark.parametrize("task", tasks.all_tasks(), ids=lambda task: task.id)
def test_every_task_holds(task: Task, root: Path) -> None:
    report = selfcheck.check_task(task, root)
    assert report.problems == []
    numbers = selfcheck.summary([report])
    assert numbers["stubs_failing"] == numbers["solutions_passing"] == 1
    assert numbers["alternatives"] == numbers["alternatives_passing"] >= 1
    assert numbers["misconceptions"] == numbers["misconceptions_caught_with_own_hint"] >= 3


def test_tasks_come_in_the_order_of_their_notebooks(root: Path) -> None:
    for path in notebooks(root / "solutions"):
        asked = answered(read(path.read_text(), path.name))
        assert asked == [task.id for task in tasks.all_tasks() if task.notebook == path.stem]


def test_check_prints_the_numbers(course: Path) -> None:
    result = CliRunner().invoke(app, ["exercises", "check", "--json"])
    assert result.exit_code == 0
    assert set(json.loads(result.output)) == {
        "tasks",
        "stubs_failing",
        "solutions_passing",
        "alternatives",
        "alternatives_passing",
        "misconceptions",
        "misconceptions_caught_with_own_hint",
    }
    assert "cfg" in CliRunner().invoke(app, ["exercises", "check"]).output


@pytest.mark.parametrize(
    ("folder", "old", "new", "number"),
    [
        ("solutions", "uncond + guidance_scale *", "uncond - guidance_scale *", "solutions_passing"),
        ("solutions", 'exercise(\\"cfg\\")', 'exercise(\\"cgf\\")', "solutions_passing"),
        ("solutions", "    # BEGIN SOLUTION", "    print('noise' * 9)", "none"),
        ("exercises", "return ...", "return noise_pred.chunk(2)[0]", "stubs_failing"),
        ("exercises", 'exercise(\\"cfg\\")', 'exercise(\\"cgf\\")', "stubs_failing"),
    ],
)
def test_check_reads_the_notebooks_themselves(
    course: Path, folder: str, old: str, new: str, number: str
) -> None:
    edit(course / folder / NOTEBOOK, old, new)
    result = CliRunner().invoke(app, ["exercises", "check", "--json"])
    numbers = json.loads(result.output)  # and what an answer prints does not get in between
    assert result.exit_code == (number != "none")
    assert numbers.get(number, 0) == 0


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"alternatives": (TASK.misconceptions[0].answer,)}, "alternatives_passing"),
        (
            {"misconceptions": (Misconception("none", "This is right.", TASK.reference),)},
            "misconceptions_caught_with_own_hint",
        ),
        (
            {
                "misconceptions": (
                    TASK.misconceptions[0],
                    replace(TASK.misconceptions[0], name="twin", hint="Twin."),
                )
            },
            "misconceptions_caught_with_own_hint",
        ),
    ],
)
def test_check_fails_where_a_task_is_wrong(
    course: Path, changed, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "all_tasks", lambda: [replace(TASK, **changed)])
    result = CliRunner().invoke(app, ["exercises", "check", "--json"])
    assert result.exit_code == 1
    numbers = json.loads(result.output)
    assert numbers[number] < len(next(iter(changed.values())))


def test_list_and_progress(course: Path, state: Path) -> None:
    from lessonlib.grading import journal

    runner = CliRunner()
    (row,) = json.loads(runner.invoke(app, ["exercises", "list", "--json"]).output)
    assert row["id"] == "cfg"
    assert "Classifier-free" in runner.invoke(app, ["exercises", "list"]).output
    journal.record("cfg", "passed", "passed")
    result = json.loads(runner.invoke(app, ["progress", "--json"]).output)
    assert (result["points"], result["of"]) == (10, 10)
    assert result["tasks"][0]["passed"] is True
    assert "10 of 10 points" in runner.invoke(app, ["progress"]).output
