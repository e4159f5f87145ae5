"""The two cells that every notebook has: the Colab badge and the set-up, both made from the course's address."""

from __future__ import annotations

from typing import Any

from lessonlib.errors import LessonError
from lessonlib.lessons.address import GITHUB

BADGE, SETUP = "badge", "setup"  # the ids of the two cells


def sources(name: str) -> dict[str, str]:
    """The text of both cells of the notebook called `name` (`00_start_here`)."""
    colab = f"https://colab.research.google.com/github/{GITHUB}/blob/main/notebooks/{name}.ipynb"
    return {
        BADGE: f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})",
        SETUP: f"""\
# On Colab: fetch the course and install it, all but torch, which Colab brings. Elsewhere: nothing to do.
import sys

if "google.colab" in sys.modules:
    !test -d /content/course || git clone --quiet --depth 1 https://github.com/{GITHUB} /content/course
    %cd -q /content/course
    !python tools/install.py --here""",
    }


def fill(book: Any, name: str) -> None:
    """Write both cells into a notebook.

    Raises:
        LessonError: it lacks one of them.
    """
    cells = {cell.get("id"): cell for cell in book.cells}
    for cell_id, source in sources(name).items():
        if cell_id not in cells:
            raise LessonError(
                f"notebooks/{name}.ipynb has no cell with the id '{cell_id}': add an empty one."
            )
        cells[cell_id].source = source
