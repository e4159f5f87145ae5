"""Text that a student can name, made harmless wherever it goes."""

from __future__ import annotations

import hashlib
import re

FORMULA = ("=", "+", "-", "@")


def printable(text: str) -> str:
    """No control characters, terminal escapes or changes of writing direction; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def cell(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula; numbers stay numbers."""
    clean = printable(text)
    # Full-width signs are formulas to some spreadsheets too, and so is what stands behind blanks.
    start = clean.lstrip().translate({0xFF1D: "=", 0xFF0B: "+", 0xFF0D: "-", 0xFF20: "@"})
    return f"'{clean}" if start.startswith(FORMULA) and not _number(clean) else clean


def slug(name: str) -> str:
    """A file name for anything: what is not plain is replaced, and a digest keeps two names apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60]
    if plain == name and plain:
        return plain
    return f"{plain or 'student'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) is not None
