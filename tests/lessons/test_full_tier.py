"""Every notebook's code in the full tier's branch, with a random model of 64 pixels for each real checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import stand_in

from lessonlib.grading.notebooks import notebooks, read
from lessonlib.models import store
from lessonlib.models.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
BOOKS = notebooks(ROOT / "notebooks")


def test_every_real_checkpoint_has_a_stand_in(stand_ins: Path) -> None:
    members = store.members(stand_ins / "weights")
    assert {row.tiny for row in CATALOGUE.values()} <= set(members)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(
    path: Path, stand_ins: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch
    from IPython.core.inputtransformer2 import TransformerManager

    from lessonlib.lessons import amounts
    from lessonlib.models import catalogue

    monkeypatch.setenv("LESSON_TIER", "full")
    monkeypatch.setenv("LESSON_STATE", str(tmp_path))
    monkeypatch.setenv("LESSON_CACHE", str(stand_ins / "cache"))
    monkeypatch.setattr(catalogue, "repo", lambda name: stand_in(name, stand_ins))
    small = amounts.Work(steps=4, prompts=4, batch=2, latents=(8, 16, 24))
    monkeypatch.setitem(amounts._WORK, "full", small)
    monkeypatch.chdir(tmp_path)

    names: dict = {"__name__": "__main__"}
    with torch.compiler.set_stance("force_eager"):  # compiled code is run, not compiled
        for cell in read(path.read_text(encoding="utf-8"), path.name).cells:
            if cell.cell_type == "code":
                source = TransformerManager().transform_cell(cell.source)
                exec(compile(source, f"{path.name}, cell {cell.id}", "exec"), names)
    assert names["tier"]() == "full"
