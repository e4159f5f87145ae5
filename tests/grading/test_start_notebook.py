"""The first exercise notebook with random weights: unsolved it is kind, solved it makes pictures."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from random_models import make_store, random_sd15

from lessonlib.grading.notebooks import read

NOTEBOOK = "00_start_here.ipynb"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd15")
    random_sd15().save_pretrained(folder / "whole")
    make_store(folder / "whole", folder / "weights")
    return folder


@pytest.fixture
def run(store: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a notebook's code cells in order and returns their names."""
    monkeypatch.setenv("LESSON_WEIGHTS", str(store / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(store / "cache"))
    monkeypatch.setenv("LESSON_TIER", "tiny")
    mpl.use("agg")

    def run_notebook(folder: str, **replaced: str) -> dict:
        names: dict = {"__name__": "__main__"}
        for cell in read((root / folder / NOTEBOOK).read_text(), NOTEBOOK).cells:
            if cell.cell_type == "code":
                exec(compile(replaced.get(cell.id, cell.source), cell.id, "exec"), names)
        return names

    return run_notebook


def test_unsolved_every_cell_runs_and_asks_for_the_solution(run, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("exercises")
    text = capsys.readouterr().out
    assert "your turn" in text
    assert text.count("solve the exercise first") == 2
    assert "Your progress: 0 of" in text
    assert "sample" not in names


def test_solved_the_students_function_makes_the_pipelines_picture(
    run, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    names = run("solutions")
    text = capsys.readouterr().out
    assert "solved (10 of 10 points)" in text
    assert "Your progress: 10 of" in text
    prompt, pipe = "a red apple on the beach, 3d style", names["pipe"]
    for guidance_scale in (1, 4):
        mine = np.asarray(names["sample"](prompt, guidance_scale, steps=5, seed=3), dtype=int)
        theirs = pipe(
            prompt,
            num_inference_steps=5,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(3),
        ).images[0]
        assert np.abs(mine - np.asarray(theirs, dtype=int)).max() <= 1
    figure = names["figure"]
    assert [axis.get_title() for axis in figure.axes] == [f"guidance_scale = {scale}" for scale in (1, 4, 8)]


def test_a_wrong_answer_is_not_used_further_down(run, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = (
        '@exercise("cfg")\ndef classifier_free_guidance(noise_pred, guidance_scale):\n    return noise_pred'
    )
    names = run("exercises", **{"cfg-answer": wrong})
    text = capsys.readouterr().out
    assert "The shape is not right." in text
    assert "sample" not in names


def test_the_solved_notebook_carries_no_traces_of_a_machine(root: Path) -> None:
    book = json.loads((root / "solutions" / NOTEBOOK).read_text())
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)
    assert "widgets" not in book["metadata"]
