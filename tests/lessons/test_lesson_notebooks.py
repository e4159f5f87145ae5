"""Running a notebook keeps what it shows and nothing else; the rules notice what should not be kept."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.lessons import training, work
from lessonlib.lessons.address import GITHUB
from lessonlib.lessons.amounts import FEW_MINUTES, TRAINING_MINUTES
from lessonlib.lessons.execution import execute
from lessonlib.lessons.rules import faults
from lessonlib.lessons.shared_cells import fill, sources


def notebook(*code: str):
    cells = [
        new_markdown_cell(id="badge"),
        new_code_cell(id="setup"),
        *(new_code_cell(source, id=f"cell-{index}") for index, source in enumerate(code)),
        new_markdown_cell("## Recap\n\n## References", id="end"),
    ]
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notebooks") / "00_small.ipynb"
    book = notebook(
        "import os\nfrom lessonlib import tier\nfrom lessonlib.lessons import training\n"
        "print(tier(), os.environ['TQDM_DISABLE'], training(3).minutes)",
        "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass",
        "import numpy as np\nfrom lessonlib import show\nshow.grid([np.zeros((64, 64, 3), np.uint8)], ['black'])",
        "row = np.arange(64)\nsky = np.stack(np.broadcast_arrays(4 * row, 255 - 4 * row[:, None], 99), 2).astype(np.uint8)\n"
        "show.grid([sky], ['sky'])",
    )
    book.cells[2].metadata = {"tags": ["kept"], "collapsed": True}
    path.write_text(nbformat.writes(book))
    execute(path, training_minutes=0.25)
    return path


def test_an_executed_notebook_breaks_no_rule(executed: Path) -> None:
    assert faults(executed) == []


def test_outputs_are_kept_and_metadata_is_not(executed: Path) -> None:
    book = nbformat.read(executed, 4)
    cells = {cell.id: cell for cell in book.cells}
    assert cells["cell-0"].outputs[0].text == "tiny 1 0.25\n"
    assert cells["cell-0"].metadata == {"tags": ["kept"]}
    assert cells["cell-1"].outputs == []  # no bar
    picture, caption = cells["cell-2"].outputs[0], cells["cell-2"].outputs[1:]
    assert picture.metadata["image/png"]["alt"] == "1 picture. In order: black."
    assert caption == []
    photo = cells["cell-3"].outputs[0]
    assert photo.metadata["image/jpeg"]["alt"] == "1 picture. In order: sky."
    assert Image.open(io.BytesIO(base64.b64decode(photo.data["image/jpeg"]))).format == "JPEG"
    assert "image/png" not in photo.data
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_the_address_stands_in_the_shared_cells_only(executed: Path) -> None:
    book = nbformat.read(executed, 4)
    holding = {cell.id for cell in book.cells if GITHUB in cell.source}
    assert holding == {"badge", "setup"}


def test_a_failing_cell_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "00_broken.ipynb"
    path.write_text(nbformat.writes(notebook("1 / 0")))
    before = path.read_bytes()
    with pytest.raises(LessonError, match=r"00_broken.ipynb stopped(.|\n)*ZeroDivisionError"):
        execute(path)
    assert path.read_bytes() == before


def test_a_notebook_without_the_shared_cells_is_refused() -> None:
    with pytest.raises(LessonError, match="'badge'"):
        fill(new_notebook(), "00_bare")


def _stderr(book) -> None:
    book.cells[2].outputs.append(new_output("stream", name="stderr", text="Warning: old"))


def _picture_without_words(book) -> None:
    book.cells[4].outputs[0].metadata = {}


def _widget(book) -> None:
    data = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "x"}
    book.cells[2].outputs.append(new_output("display_data", data))


def _error(book) -> None:
    book.cells[2].outputs.append(new_output("error", ename="KeyError", evalue="", traceback=[]))


def _machine(book) -> None:
    book.cells[2].outputs[0].text = f"{Path.home()}/cache\n"


def _not_run(book) -> None:
    book.cells[2].execution_count = None


def _widget_state(book) -> None:
    book.metadata["widgets"] = {}


def _other_setup(book) -> None:
    book.cells[1].source = "pass"


def _large(book) -> None:
    book.cells[2].outputs[0].text = "x" * 1_500_000


def _no_references(book) -> None:
    book.cells[-1].source = "## Recap"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_stderr, "stderr"),
        (_picture_without_words, "alternative text"),
        (_widget, "a widget"),
        (_error, "KeyError"),
        (_machine, "path of this machine"),
        (_not_run, "top to bottom"),
        (_widget_state, "widget state"),
        (_other_setup, "cell setup"),
        (_large, "bytes"),
        (_no_references, "## References"),
    ],
)
def test_every_rule_notices(executed: Path, tmp_path: Path, spoil, said: str) -> None:
    book = nbformat.read(executed, 4)
    spoil(book)
    path = tmp_path / executed.name
    path.write_text(nbformat.writes(book))
    found = faults(path)
    assert len(found) == 1, found
    assert said in found[0]


def test_the_kept_notebooks_break_no_rule(root: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lessonlib.cli",
        "notebooks",
        "check",
        "--folder",
        str(root / "notebooks"),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_an_unknown_notebook_is_named(root: Path) -> None:
    command = [sys.executable, "-m", "lessonlib.cli", "notebooks", "check", "99_none"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert result.returncode == 1
    assert "There is no notebook 99_none" in result.stderr


def test_the_setup_cell_leaves_colabs_torch_alone() -> None:
    setup = sources("00_start_here")["setup"]
    assert "tools/install.py --here" in setup
    assert "pip install" not in setup


@pytest.mark.parametrize("tier", ["tiny", "full"])
def test_work_depends_on_the_tier(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESSON_TIER", tier)
    assert work().batch == {"tiny": 16, "full": 2}[tier]
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "error"


def test_training_takes_its_time_in_a_readers_hands_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training(3).minutes == FEW_MINUTES < 0.1  # the tests' own allowance
    assert training(3).scenes is not None
    monkeypatch.setenv(TRAINING_MINUTES, "5")
    assert training(3) == (3, None)
    monkeypatch.delenv(TRAINING_MINUTES)
    assert training(3) == (3, None)
