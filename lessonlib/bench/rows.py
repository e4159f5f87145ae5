"""A figure, what it is compared with, and the two files they are written to."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lessonlib.errors import LessonError
from lessonlib.files import write_text


@dataclass(frozen=True)
class Row:
    """One figure. `ratio` is value / the value of the row named `against`, both measured in turns.

    `value` is None where there is no figure; then `note` says why. Otherwise `note` adds to the value.
    """

    name: str
    value: float | None
    unit: str
    against: str | None = None
    ratio: float | None = None
    device: str = "cpu"
    note: str | None = None


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call. On a GPU, `work` must end in numbers on the CPU, as pictures do."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Median seconds of each, and the median of the ratios first / second, after one warm-up of both."""
    first()
    second()
    return medians([(seconds(first), seconds(second)) for _ in range(rounds)])


def medians(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Median of the first, of the second, and of first / second."""
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    return first, second, statistics.median(a / b for a, b in pairs)


def machine() -> str:
    """What the figures were measured on, without naming anybody's computer."""
    import os

    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"
    )


def write(rows: Sequence[Row], docs: Path) -> list[Path]:
    """`bench.json` and `bench.md`."""
    table = [asdict(row) for row in rows]
    write_text(docs / "bench.json", json.dumps({"machine": machine(), "rows": table}, indent=1) + "\n")
    lines = [
        "# Speed and memory",
        "",
        f"Written by `lesson bench` on: {machine()}. Medians; a ratio compares two things that took turns in one run.",
        "How each was measured stands in the docstrings of `lessonlib/bench/`.",
        "",
        "| what | measured | ratio | against |",
        "|---|---|---|---|",
        *(line(row) for row in rows),
    ]
    if not any(row.device == "cuda" for row in rows):
        lines += ["", "No GPU took part: the full-size models' figures have not been measured yet."]
    write_text(docs / "bench.md", "\n".join(lines) + "\n")
    return [docs / "bench.json", docs / "bench.md"]


def read(docs: Path) -> list[Row]:
    """The rows that `write` wrote there; none if there is no file.

    Raises:
        LessonError: the file is damaged.
    """
    path = docs / "bench.json"
    try:
        return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LessonError(
            f"{path} cannot be read ({error}): delete it, and `lesson bench` writes it."
        ) from error


def line(row: Row) -> str:
    """A row of the Markdown table."""
    value = "" if row.value is None else f"{row.value:.3g} {row.unit}".rstrip()
    value = f"{value} ({row.note})" if value and row.note else value or row.note
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return f"| {row.name} | {value} | {ratio} | {row.against or ''} |"
