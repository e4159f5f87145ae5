"""A picture that is made anew as its controls move, always for where they stand now."""

from __future__ import annotations

import inspect
import io
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
from ipywidgets.widgets.widget_description import DescriptionWidget
from PIL import Image
from traitlets import Bytes, Unicode

from lessonlib.errors import LessonError
from lessonlib.grading.cards import Card
from lessonlib.widgets.canvas import Canvas
from lessonlib.widgets.fallback import CSS, Fallback

_RECENT = 10  # pictures over which the rate is averaged


def live(make: Callable[..., Image.Image], /, **controls: Any) -> Live:
    """Show `make(**values)`, and make it anew as the controls move.

    Moves that arrive while a picture is being made are not queued: the next picture is made for the latest values.
    Pictures after the first are made in a thread beside the cells; what goes wrong there is told in one sentence.

    Args:
        make: takes the controls by name and returns a picture. Its defaults are where the controls start.
        controls: in the short forms of `ipywidgets.interact`: (low, high) or (low, high, step) is a slider, a text
            an input line, a list a selection, True or False a box to tick; or any widget with a value, `scribble`'s too.

    Raises:
        LessonError: a control is none of these, or the first picture is none.
        Exception: whatever `make` raises for the first picture, which is made at once.
    """
    if not controls:
        raise LessonError("live(make) needs at least one control, such as strength=(0.0, 1.0).")
    return Live(make, {name: _control(make, name, form) for name, form in controls.items()})


class Live(Fallback, ipywidgets.VBox):
    """The widget of `live`.

    Attributes:
        controls: name -> its widget.
        image: the latest picture.
    """

    def __init__(self, make: Callable[..., Image.Image], controls: dict[str, Any]) -> None:
        self._make, self.controls = make, controls
        self._screen = Screen()
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._lock = threading.Lock()
        self._wanted: dict[str, Any] | None = None  # the latest values for which no picture was begun
        self._worker: threading.Thread | None = None
        self._show(self.values)
        canvases = [control for control in controls.values() if isinstance(control, Canvas)]
        others = [control for control in controls.values() if not isinstance(control, Canvas)]
        longest = max(map(len, controls))
        for control in others:
            if isinstance(control, DescriptionWidget):
                control.style.description_width = f"{longest + 2}ch"  # pyright: ignore[reportAttributeAccessIssue]
        pictures = ipywidgets.HBox([*canvases, self._screen], layout={"flex_flow": "row wrap"})
        super().__init__([*others, pictures])
        for control in controls.values():
            control.observe(self._moved, "value")

    @property
    def values(self) -> dict[str, Any]:
        """Where the controls stand, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def _moved(self, _change: Any) -> None:
        with self._lock:
            self._wanted = self.values
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, daemon=True)
                self._worker.start()

    def _work(self) -> None:
        """Make pictures until there is one for the latest values."""
        while True:
            with self._lock:
                values, self._wanted = self._wanted, None
                if values is None:
                    self._worker = None
                    return
            try:
                self._show(values)
            except Exception as error:
                self._screen.problem = _sentence(error)

    def _show(self, values: dict[str, Any]) -> None:
        begun = time.perf_counter()
        picture = self._make(**values)
        if not isinstance(picture, Image.Image):
            raise LessonError(f"live(make) shows PIL pictures, and make returned {type(picture).__name__}.")
        png = _png(picture)
        self._seconds.append(time.perf_counter() - begun)
        self.image = picture
        told = ", ".join(f"{name} {value}" for name, value in _told(values).items())
        rate = len(self._seconds) / sum(self._seconds)
        with self._screen.hold_sync():
            self._screen.png = png
            self._screen.alt = f"The picture made for {told}." if told else "The picture made."
            self._screen.rate = f"{rate:.{0 if rate >= 10 else 1}f} pictures a second"
            self._screen.problem = ""

    def card(self) -> Card:
        facts = {name: str(value) for name, value in _told(self.values).items()}
        sentence = "Run this cell to move the controls; the picture follows."
        return Card(
            "note", "Live", (sentence,), facts, picture=self.image, caption="The picture for these values."
        )


class Screen(anywidget.AnyWidget):
    """The picture of `live` with its alternative text, how fast pictures are made, and what went wrong."""

    _esm = Path(__file__).with_name("screen.js")
    _css = CSS

    png = Bytes().tag(sync=True)
    alt = Unicode().tag(sync=True)
    rate = Unicode().tag(sync=True)
    problem = Unicode().tag(sync=True)


def _control(make: Callable[..., Any], name: str, form: Any) -> Any:
    """The widget for one of the short forms, starting at `make`'s default."""
    parameter = inspect.signature(make).parameters.get(name)
    default = inspect.Parameter.empty if parameter is None else parameter.default
    try:
        control = ipywidgets.interactive.widget_from_abbrev(form, default)
    except ValueError as error:
        raise LessonError(f"live({name}={form!r}) is no range: {error}.") from error
    if not isinstance(control, ipywidgets.ValueWidget):
        raise LessonError(
            f"live({name}={form!r}) is no control: give (low, high), a text, a list, True or False, or a widget."
        )
    if isinstance(control, DescriptionWidget):
        control.description = control.description or name
        control.layout.width, control.layout.max_width = "38em", "100%"  # pyright: ignore[reportAttributeAccessIssue]
    return control


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """Those that can be said in words."""
    return {name: value for name, value in values.items() if not isinstance(value, Image.Image)}


def _sentence(error: Exception) -> str:
    if isinstance(error, LessonError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"No picture for these values: {type(error).__name__}{': ' + lines[0] if lines else ''}."


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG", compress_level=1)  # quick; it only travels to the browser
    return stream.getvalue()
