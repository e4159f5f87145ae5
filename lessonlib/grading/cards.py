"""What a check shows: one card, as HTML in a notebook that is dark or light, as plain text in a terminal."""

from __future__ import annotations

import base64
import html
import io
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Tone = Literal["good", "bad", "note"]

# Text keeps the page's own colour; only the bar is coloured, in tones that stand out from white and from
# black.
_BAR = {"good": "#2e9e5b", "bad": "#d9622b", "note": "#4a86cf"}
_MARK = {"good": "✓", "bad": "✗", "note": "•"}


@dataclass(frozen=True)
class Card:
    """A title, sentences, facts, code, a table and a picture, in this order; each may be absent."""

    tone: Tone
    title: str
    sentences: tuple[str, ...] = ()  # `code` and **bold** are understood
    facts: dict[str, str] = field(default_factory=dict)
    code: str = ""
    table: tuple[tuple[str, ...], ...] = ()  # first row: the headings
    picture: Image | None = None
    caption: str = ""

    def __str__(self) -> str:
        lines = [f"{_MARK[self.tone]} {self.title}"]
        lines += [f"  {_unmarked(sentence)}" for sentence in self.sentences]
        width = max(map(len, self.facts), default=0)
        lines += [f"  {name:<{width}}  {text}" for name, text in self.facts.items()]
        lines += [f"    {line}" for line in self.code.splitlines()]
        if self.table:
            widths = [max(map(len, column)) for column in zip(*self.table, strict=True)]
            for row in self.table:
                cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
                lines.append("  " + "  ".join(cells).rstrip())
        return _printable("\n".join(lines))

    __repr__ = __str__  # what an IPython terminal prints

    def _repr_html_(self) -> str:
        parts = [f"<div><strong>{_MARK[self.tone]} {_escape(self.title)}</strong></div>"]
        parts += [f"<div style='margin-top:4px'>{inline(sentence)}</div>" for sentence in self.sentences]
        if self.facts:
            rows = "".join(
                f"<tr><td style='{_CELL}; opacity:.75'>{_escape(name)}</td>"
                f"<td style='{_CELL}'><code style='{_CODE}'>{_escape(text)}</code></td></tr>"
                for name, text in self.facts.items()
            )
            parts.append(f"<table style='{_TABLE}'>{rows}</table>")
        if self.code:
            parts.append(f"<pre style='margin:6px 0; padding:8px; {_CODE}'>{_escape(self.code)}</pre>")
        if self.table:
            head, *body = self.table
            rows = "".join(f"<th style='{_CELL}'>{_escape(cell)}</th>" for cell in head)
            for row in body:
                rows += "</tr><tr>" + "".join(f"<td style='{_CELL}'>{_escape(cell)}</td>" for cell in row)
            parts.append(f"<table style='{_TABLE}'><tr>{rows}</tr></table>")
        if self.picture is not None:
            parts.append(
                f"<div style='margin-top:6px'><img alt='{_escape(self.caption)}' "
                f"src='{_data_url(self.picture)}'>"
                f"<div style='opacity:.75'>{_escape(self.caption)}</div></div>"
            )
        return (
            f"<div style='border-left:4px solid {_BAR[self.tone]}; background:rgba(128,128,128,.1); "
            "color:inherit; "
            f"padding:8px 12px; margin:4px 0; line-height:1.45; text-align:left'>{''.join(parts)}</div>"
        )


def show(card: Card) -> None:
    """Display a card: rich in a notebook, as text on a terminal."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display(card)
    else:
        print(card)


_CELL = "padding:2px 16px 2px 0; text-align:left; background:transparent; color:inherit; border:none"
_TABLE = "margin:6px 0 0 0; border-collapse:collapse; background:transparent; color:inherit"
_CODE = "background:rgba(128,128,128,.14); color:inherit; white-space:pre-wrap"


def _escape(text: str) -> str:
    """Nothing a student can name is markup or a terminal escape: it is shown as it is written."""
    return html.escape(_printable(text), quote=True)


def inline(text: str) -> str:
    """A sentence as HTML: `code` and **bold** are understood, everything else is shown as it is written."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", _escape(text))
    return re.sub(r"`(.+?)`", rf"<code style='{_CODE}'>\1</code>", text)


def _unmarked(text: str) -> str:
    return text.replace("**", "").replace("`", "")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def _data_url(picture: Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
