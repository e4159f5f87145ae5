"""What must hold for every notebook that is kept with its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lessonlib.grading.notebooks import read
from lessonlib.lessons.shared_cells import sources

LARGEST = 1_500_000  # bytes: GitHub still draws it, and git still likes it
SECTIONS = ("## Recap", "## References")


def faults(path: Path) -> list[str]:
    """One sentence for each rule that the notebook breaks; none if all is well.

    Raises:
        LessonError: it is no notebook.
    """
    text = path.read_text(encoding="utf-8")
    return list(_faults(read(text, path.name), path.stem, len(text.encode())))


def _faults(book: Any, name: str, size: int) -> Iterator[str]:
    if size > LARGEST:
        yield f"it has {size:,} bytes: {LARGEST:,} are allowed."
    if "widgets" in book.metadata:
        yield "its metadata holds widget state, which keeps GitHub from drawing it."
    shared = {cell.get("id"): cell.source for cell in book.cells}
    for cell_id, source in sources(name).items():
        if shared.get(cell_id) != source:
            yield f"its cell {cell_id} is not the one that all notebooks share: `lesson notebooks run` writes it."
    prose = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    for section in SECTIONS:
        if section not in prose:
            yield f"it has no section '{section}'."
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    if [cell.get("execution_count") for cell in code] != list(range(1, len(code) + 1)):
        yield "its cells were not run once each, from top to bottom: `lesson notebooks run` does."
    for cell in code:
        for output in cell.outputs:
            yield from (f"cell {cell.get('id')}: {fault}" for fault in _output_faults(output))


def _output_faults(output: Any) -> Iterator[str]:
    if output.output_type == "error":
        yield f"it ended with {output.ename}."
    if output.get("name") == "stderr":
        yield f"it wrote to stderr: {output.text.strip()[:80]!r}."
    data = output.get("data", {})
    if any("widget" in kind for kind in data):
        yield "a widget, which shows nothing where no kernel runs, is among its outputs."
    for kind in data:
        if kind.startswith("image/") and not output.metadata.get(kind, {}).get("alt"):
            yield "a picture has no alternative text: lessonlib.show attaches one."
    texts = [output.get("text", ""), *(value for kind, value in data.items() if kind.startswith("text/"))]
    here = (str(Path.home()), str(Path(__file__).parents[2]))
    if any(place in text for text in texts for place in here if place != "/"):
        yield "a path of this machine is among its outputs."
