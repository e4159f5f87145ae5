"""How far the judge itself can be trusted: its answers on real scenes, whose truth is known.

These figures are the ceilings of whatever the zoo's report says of generated pictures.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lessonlib.judge.depth import depth_rmse
from lessonlib.judge.intervals import Interval, bootstrap_mean
from lessonlib.judge.kid import kid
from lessonlib.judge.loading import Judge, load_judge
from lessonlib.judge.normals import normal_angle
from lessonlib.judge.pose import pck
from lessonlib.judge.scoring import score
from lessonlib.judge.segmentation import mean_iou
from lessonlib.judge.verdict import Verdict
from lessonlib.world.render import Rendered, render
from lessonlib.world.scene import Scene, sample

# the rows' splits; "seen" and "held-out" are single objects, so that they can be compared
SPLITS = ("seen", "held-out", "pair", "person", "scenery")


def evaluate_real(n: int = 300, seed: int = 0, judge: Judge | None = None) -> list[dict[str, Any]]:
    """Judge `n` real scenes of each split and compare with the truth.

    Returns:
        Rows {metric, split, value, low, high, n}: shares for the questions of `scoring.score`, and over all
        splits "depth_rmse", "normal_angle" (degrees), "miou", "pck" (at 0.1 of the person's box) and "kid" of
        one half of the seen scenes against the other, all with 95 % intervals. No training run used these
        seeds.
    """
    judge = judge or load_judge()
    rows: list[dict[str, Any]] = []
    dense: dict[str, list[float]] = {"depth_rmse": [], "normal_angle": [], "miou": [], "pck": []}
    for split in SPLITS:
        drawn = [render(scene) for scene in real_scenes(split, n, seed)]
        scored = score([picture.image for picture in drawn], [picture.scene for picture in drawn], judge)
        rows += scored.rows(split)
        for truth, verdict in zip(drawn, scored.verdicts, strict=True):
            for name, value in dense_errors(truth, verdict).items():
                dense[name].append(value)
        if split == "seen" and n >= 4:
            features = np.stack([verdict.features for verdict in scored.verdicts])
            rows.append(_row("kid", split, kid(features[0::2], features[1::2], seed)))
    return [*rows, *(_row(name, "all", bootstrap_mean(values)) for name, values in dense.items() if values)]


def real_scenes(split: str, n: int, seed: int) -> list[Scene]:
    """`n` fresh scenes of a split of `SPLITS`; the stream of seeds is one that no training uses."""
    rng = np.random.default_rng([seed, SPLITS.index(split), 0x1A5])
    if split == "held-out":
        return [sample(rng, split="held-out") for _ in range(n)]
    return [sample(rng, "single" if split == "seen" else split) for _ in range(n)]  # type: ignore[arg-type]


def dense_errors(truth: Rendered, verdict: Verdict) -> dict[str, float]:
    """How depth, normals, classes and a person's key points compare with the truth, at the judge's cells."""
    rows, columns = verdict.depth.shape

    def cells(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA)

    normals = cells(truth.normals)
    classes = cv2.resize(truth.classes, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT)
    errors = {
        "depth_rmse": depth_rmse(verdict.depth, cells(truth.depth)),
        "normal_angle": normal_angle(
            verdict.normals, normals / np.linalg.norm(normals, axis=2, keepdims=True)
        ),
        "miou": mean_iou(verdict.classes, classes),
    }
    if truth.keypoints is not None and truth.boxes[0] is not None:
        x0, y0, x1, y1 = truth.boxes[0]
        height, width = truth.classes.shape
        visible = np.all((truth.keypoints >= 0) & (truth.keypoints < (width, height)), axis=1)
        found = verdict.person and verdict.person.keypoints
        errors["pck"] = pck(found, truth.keypoints, max(x1 - x0, y1 - y0), visible)
    return errors


def _row(metric: str, split: str, interval: Interval) -> dict[str, Any]:
    return {"metric": metric, "split": split, **interval._asdict()}
