"""Running a notebook from top to bottom and keeping its outputs."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.grading.notebooks import METADATA, read
from lessonlib.lessons.amounts import FEW_MINUTES, TRAINING_MINUTES
from lessonlib.lessons.shared_cells import fill

# No bars, no downloads, and no GPU: the tier is the tiny one, as on a reader's laptop.
_SETTINGS = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def execute(path: Path, seconds_a_cell: int = 600, training_minutes: float = FEW_MINUTES) -> None:
    """Run the notebook in a fresh kernel, in the tiny tier, and write it back with its outputs.

    A training cell takes `training_minutes` at most, whatever it gives a reader.

    Widgets, versions and timings are left out, so that a second run changes nothing but what was computed.

    Raises:
        LessonError: a cell fails, and the file is left as it was.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    book: Any = read(path.read_text(encoding="utf-8"), path.name)
    fill(book, path.stem)
    client = NotebookClient(
        book,
        timeout=seconds_a_cell,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
    )
    with tempfile.TemporaryDirectory() as state:
        try:
            kept = {name: value for name, value in os.environ.items() if name != "LESSON_TIER"}
            minutes = {TRAINING_MINUTES: str(training_minutes)}
            client.execute(env={**kept, **_SETTINGS, **minutes, "LESSON_STATE": state})
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise LessonError(f"{path.name} stopped: {str(error).strip()}") from error
    book.metadata = nbformat.from_dict(METADATA)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [_lighter(kept) for output in cell.outputs if (kept := _without_widget(output))]
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
    write_text(path, nbformat.writes(book) + "\n")


def _without_widget(output: Any) -> Any | None:
    """Widgets live in the kernel: without it, only what one says in HTML beside itself is left to see."""
    data = output.get("data", {})
    if not any("widget" in kind for kind in data):
        return output
    if "text/html" not in data:
        return None
    output.data = {kind: value for kind, value in data.items() if "widget" not in kind}
    output.metadata = {kind: value for kind, value in output.metadata.items() if "widget" not in kind}
    return output


def _lighter(output: Any) -> Any:
    """A picture of many colours as JPEG: half the bytes, and nobody tells it from the PNG that a reader's own run shows."""
    from PIL import Image

    data = output.get("data", {})
    if "image/png" not in data:
        return output
    drawn = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    if drawn.getcolors() is not None:  # 256 at most: lines and letters
        return output
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", quality=88, subsampling=0, optimize=True, progressive=True)
    del data["image/png"]
    data["image/jpeg"] = base64.b64encode(stream.getvalue()).decode()
    output.metadata["image/jpeg"] = output.metadata.pop("image/png", {})
    return output
