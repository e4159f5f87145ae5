"""A finished figure: pixels, the caption under it, and what it shows in words."""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessonlib.errors import LessonError
from lessonlib.files import write_bytes

if TYPE_CHECKING:
    import matplotlib.figure

WIDTH = 8.0  # inches: a notebook's column
FINE, COARSE = 144, 96  # pixels of the file an inch: lines stay sharp on fine screens, pictures stay small
_SHOWN_DPI = 96  # CSS pixels an inch
_LINE_ART = 5000  # colours: a figure without photographs has fewer

# Okabe and Ito's colours ("Color Universal Design", 2008), the darker ones first: the paper is light.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
PAPER, INK, FAINT = "#FBFAF7", "#222222", "#D8D5CE"

_STYLE = {
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.labelsize": 9.5,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 9.5,
    "grid.color": FAINT,
    "lines.linewidth": 2.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Figure:
    """What the functions of `show` return; a notebook displays it when it is a cell's last value.

    Attributes:
        png: the file's bytes.
        alt: what can be seen, in words.
        caption: what to look for; it is shown as text, so that it can be selected and follows the page's colours.
        width: in CSS pixels.
    """

    png: bytes = field(repr=False)
    alt: str
    caption: str
    width: int

    def _ipython_display_(self) -> None:
        """The picture with its alternative text, and the caption below."""
        from IPython.display import display

        picture = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        display(picture, metadata={"image/png": {"alt": self.alt, "width": self.width}}, raw=True)
        if self.caption:
            display({"text/markdown": f"*{self.caption}*", "text/plain": self.caption}, raw=True)

    def show(self) -> None:
        """Display it from the middle of a cell; a terminal gets the words."""
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            self._ipython_display_()
        else:
            print("\n".join(text for text in (self.alt, self.caption) if text))

    def save(self, path: str | Path) -> None:
        """Write the PNG file.

        Raises:
            LessonError: it cannot be written.
        """
        write_bytes(path, self.png)


def canvas(width: float, height: float) -> matplotlib.figure.Figure:
    """An empty matplotlib figure in the course's style, `width` x `height` inches, belonging to no window."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        return Canvas(figsize=(width, height), layout="constrained")


def style() -> Any:
    """The context in which axes are made and drawn: colours and sizes of the course, nothing left behind."""
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)  # type: ignore[arg-type]


def finish(drawing: matplotlib.figure.Figure, alt: str, caption: str = "", dpi: int = FINE) -> Figure:
    """Turn a drawing into a `Figure` of `dpi` pixels an inch, whatever size it is shown at.

    Raises:
        LessonError: there is no text for those who cannot see it.
    """
    if not alt.strip():
        raise LessonError("A figure needs alt=..., one sentence that says what can be seen in it.")
    stream = io.BytesIO()
    with style():
        drawing.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    width = round(drawing.get_size_inches()[0] * _SHOWN_DPI)
    return Figure(
        _smaller(stream.getvalue(), lines=dpi == FINE),
        " ".join(alt.split()),
        " ".join(caption.split()),
        width,
    )


def _smaller(png: bytes, lines: bool) -> bytes:
    """The same PNG without its alpha channel (the paper is opaque) and as tightly packed as zlib can.

    Where there are `lines` and letters alone, 256 colours stay: only the shades along edges are more, and nobody sees those.
    """
    from PIL import Image

    drawn = Image.open(io.BytesIO(png)).convert("RGB")
    if lines and drawn.getcolors(_LINE_ART) is not None:
        drawn = drawn.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    drawn.save(stream, "PNG", optimize=True)
    return stream.getvalue()
