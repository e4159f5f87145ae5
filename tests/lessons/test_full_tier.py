"""Every notebook's code in the full tier's branch, with a random model of 64 pixels for the real checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lessonlib.grading.notebooks import notebooks, read

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", notebooks(ROOT / "notebooks"), ids=lambda path: path.stem)
def test_every_cell_runs(
    path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    from lessonlib.lessons import amounts
    from lessonlib.models import catalogue

    # the real checkpoint names another sampler than the tiny one
    settings = checkpoint / "scheduler/scheduler_config.json"
    config = json.loads(settings.read_text()) | {"_class_name": "PNDMScheduler", "skip_prk_steps": True}
    settings.write_text(json.dumps(config))
    monkeypatch.setenv("LESSON_TIER", "full")
    monkeypatch.setenv("LESSON_STATE", str(tmp_path))
    monkeypatch.setattr(catalogue, "repo", lambda name: str(checkpoint))
    monkeypatch.setitem(amounts._WORK, "full", amounts.Work(steps=4, prompts=4, batch=2))

    names: dict = {"__name__": "__main__"}
    for cell in read(path.read_text(encoding="utf-8"), path.name).cells:
        if cell.cell_type == "code":
            source = TransformerManager().transform_cell(cell.source)
            exec(compile(source, f"{path.name}, cell {cell.id}", "exec"), names)
    assert names["tier"]() == "full"
