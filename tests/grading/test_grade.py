"""A class is graded whatever is in it: nobody is graded twice, nobody's mistake costs another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from textwrap import indent
from typing import Any

import nbformat
import pytest
from sandboxes import needs_bwrap
from typer.testing import CliRunner

from lessonlib.bench.grading.answers import programs
from lessonlib.errors import LessonError
from lessonlib.grading import grade as grading
from lessonlib.grading import tasks
from lessonlib.grading.grade import NOTHING, Terms, grade_class, grade_student
from lessonlib.grading.results import Results
from lessonlib.grading.roster import Student
from lessonlib.grading.sandbox import levels
from lessonlib.grading.sandbox.supervisor import Limits, Sandbox
from lessonlib.grading.submissions import Contents, Handed, find, read

HONEST = """
@exercise("cfg")
def guidance(noise_pred, guidance_scale):
    uncond, cond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)
"""
SWAPPED = HONEST.replace("uncond, cond =", "cond, uncond =")
STUB = '@exercise("cfg")\ndef guidance(noise_pred, guidance_scale):\n    return ...\n'
TERMS = Terms("a secret", "sandboxed", task_ids=("cfg",))


def notebook(path: Path, *sources: str, **metadata: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def students(*names: str) -> list[Student]:
    return [Student(name, name.title(), (name,)) for name in names]


def graded(handed: list[Handed], folder: Path, terms: Terms = TERMS) -> dict[str, dict[str, Any]]:
    with Results(folder, terms.stamp()) as results, ThreadPoolExecutor(1) as pool:
        steps = list(grade_class(handed, terms, results, pool, 2))
        assert not [step for step in steps if step.trouble]
        return {row["student"]["id"]: row for row in results.rows()}


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class")
    # ada: what Colab makes of a notebook, reordered, renamed, beside the exercise as it was given out
    colab = notebook(
        folder / "ada" / "Copy of 00_start_here (1).ipynb",
        "from google.colab import drive\n%pip install -q x\n!nvidia-smi",
        HONEST.replace("guidance_scale *", "scale_of(guidance_scale) *"),
        "raise RuntimeError('a cell that is not run')",
        "def scale_of(x):\n    return x",
        colab={"provenance": []},
        accelerator="GPU",
    )
    book = json.loads(colab.read_text())
    book["cells"][1]["outputs"] = [
        {"output_type": "display_data", "data": {"image/png": "x" * 100}, "metadata": {}}
    ]
    book["cells"][1]["source"] = "".join(book["cells"][1]["source"])  # both forms are written
    colab.write_text(json.dumps(book))
    notebook(folder / "ada" / "00_start_here.ipynb", STUB)
    # bob: a broken notebook beside a good one with a known mistake
    (folder / "bob").mkdir()
    (folder / "bob" / "a.ipynb").write_text("[" * 100_000)
    notebook(folder / "bob" / "b.ipynb", SWAPPED)
    # eve: leaves something behind, kills what she can reach, and looks for what others left
    notebook(
        folder / "eve.ipynb",
        "import os, glob, torch\n"
        '@exercise("cfg")\ndef f(noise_pred, guidance_scale):\n'
        "    found = glob.glob('/tmp/*')\n"
        "    open('/tmp/answer', 'w').write('mine')\n"
        "    raise ValueError(f'{found} <b>{noise_pred.tolist()}')",
    )
    (folder / "mallory.ipynb").symlink_to(folder / "ada" / "00_start_here.ipynb")
    return folder


@pytest.fixture(scope="module")
def rows(class_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    roster = students("ada", "bob", "eve", "mallory", "nora")
    return graded(find(class_folder, roster), tmp_path_factory.mktemp("results"))


@needs_bwrap
def test_each_gets_what_is_theirs(rows: dict[str, dict[str, Any]]) -> None:
    kinds = {name: (row["points"], row["tasks"][0]["kind"]) for name, row in rows.items()}
    assert kinds == {
        "ada": (10, "passed"),
        "bob": (0, "misconception"),
        "eve": (0, "error"),
        "mallory": (0, "refused"),
        "nora": (0, "missing"),
    }
    assert rows["bob"]["notes"] == ["bob/a.ipynb cannot be read as a notebook."]
    assert rows["bob"]["tasks"][0]["misconception"] == "swapped"
    assert rows["eve"]["tasks"][0]["details"]["error"].startswith("ValueError: [] <b>")
    assert rows["eve"]["tasks"][0]["line"].startswith("raise ValueError(")
    assert "symbolic link" in rows["mallory"]["tasks"][0]["reason"]


@needs_bwrap
def test_every_result_says_how_it_came_about(rows: dict[str, dict[str, Any]]) -> None:
    for row in rows.values():
        assert row["isolation"] == "sandboxed"
        assert row["seed"] == TERMS.stamp()["seed"] != Terms("another", "sandboxed").stamp()["seed"]
        assert {"lessonlib", "tasks", "python", "torch", "numpy"} == set(row["versions"])
        assert "a secret" not in json.dumps(row)


@needs_bwrap
def test_the_command_writes_everything_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lessonlib.cli import app

    monkeypatch.setattr(levels, "trouble", lambda level: "")  # the canaries have tests of their own
    (tmp_path / "roster.csv").write_text("id,name,Homework\nada,Ada,\nnora,=cmd|x,EX\n")
    handed = tmp_path / "handed"
    handed.mkdir()
    notebook(handed / "ada.ipynb", HONEST)
    command = ["grade", str(handed), "--roster", str(tmp_path / "roster.csv"), "--out", str(tmp_path / "out")]
    command += ["--assignment", "Homework", "--notebook", "00_start_here", "--workers", "1", "--json"]
    first = CliRunner().invoke(app, command, env={"LESSON_SEED": "s3cret"})
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) | {"written": None} == {
        "students": 2, "not_graded": {}, "isolation": "sandboxed", "written": None,
    }  # fmt: skip
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert (tmp_path / "out" / "roster.csv").read_text() == "id,name,Homework\nada,Ada,10\nnora,'=cmd|x,EX\n"
    assert sorted(p.name for p in (tmp_path / "out" / "feedback").iterdir()) == ["ada.html", "nora.html"]
    assert CliRunner().invoke(app, command, env={"LESSON_SEED": "s3cret"}).exit_code == 0
    assert (tmp_path / "out" / "results.jsonl").read_text().splitlines() == lines
    other = CliRunner().invoke(app, command, env={"LESSON_SEED": "other"})
    assert other.exit_code == 1
    assert "seed" in other.stderr


# --- Without a sandbox --------------------------------------------------------------------------------------


def row_of(student: Student, contents: Contents, terms: Terms) -> dict[str, Any]:
    """What `grade_student` gives, without grading."""
    return grade_student(student, Contents({}, contents.refused or "not looked at", contents.digest), terms)


def test_nobody_is_graded_twice_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"student{number}.ipynb" for number in range(8)]
    for name in names:
        notebook(tmp_path / "in" / name, HONEST)
    log = tmp_path / "log"
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_grade
test_grade.log_and_grade({str(log)!r}, deadly="student5.ipynb")
test_grade.graded(test_grade.find(Path({str(tmp_path / "in")!r}), []), Path({str(tmp_path / "out")!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = log.read_text().split()
    assert 0 < len(before) < 8
    with open(tmp_path / "out" / "results.jsonl", "ab") as stream:
        stream.write(b'{"student": {"id": "torn')  # as a kill in the middle of a line would leave it
    for name in ("grade_student", "versions"):  # put back afterwards
        monkeypatch.setattr(grading, name, getattr(grading, name))
    log_and_grade(str(log))
    rows = graded(find(tmp_path / "in", []), tmp_path / "out")
    assert sorted(rows) == names
    twice = len(log.read_text().split()) - len(names)
    assert twice <= 1  # the one whose row was on its way to the disk may be done again


def log_and_grade(log: str, deadly: str = "") -> None:
    """Count who is graded, and be killed at one of them."""

    def once(student: Student, contents: Contents, terms: Terms) -> dict[str, Any]:
        if student.id == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(log, "a") as stream:
            print(student.id, file=stream)
        return row_of(student, contents, terms)

    grading.grade_student = once
    grading.versions = lambda: {"lessonlib": "the same in both processes"}


def test_a_changed_submission_is_graded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(student: Student, contents: Contents, terms: Terms) -> dict[str, Any]:
        calls.append(student.id)
        return row_of(student, contents, terms)

    monkeypatch.setattr(grading, "grade_student", counted)
    roster = students("ada", "bob")
    for name in ("ada", "bob"):
        notebook(tmp_path / "in" / f"{name}.ipynb", HONEST)
    graded(find(tmp_path / "in", roster), tmp_path / "out")
    notebook(tmp_path / "in" / "bob.ipynb", SWAPPED)
    rows = graded(find(tmp_path / "in", roster), tmp_path / "out")
    assert calls == ["ada", "bob", "bob"]
    assert rows["bob"]["submission"] == read((tmp_path / "in" / "bob.ipynb",)).digest


def test_results_belong_to_one_grading(tmp_path: Path) -> None:
    with Results(tmp_path, TERMS.stamp()), pytest.raises(LessonError, match="another `lesson grade`"):
        Results(tmp_path, TERMS.stamp())
    for other in (
        Terms("another", "sandboxed", task_ids=("cfg",)),
        Terms("a secret", "process", task_ids=("cfg",)),
    ):
        with pytest.raises(LessonError, match="another grading"):
            Results(tmp_path, other.stamp())


def test_what_breaks_for_one_is_said_and_the_others_are_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(student: Student, contents: Contents, terms: Terms) -> dict[str, Any]:
        if student.id == "bob":
            raise LessonError("The sandbox cannot start.")
        if student.id == "eve":
            raise ZeroDivisionError("a bug")
        return row_of(student, contents, terms)

    monkeypatch.setattr(grading, "grade_student", breaks)
    handed = [Handed(student, ()) for student in students("ada", "bob", "eve", "fay")]
    with Results(tmp_path, TERMS.stamp()) as results, ThreadPoolExecutor(2) as pool:
        steps = list(grade_class(handed, TERMS, results, pool, 2))
        assert {step.student.id for step in steps if step.trouble} == {"bob", "eve"}
        assert {row["student"]["id"] for row in results.rows()} == {"ada", "fay"}


def test_submissions_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class may be larger than memory."""
    held = []

    class Later:
        def submit(self, work, *args):
            held.append(len([f for f in futures if not f.done()]))
            for future, arguments in list(zip(futures, calls, strict=True))[:-1]:
                if not future.done():
                    future.set_result(row_of(*arguments))
            futures.append(Future())
            calls.append(args)
            if len(futures) == 6:
                for future, arguments in zip(futures, calls, strict=True):
                    if not future.done():
                        future.set_result(row_of(*arguments))
            return futures[-1]

    futures: list[Future] = []
    calls: list[tuple] = []
    with Results(tmp_path, TERMS.stamp()) as results:
        handed = [Handed(student) for student in students(*"abcdef")]
        steps = list(grade_class(handed, TERMS, results, Later(), 3))  # type: ignore[arg-type]
    assert len(steps) == 6
    assert max(held) <= 3


def test_time_used_up_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms("x", "sandboxed", student_seconds=-1.0, task_ids=("cfg",))
    row = grade_student(students("ada")[0], Contents({"a.ipynb": b"{}"}, digest="1"), terms)
    assert (row["points"], row["tasks"][0]["kind"]) == (0, "missing")
    assert grade_student(students("ada")[0], NOTHING, terms)["tasks"][0]["reason"] == "Nothing was handed in."


def test_nothing_below_a_container_without_saying_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels.walls.shutil, "which", lambda name: None)
    with pytest.raises(LessonError, match="--allow-process") as caught:
        levels.choose()
    assert "bubblewrap is not installed" in str(caught.value)
    assert "podman nor docker" in str(caught.value)
    with pytest.raises(LessonError, match="--allow-process"):
        levels.choose(wanted="process")
    monkeypatch.setattr(levels, "trouble", lambda level: "" if level == "process" else "no")
    assert levels.choose(allow_process=True) == "process"


def test_every_exercise_of_a_notebook_can_be_chosen() -> None:
    assert "cfg" in grading.task_ids_of(["00_start_here.ipynb"])
    assert grading.task_ids_of([]) == ()
    with pytest.raises(LessonError, match="00_start_here"):
        grading.task_ids_of(["nowhere"])
    assert [task.id for task in Terms("x", "process").tasks()] == [task.id for task in tasks.all_tasks()]


def test_a_cluster_loses_a_worker_and_no_grade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason='needs pip install "lessonlib[cluster]"')
    from lessonlib.grading import executors

    marker = str(tmp_path / "killed")

    def deadly(student, contents, terms):
        import os

        from lessonlib.grading.grade import grade_student

        if student.id == "s3" and not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), 9)
        return grade_student(student, contents, terms)

    monkeypatch.setattr(grading, "grade_student", deadly)
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        with (
            executors.choose(address, 1) as (pool, ahead),
            Results(tmp_path / "out", TERMS.stamp()) as results,
        ):
            handed = [Handed(student) for student in students(*(f"s{number}" for number in range(9)))]
            steps = list(grade_class(handed, TERMS, results, pool, ahead))
            assert ahead == 6
            assert not [step.trouble for step in steps if step.trouble]
            assert sorted(row["student"]["id"] for row in results.rows()) == [f"s{n}" for n in range(9)]
    assert os.path.exists(marker)


def test_an_executor_that_is_none_is_one_sentence() -> None:
    from lessonlib.grading import executors

    with pytest.raises(LessonError, match="dask://host:port"), executors.choose("slurm://x", 1):
        pass


# --- Answers that are called one after the other ---------------------------------------------------------------

DEEDS = {
    "a default dtype": "import torch\ntorch.set_default_dtype(torch.float64)",
    "no gradients": "import torch\ntorch.set_grad_enabled(False)",
    "a patched torch": "import torch\ntorch.cat = torch.stack = None",
    "an end": "import os\nos._exit(3)",
    "a loop without end": "while True: pass",
    "frames of its own": "import os\nfor number in range(3, 64):\n    try:\n        os.write(number, b'x' * 99)\n"
    "    except OSError:\n        pass",
}
THREE = Terms(
    "a secret", "sandboxed", Limits(seconds=3), task_ids=("cfg", "latent_shape", "timestep_embedding")
)


def answered(tmp_path: Path, *programs: str) -> dict[str, Any]:
    path = notebook(tmp_path / "ada.ipynb", *programs)
    return grade_student(students("ada")[0], read((path,)), THREE)


@needs_bwrap
def test_right_answers_share_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask_all = Sandbox.ask_all
    monkeypatch.setattr(
        Sandbox,
        "ask_all",
        lambda self, requests, limits: asked.append(len(requests)) or ask_all(self, requests, limits),
    )
    row = answered(tmp_path, *map(solution, THREE.task_ids))
    assert row["points"] == row["of"] > 0
    assert asked == [1, 3]  # the notebook, the answers
    row = answered(tmp_path, SWAPPED, *map(solution, THREE.task_ids[1:]))
    assert [grade["kind"] for grade in row["tasks"]] == ["misconception", "passed", "passed"]
    assert asked[2:] == [1, 3, 1]  # and the wrong one again, by itself


@needs_bwrap
@pytest.mark.parametrize("deed", DEEDS)
def test_what_an_answer_does_to_its_process_costs_no_other(deed: str, tmp_path: Path) -> None:
    others = [solution(name) for name in THREE.task_ids[1:]]
    row = answered(tmp_path, doing(deed), *others)
    assert [grade["kind"] for grade in row["tasks"]][1:] == ["passed", "passed"]


@needs_bwrap
def test_what_an_answer_leaves_changed_earns_no_other_a_point(tmp_path: Path) -> None:
    right = solution("latent_shape")
    lucky = right.replace(
        "    return ", "    import torch\n    return (torch.get_default_dtype() == torch.float64) * "
    )
    assert lucky != right
    row = answered(tmp_path, doing("a default dtype"), lucky)
    assert row["tasks"][0]["kind"] == "passed"
    assert row["tasks"][1]["points"] == 0


def doing(deed: str) -> str:
    """The answer to the first exercise, which does that when it is called."""
    return HONEST.replace("    uncond, ", f"{indent(DEEDS[deed], '    ')}\n    uncond, ")


def solution(task_id: str) -> str:
    return programs(task_id)[0].replace("def ", f'@exercise("{task_id}")\ndef ', 1)
