"""A notebook that was run without a front end keeps words and pictures of the widgets, and nothing else of them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lessonlib.lessons.execution import execute
from lessonlib.lessons.rules import faults

CELLS = {
    "quiz": """\
from PIL import Image
from lessonlib.widgets import guess, live, quiz, scribble
prediction = quiz("q", "Which is <faster>?", ["turbo", "LCM"], 1, "Because of the steps.")
prediction""",
    "guess": 'number = guess("g", "How many steps?", 0, 12, "steps")\nnumber',
    "canvas": 'sketch = scribble((32, 32), Image.new("RGB", (32, 32), "white"))\nsketch',
    "live": 'live(lambda level: Image.new("RGB", (32, 32), (level, 0, 0)), level=(0, 255))',
    "read": "print(prediction.value, number.value, sketch.image.getpixel((0, 0)))",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notebooks") / "00_small.ipynb"
    cells = [new_markdown_cell(id="badge"), new_code_cell(id="setup")]
    cells += [new_code_cell(source, id=name) for name, source in CELLS.items()]
    cells += [new_markdown_cell("## Recap\n\n## References")]
    path.write_text(nbformat.writes(new_notebook(cells=cells)))
    execute(path)
    return path


def test_it_breaks_no_rule(stored: Path) -> None:
    assert faults(stored) == []


def test_it_reads_well_without_a_kernel(stored: Path) -> None:
    outputs = {cell.id: cell.outputs for cell in nbformat.read(stored, 4).cells if cell.cell_type == "code"}
    assert outputs["read"][0].text == "None None (255, 255, 255)\n"
    for name in ("quiz", "guess", "canvas", "live"):
        (output,) = outputs[name]
        assert set(output.data) == {"text/html", "text/plain"}
        assert output.metadata == {}
    words = outputs["quiz"][0].data["text/plain"]
    for said in ("Predict, then run", "Which is <faster>?", "A. turbo", "B. LCM"):
        assert said in words
    assert "Because" not in str(outputs["quiz"])
    assert "Which is &lt;faster&gt;?" in outputs["quiz"][0].data["text/html"]
    for name in ("canvas", "live"):
        assert "<img alt='The " in outputs[name][0].data["text/html"]
