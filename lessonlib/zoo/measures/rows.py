"""The rows and picture sheets that the report is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lessonlib.judge.intervals import Interval

# metrics of which less is better
LOWER = {"kid", "depth_rmse", "normal_angle", "seam", "shape_gap"}
# metrics that are no share, and how they are written
_FORMATS: dict[str, Callable[[float], str]] = {
    "psnr": "{:.2f} dB".format,
    "normal_angle": "{:.1f}°".format,
    "depth_rmse": "{:.4f}".format,
    "kid": "{:.4f}".format,
    "kid_gain": "{:+.4f}".format,
    "sharpness": "{:.3f}".format,
    "sharpness_gain": "{:+.3f}".format,
    "speedup": "{:.1f} times".format,
    "seam": "{:.2f} times".format,
    "correlation": "{:.2f}".format,
}


@dataclass(frozen=True)
class Row:
    """One measured figure. `bar` is None where none was set."""

    member: str
    metric: str
    split: str
    value: float
    low: float
    high: float
    n: int
    bar: float | None = None
    higher_is_better: bool = True

    @property
    def reached(self) -> bool | None:
        """Whether the value reaches its bar; a gain must lie beyond it with its whole interval."""
        if self.bar is None:
            return None
        if self.metric.endswith("_gain"):
            return self.low > self.bar
        return self.value >= self.bar if self.higher_is_better else self.value <= self.bar


def row(
    member: str, metric: str, split: str, measured: Interval | dict[str, Any], bar: float | None = None
) -> Row:
    """A row of an interval, or of a dictionary with an interval's names."""
    values = measured if isinstance(measured, dict) else measured._asdict()
    better = metric.split(",")[0] not in LOWER
    return Row(
        member, metric, split, values["value"], values["low"], values["high"], values["n"], bar, better
    )


def number(metric: str, value: float) -> str:
    """A figure with its unit; shares in percent. What follows a comma in a metric's name does not change its unit."""
    if math.isnan(value):
        return "unknown"
    return _FORMATS.get(metric.split(",")[0], lambda share: f"{100 * share:.1f} %")(value)


@dataclass(frozen=True)
class Sheet:
    """Pictures for the page: `rows` of equal pictures, uint8 [H, W, 3], each row with its label."""

    name: str
    caption: str
    rows: list[tuple[str, list[np.ndarray]]]
