"""A training loop that keeps to a clock: it learns for the minutes it was given and measures itself on the way."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lessonlib
from lessonlib.files import replacing, write_text
from lessonlib.models import store
from lessonlib.zoo.training import Step

MEASURING = 0.25  # share of the time that the points of the curve may take


@dataclass(frozen=True)
class Point:
    """One point of a learning curve: when, after how many steps, mean loss since the last point, what was measured."""

    seconds: float
    step: int
    loss: float | None
    measured: dict[str, float]


def learn(
    groups: Sequence[dict[str, Any]],
    loss: Callable[[Step], Tensor],
    measure: Callable[[], dict[str, float]],
    minutes: float,
    *,
    seed: int = 0,
    points: int = 8,
    prepare: Callable[[], None] | None = None,
    on_point: Callable[[Point], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Point]:
    """Train by AdamW for `minutes`, measuring included, and return the learning curve.

    The learning rates warm up over the first 3 % of the time and fall to zero along a cosine. Step k draws from (seed, k)
    alone.

    Args:
        groups: what `torch.optim.AdamW` takes: {"params": ..., "lr": ...} each.
        measure: named figures of the present state; called first before training, last after it, `points` times in all
            (fewer where that would take more than a quarter of the time).
        prepare: done after the first point and before the first step, within the time; a point of the curve follows it.
        clock: seconds that only grow.
    """
    rates = [group["lr"] for group in groups]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    started = clock()
    curve: list[Point] = []
    losses: list[float] = []
    step = 0

    def mark() -> None:
        mean = float(np.mean(losses)) if losses else None
        curve.append(Point(clock() - started, step, mean, measure()))
        losses.clear()
        on_point(curve[-1])

    mark()
    last = clock() - started  # seconds that the last measurement took: it must fit at the end
    # where measuring is slow there are fewer points: most of the time is for training
    points = max(2, min(points, 1 + int(MEASURING * 60 * minutes / max(last, 1e-6))))
    if prepare is not None:
        prepare()
        mark()
    while (done := (clock() - started + last) / (60 * minutes)) < 1:
        if done >= len(curve) / (points - 1):
            before = clock()
            mark()
            last = clock() - before
            continue
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, done / 0.03 + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
        entropy = np.random.SeedSequence([seed, step])
        draws = Step(
            step,
            np.random.default_rng(entropy),
            torch.Generator().manual_seed(int(entropy.generate_state(1)[0])),
            parameters[0].device,
        )
        value = loss(draws)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(value.detach()))
        step += 1
    mark()
    return curve


def kept() -> Path:
    """Where what students' trainings compute once is kept: in the user's cache, apart for every release."""
    return store.cache_root() / "student" / lessonlib.__version__


def line(point: Point, main: str) -> str:
    """One line of text: the time, the step, the loss, every figure, and the figure `main` as a bar of 20 cells."""
    cells = round(20 * min(1.0, max(0.0, point.measured[main])))
    loss = "" if point.loss is None else f"  loss {point.loss:.4f}"
    figures = "  ".join(f"{name} {value:.2f}" for name, value in point.measured.items())
    return f"{point.seconds:5.0f} s  step {point.step:5d}  {'█' * cells:<20}  {figures}{loss}"


def save_curve(curve: Sequence[Point], folder: Path) -> None:
    """`curve.json` and `curve.png` in `folder`."""
    write_text(folder / "curve.json", json.dumps([asdict(point) for point in curve], indent=1) + "\n")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name in curve[0].measured:
        axes.plot([p.seconds for p in curve], [p.measured[name] for p in curve], marker="o", ms=3, label=name)
    axes.set(xlabel="seconds", ylim=(0, None))
    axes.legend()
    with replacing(folder / "curve.png") as temporary:
        figure.savefig(temporary, dpi=120)
