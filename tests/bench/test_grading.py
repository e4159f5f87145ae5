"""Right answers stay right when they are rewritten, wrong ones are found out, and a grader that is beaten is named."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from lessonlib import bench, cli
from lessonlib.bench.grading import (
    answers,
    attacks,
    environments,
    graders,
    measure,
    mutants,
    mutate,
    submissions,
)
from lessonlib.bench.grading.graders import Graded
from lessonlib.bench.grading.rewrites import REWRITES
from lessonlib.bench.grading.submissions import Assignment
from lessonlib.errors import LessonError
from lessonlib.grading import references, tasks
from lessonlib.grading.grade import hidden_cases
from lessonlib.grading.notebooks import answer_source, answered, load_answer
from lessonlib.grading.selfcheck import judge

CFG, SHAPE = tasks.get("cfg"), tasks.get("latent_shape")
ASSIGNMENT = Assignment((CFG, SHAPE), "a secret")


# --- Right answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cfg", "weight_grammar", "residual_injection", "zero_conv"])
def test_variants_are_different_and_pass(name: str) -> None:
    task = tasks.get(name)
    found = answers.variants(task, 12)
    assert len(set(found)) == len(found) == 12
    assert found == answers.variants(task, 12)
    assert not any("lessonlib" in program for program in found)
    for program in found:
        assert judge(task, load_answer(program, "variant"), references.load(task)).passed, program


PROGRAM = """
def f(a, b, items):
    total = a
    for item in items:
        total = total + 2 * (item - b) / 4
    return total ** 2 + (b if b < a else a) + len([x for x in items])
"""


@pytest.mark.parametrize("name", sorted(REWRITES))
def test_a_rewrite_keeps_what_is_computed(name: str) -> None:
    before = {}
    exec(PROGRAM, before)
    for seed in range(3):
        tree = ast.parse(PROGRAM)
        function = tree.body[0]
        assert isinstance(function, ast.FunctionDef)
        REWRITES[name](function, random.Random(seed))
        text = ast.unparse(ast.fix_missing_locations(tree))
        if name in ("cloned",):  # for tensors alone
            assert text.count("return (") + text.count("return total") == 1
            continue
        after: dict = {"torch": __import__("torch")}
        exec(text, after)
        expected = before["f"](3.0, 5.0, [1.0, 2.0])
        assert after["f"](3.0, 5.0, [1.0, 2.0]) == pytest.approx(expected), text


def test_what_changed_its_meaning_is_no_variant() -> None:
    right = answers.programs("latent_shape")[0]
    assert answers.same_as_reference(SHAPE, right)
    assert not answers.same_as_reference(SHAPE, right.replace("- 1", "- 2"))
    assert not answers.same_as_reference(SHAPE, "import nothing_of_this_name\n" + right)


# --- Wrong answers ------------------------------------------------------------------------------------------


def test_equivalent_mutants_are_told_from_wrong_ones() -> None:
    right = answers.programs("cfg")[0]
    assert mutants.is_equivalent(CFG, right, 4)
    assert mutants.is_equivalent(CFG, right.replace("chunk(2)", "chunk(+2)"), 4)
    assert not mutants.is_equivalent(CFG, right.replace("+ guidance", "- guidance"), 4)


def test_a_mutant_changes_what_is_computed() -> None:
    program = "import torch\n\ndef f(a: int) -> int:\n    return a + 1\n"
    assert mutate.body(program) == mutate.body(program.replace("int", "str")) == "return a + 1"
    assert mutate.body(program.replace("+", "-")) != mutate.body(program)
    assert mutate.body("def f(:") == ""


WEAK = {
    # what passed before the inputs could tell: a mutant by cosmic-ray, (exercise, right part, wrong part)
    "the scale of four channels": ("sliced_attention", "query.shape[-1] ** 0.5", "query.shape[-1] * 0.5"),
    "a remainder for a difference": ("w_embedding", "(guidance_scale - 1)", "(guidance_scale % 1)"),
    "a power for a product": ("overlay", "2 * radius + 1", "2 ** radius + 1"),
    "a radius of one": ("overlay", "2 * radius + 1, stride", "3, stride"),
    "a fixed token": ("eos_pooling", "== eos_token_id", "== 40"),
    "the nearest from above": ("aspect_bucket", "/ (width * bucket[0])", "% (width * bucket[0])"),
    "a prompt that begins with a number": ("weight_grammar", "prompt[place + 1:", "prompt[place - 1:"),
    "widths without a bit in common": ("dual_encoder", "width + ", "width ^ "),
    "a depth with a bit to lose": ("dual_encoder", "len(hidden_states_g) - 2", "len(hidden_states_g) ^ 2"),
    "evaluations without a bit in common": ("steps_curve", "['evaluations'] - ", "['evaluations'] ^ "),
    "three errors for two": ("steps_curve", "<= 2 * ", "<= 3 * "),
    "the best no longer as good": ("steps_curve", "<= 2 * ", "< 2 * "),
    "a remainder for a difference of roots": ("consistency_loss", "numel() - c", "numel() % c"),
}


@pytest.mark.parametrize("name", WEAK)
def test_inputs_tell_what_once_passed(name: str) -> None:
    task_id, good, bad = WEAK[name]
    task = tasks.get(task_id)
    given = [program for program in answers.programs(task_id) if good in program]
    assert given
    for program in given:
        wrong = load_answer(program.replace(good, bad), "wrong")
        assert not judge(task, wrong, references.load(task)).passed
        assert not judge(task, wrong, hidden_cases(task_id, "secret")[0]).passed


def test_the_best_alone_can_be_as_good_as_the_best() -> None:
    task = tasks.get("steps_curve")
    saved = [
        int(case.answer["['saved']"].expected)
        for seed in range(4)
        for case in hidden_cases(task.id, str(seed))[0]
    ]  # type: ignore[arg-type]
    assert 0 in saved
    assert any(saved)


# --- One submission, three dialects -------------------------------------------------------------------------


def test_the_same_answers_stand_in_every_dialect() -> None:
    given = {task.id: answers.programs(task.id)[-1] for task in ASSIGNMENT.tasks}
    lesson = nbformat.reads(submissions.for_lesson(ASSIGNMENT, given), as_version=4)
    assert answered(lesson) == ["cfg", "latent_shape"]
    assert ast.unparse(ast.parse(given["cfg"])) == answer_source(lesson, "cfg").strip()  # type: ignore[union-attr]
    for text in (
        submissions.for_nbgrader(ASSIGNMENT, given, tests=False),
        submissions.for_otter(ASSIGNMENT, given),
    ):
        book = nbformat.reads(text, as_version=4)
        assert all(program in [cell.source for cell in book.cells] for program in given.values())
        assert "torch.load" not in text


@pytest.mark.parametrize(
    "task", [CFG, SHAPE, tasks.get("zero_conv"), tasks.get("canny_map")], ids=lambda t: t.id
)
def test_the_other_graders_tests_know_right_from_wrong(task) -> None:
    test = submissions.hidden_test(task, "a secret")
    right = answers.programs(task.id)[0]
    exec(right + test, {})
    name = answers.function_name(right)
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        exec(f"{right}\nkept = {name}\ndef {name}(*a):\n    return (kept(*a), 1)\n{test}", {})
    compile(submissions.otter_test(task, "a secret"), "test", "exec")


# --- Attacks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_is_a_program_that_answers(name: str) -> None:
    program = attacks.attack(name, "answer")
    compile(program, name, "exec")
    assert answers.function_name(program) == "answer"
    assert not any(text in program for text in (attacks.TEXT, attacks.SECRET[::-1]))  # they must be stolen


class Naive:
    """A grader that is beaten in one way."""

    name = "naive"

    def __init__(self, how: str) -> None:
        self.how = how

    def grade(self, assignment, class_, folder: Path, limit: float = 0.0) -> Graded:
        full = {task.id: 1.0 for task in assignment.tasks}
        back = folder / "feedback"
        back.write_text("fine")
        points = {"a-attack": {"cfg": 0.0}, "b-honest": full}
        if self.how == "scored":
            points["a-attack"] = full
        elif self.how == "lost":
            del points["b-honest"]
        elif self.how == "left behind":
            (folder / attacks.MARK).write_text("x")
        elif self.how == "handed back":
            back.write_text(attacks.SECRET[::-1])
        seconds = float("inf") if self.how == "ended" else 1.0
        return Graded(seconds, points, {"a-attack": [back]})


@pytest.mark.parametrize("how", ["scored", "lost", "left behind", "handed back", "ended"])
def test_what_an_attack_achieved_is_named(how: str, tmp_path: Path) -> None:
    assert how in measure.harm("the process ended", Naive(how), ASSIGNMENT, tmp_path)


def test_an_attack_that_achieves_nothing_is_survived(tmp_path: Path) -> None:
    assert measure.harm("the process ended", Naive("no way"), ASSIGNMENT, tmp_path) == ""


# --- The figures --------------------------------------------------------------------------------------------


class Here:
    """Grades as `lesson grade` does, in this process; `credulous` accepts whatever ran."""

    name = "lesson grade"

    def __init__(self, credulous: bool = False) -> None:
        self.credulous = credulous

    def grade(self, assignment, class_, folder: Path, limit: float = 0.0) -> Graded:
        def points(task_id: str, program: str) -> float:
            right = judge(
                tasks.get(task_id), load_answer(program, "answer"), hidden_cases(task_id, "secret")[0]
            )
            return float(right.passed or self.credulous)

        return Graded(
            2.0,
            {who: {task: points(task, text) for task, text in one.items()} for who, one in class_.items()},
        )


def test_refused_and_accepted_answers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = answers.programs("cfg")[0]
    made = {"cfg": [right.replace("chunk(2)", "chunk(+2)"), right.replace("+ guidance", "- guidance")]}
    monkeypatch.setattr(measure, "mutants", lambda among, count, python: made)
    monkeypatch.setattr(measure, "Lesson", lambda name, workers: Here())
    rooms = (tmp_path / str(i) for i in range(10))
    report = measure.Report()
    kinds = [Here(), Here(credulous=True)]
    kinds[1].name = "credulous"
    measure._honest(report, ASSIGNMENT, kinds, 4, rooms, lambda what, part: None)
    measure._mutants(report, ASSIGNMENT, kinds, Path("python"), 2, rooms, lambda what, part: None)
    found = {row.name.removeprefix("grading: "): row for row in report.rows}
    assert found["a submission, lesson grade"].value == 0.5
    assert found["a submission, credulous"].ratio == 1.0
    assert found["right answers refused, lesson grade"].value == 0
    assert found["right answers refused, lesson grade"].note == "of 8, 8 of them different"
    assert found["wrong answers accepted, lesson grade"].value == 0
    assert found["wrong answers accepted, credulous"].value == 1
    assert (
        found["wrong answers accepted, credulous"].note
        == "of 2 mutants; 1 more compute the same on every seed"
    )
    assert len(report.findings) == 1
    assert made["cfg"][1] in report.findings[0]


# --- The command --------------------------------------------------------------------------------------------


def test_a_package_that_cannot_be_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path))
    monkeypatch.setattr(environments.venv, "create", lambda folder, with_pip: None)
    with pytest.raises(LessonError, match="nbgrader cannot be installed with pip"):
        environments.python_with("nbgrader")
    assert not (tmp_path / "bench" / "nbgrader").exists()


def test_rows_of_a_grader_that_cannot_be_had_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(package: str) -> Path:
        raise LessonError(f"{package} cannot be installed.")

    monkeypatch.setattr(environments, "python_with", none)
    report = measure.Report()
    found, versions = measure._graders(report)
    assert [grader.name for grader in found] == ["lesson grade"]
    assert versions == []
    assert len(report.findings) == 2


def test_other_graders_are_never_run_without_walls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graders.shutil, "which", lambda name: None)
    with pytest.raises(LessonError, match="bubblewrap"):
        graders.contained(["true"], tmp_path, tmp_path / "bin" / "python")


def test_the_rows_take_the_place_of_their_own_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [bench.Row("render", 1.5, "ms"), bench.Row("grading: old", 1.0, "s")]
    bench.write(before, tmp_path)

    def measured(count: int, say) -> measure.Report:
        say("working", 0.5)
        return measure.Report([bench.Row("grading: new", float(count), "s", note="a note")], ["look at this"])

    monkeypatch.setattr(measure, "measure", measured)
    command = ["bench", "--grading", "--submissions", "3", "--docs", str(tmp_path)]
    shown = CliRunner().invoke(cli.app, [*command, "--json"])
    assert json.loads(shown.stdout)[0]["value"] == 3
    assert bench.read(tmp_path) == before
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    assert "look at this" in result.stderr
    assert [row.name for row in bench.read(tmp_path)] == ["render", "grading: new"]
    assert "| grading: new | 3 s (a note) |" in (tmp_path / "bench.md").read_text()

    monkeypatch.setattr(bench, "SECTIONS", {"world": lambda: iter([bench.Row("render", 2.0, "ms")])})
    assert CliRunner().invoke(cli.app, ["bench", "--docs", str(tmp_path)]).exit_code == 0
    assert [(row.name, row.value) for row in bench.read(tmp_path)] == [("render", 2.0), ("grading: new", 3.0)]
