"""Gradescope's autograder: what is uploaded is whole, and what runs there is the same grader."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from sandboxes import needs_bwrap
from typer.testing import CliRunner

from lessonlib.cli import app
from lessonlib.errors import LessonError
from lessonlib.grading.outputs import autograder
from lessonlib.grading.sandbox import levels


def test_the_folder_holds_all_that_it_needs(tmp_path: Path) -> None:
    out = tmp_path / "autograder"
    command = ["gradescope", "build", "--out", str(out), "--notebook", "00_start_here", "--seed", "s3cret"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (tmp_path / "autograder.zip").stat().st_size
    assert json.loads((out / "terms.json").read_text())["seed"] == "s3cret"
    assert any(line.startswith("torch") for line in (out / "requirements.txt").read_text().splitlines())
    assert (out / "lessonlib" / "grading" / "tasks" / "cfg.py").is_file()
    assert not list(out.rglob("__pycache__"))
    for script in ("setup.sh", "run_autograder"):
        assert (out / script).stat().st_mode & 0o111
        if bash := shutil.which("bash"):
            subprocess.run([bash, "-n", str(out / script)], check=True)
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert "exists" in again.stderr


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """What Gradescope's container looks like from inside."""
    terms = {"seed": "s3cret", "notebooks": ["00_start_here"], "seconds": 20.0, "allow_process": False}
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "terms.json").write_text(json.dumps(terms))
    (tmp_path / "submission").mkdir()
    source = (
        '@exercise("cfg")\ndef f(noise_pred, w):\n    u, c = noise_pred.chunk(2)\n    return u + w * (c - u)'
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(book, tmp_path / "submission" / "mine.ipynb")
    return tmp_path


@needs_bwrap
def test_a_submission_is_graded(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "trouble", lambda level: "")  # the canaries have tests of their own
    autograder.run(container)
    results = json.loads((container / "results" / "results.json").read_text())
    cfg = next(test for test in results["tests"] if test["name"] == "Classifier-free guidance")
    assert (cfg["score"], cfg["status"]) == (10, "passed")
    assert results["extra_data"]["isolation"] == "sandboxed"
    assert "s3cret" not in json.dumps(results)


def test_without_isolation_there_is_no_result(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "trouble", lambda level: "It does not hold.")
    with pytest.raises(LessonError, match="--allow-process"):
        autograder.run(container)
    assert not (container / "results").exists()
    (container / "source" / "terms.json").unlink()
    with pytest.raises(LessonError, match="lesson gradescope build"):
        autograder.run(container)
