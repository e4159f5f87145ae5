"""The notebooks that run no model, cell by cell: solved they are solved, unsolved they ask and never fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from lessonlib.grading import tasks
from lessonlib.grading.notebooks import read

NOTEBOOKS = ("01_sdxl", "02_controlnet", "03_ip_adapter")


def run(path: Path) -> None:
    names: dict = {"__name__": "__main__"}
    for cell in read(path.read_text(), path.name).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.id, "exec"), names)


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize(("folder", "said"), [("solutions", ": solved ("), ("exercises", ": your turn (")])
def test_every_cell_runs(
    name: str, folder: str, said: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(root / folder / f"{name}.ipynb")
    text = capsys.readouterr().out
    own = [task for task in tasks.all_tasks() if task.notebook == name]
    assert len(own) >= 6
    assert text.count(said) == len(own)
    reached = sum(task.points for task in own) if folder == "solutions" else 0
    assert f"Your progress: {reached} of" in text
