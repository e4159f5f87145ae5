"""The SDXL family: what sd15 is measured by, what micro-conditioning does, and what the refiner adds at equal steps."""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lessonlib.judge import Judge
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.intervals import Interval, bootstrap_mean
from lessonlib.judge.kid import kid, kid_difference
from lessonlib.judge.sharpness import sharpness
from lessonlib.judge.verdict import Verdict
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.world.scene import Scene
from lessonlib.zoo.measures import generated
from lessonlib.zoo.measures.compared import sharpness_gain
from lessonlib.zoo.measures.generated import (
    BATCH,
    GUIDANCE,
    STEPS,
    Tick,
    answers,
    first_sixteen,
    plain_captions,
)
from lessonlib.zoo.measures.rows import Row, Sheet, row
from lessonlib.zoo.measures.sd15 import BARS, SPLITS
from lessonlib.zoo.micro import BUCKETS

MEMBERS = ("sdxl-base", "sdxl-refiner")
ORIGINALS = (32, 64, 96, 128)  # pixels
SHIFTS = (0, 16, 32)  # pixels cut off on the left
WITHIN = 0.03  # of the square's figures
HANDOVER = 0.8  # of the steps are the base's


@dataclass(frozen=True)
class Plain:
    """Fresh single objects and the base's pictures of them with the default ids, which each comparison starts from."""

    scenes: list[Scene]
    prompts: list[str]
    made: np.ndarray


def _few(n: int) -> int:
    """Pictures that are compared pair by pair need fewer prompts."""
    return max(4, n // 3)


def pictures(n: int) -> int:
    """Those of the splits, the plain ones, those of sizes, shifts and shapes, and the refiner's."""
    refined = n if "sdxl-refiner" in store.members() else 0
    compared = (len(ORIGINALS) - 1 + len(SHIFTS) - 1) * _few(n) + (len(BUCKETS) - 1) * n
    return (len(SPLITS) + 1) * n + compared + refined


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """Base, micro-conditioning, and the refiner if it is shipped."""
    base = loaded()
    rows: list[Row] = []
    sheets: list[Sheet] = []
    for split in SPLITS:
        scenes = real_scenes(split, n, seed)
        prompts = plain_captions(scenes)
        made = drawn(base, prompts, seed, tick)
        rows += answers("sdxl-base", split, made, scenes, judge, BARS)
        sheets.append(first_sixteen(f"sdxl-base-{split}", f"sdxl-base, {split}", prompts, made))
    scenes = real_scenes("seen", n, seed + 1)  # other prompts than above: the same ones would count twice
    prompts = plain_captions(scenes)
    plain = Plain(scenes, prompts, drawn(base, prompts, seed, tick))
    parts = [_sizes, _shifts, _shapes, *([_refined] if "sdxl-refiner" in store.members() else [])]
    for part in parts:
        more, sheet = part(base, plain, seed, judge, tick)
        rows += more
        sheets.append(sheet)
    return rows, sheets


def loaded() -> Any:
    """The shipped base."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(store.unfold("sdxl-base"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline: Any, prompts: Sequence[str], seed: int, tick: Tick, **settings: Any) -> np.ndarray:
    """Pictures at the report's steps and guidance; what `settings` say comes on top."""
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE} | settings
    return generated.pictures(pipeline, prompts, 1000 * seed, tick, **settings)


def _sizes(base: Any, plain: Plain, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], Sheet]:
    """Sharpness by `original_size`; the negative prompt is told the same, so that guidance does not undo it."""
    count = _few(len(plain.prompts))
    sets = {
        side: drawn(
            base,
            plain.prompts[:count],
            seed,
            tick,
            original_size=(side, side),
            negative_original_size=(side, side),
        )
        for side in ORIGINALS[:-1]
    } | {ORIGINALS[-1]: plain.made[:count]}  # the default
    rows = [
        row(
            "sdxl-base",
            "sharpness",
            f"original_size {side}",
            bootstrap_mean([sharpness(one) for one in made]),
        )
        for side, made in sets.items()
    ]
    rows += [
        row("sdxl-base", "sharpness_gain", f"original_size {a} to {b}", sharpness_gain(sets[b], sets[a]), 0.0)
        for a, b in pairwise(ORIGINALS)
    ]
    sheet = Sheet(
        "sdxl-base-original-size",
        f"sdxl-base, original_size {', '.join(map(str, ORIGINALS))} from top to bottom, the first 8 seeds.",
        [(str(side), list(made[:8])) for side, made in sets.items()],
    )
    return rows, sheet


def _shifts(base: Any, plain: Plain, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], Sheet]:
    """How far the subject moves left when the picture is said to be cropped there."""
    count = _few(len(plain.prompts))
    sets = [plain.made[:count]]
    for shift in SHIFTS[1:]:
        ids = {"crops_coords_top_left": (0, shift), "negative_crops_coords_top_left": (0, shift)}
        sets.append(drawn(base, plain.prompts[:count], seed, tick, **ids))
    names = [scene.things[0].name for scene in plain.scenes[:count]]
    places = [centres(judge.judge(list(made)), names) for made in sets]
    sheet = Sheet(
        "sdxl-base-crops",
        f"sdxl-base, crops_coords_top_left (0, {'), (0, '.join(map(str, SHIFTS))}) from top to bottom, the first 8 seeds.",
        [(str(shift), list(made[:8])) for shift, made in zip(SHIFTS, sets, strict=True)],
    )
    asked_and_moved = [
        (shift, first - there)
        for shift, place in zip(SHIFTS, places, strict=True)
        for first, there in zip(places[0], place, strict=True)
        if first is not None and there is not None
    ]
    return [row("sdxl-base", "correlation", "crop and shift", correlation(asked_and_moved), 0.8)], sheet


def centres(verdicts: Sequence[Verdict], names: Sequence[str]) -> list[float | None]:
    """Where each named object's centre lies along x, in pixels; None where it was not found."""
    found = [verdict.find(name) for verdict, name in zip(verdicts, names, strict=True)]
    return [None if one is None else (one.box[0] + one.box[2]) / 2 for one in found]


def correlation(pairs: Sequence[tuple[float, float]], draws: int = 2000) -> Interval:
    """Pearson's correlation of pairs, with its 95 % bootstrap interval; NaN where one side never varies."""
    points = np.asarray(pairs, np.float64).reshape(-1, 2)
    nothing = Interval(float("nan"), float("nan"), float("nan"), len(points))
    if len(points) < 3 or not (points.std(axis=0) > 0).all():
        return nothing
    rows = np.random.default_rng(0).integers(len(points), size=(draws, len(points)))
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = points[rows] - points[rows].mean(axis=1, keepdims=True)
        covariance = (centred[..., 0] * centred[..., 1]).mean(axis=1)
        sampled = covariance / (centred[..., 0].std(axis=1) * centred[..., 1].std(axis=1))
    low, high = np.nanpercentile(sampled, (2.5, 97.5))
    return Interval(float(np.asarray(np.corrcoef(points.T))[0, 1]), float(low), float(high), len(points))


def _shapes(base: Any, plain: Plain, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], Sheet]:
    """Object, background and style in every trained shape; none may fall behind the square."""
    questions = ("object", "background", "style")
    height, width = BUCKETS[0]
    square = [one for one in answers("sdxl-base", f"{height}x{width}", plain.made, plain.scenes, judge, {})
              if one.metric in questions]  # fmt: skip
    rows, shown = list(square), []
    for height, width in BUCKETS[1:]:
        made = drawn(base, plain.prompts, seed, tick, height=height, width=width)
        split = f"{height}x{width}"
        bars = {(one.metric, split): one.value - WITHIN for one in square}
        rows += [
            one
            for one in answers("sdxl-base", split, made, plain.scenes, judge, bars)
            if one.metric in questions
        ]
        shown.append((split, list(made[:8])))
    # a sheet has pictures of one size: each shape stands on a white square
    side = max(max(bucket) for bucket in BUCKETS)
    sheet = Sheet(
        "sdxl-base-shapes",
        f"sdxl-base, {' and '.join(label for label, _ in shown)} pixels, the first 8 seeds.",
        [(label, [_on_canvas(one, side) for one in made]) for label, made in shown],
    )
    return rows, sheet


def _on_canvas(image: np.ndarray, side: int) -> np.ndarray:
    canvas = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def _refined(base: Any, plain: Plain, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], Sheet]:
    """The base alone against base and refiner at the same number of steps."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        store.unfold("sdxl-refiner"), text_encoder_2=base.text_encoder_2, vae=base.vae
    )
    refiner.set_progress_bar_config(disable=True)
    prompts, alone = plain.prompts, plain.made
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    parts = []
    for start in range(0, len(prompts), BATCH):
        batch = list(prompts[start : start + BATCH])
        noise = generated.generators(1000 * seed + start, len(batch))
        half = base(batch, generator=noise, denoising_end=HANDOVER, output_type="latent", **settings).images
        done = refiner(batch, image=half, denoising_start=HANDOVER, output_type="np", **settings).images
        parts.append(generated.to_uint8(done))
        tick(len(batch))
    both = np.concatenate(parts)
    real = judge.features([render(scene).image for scene in plain.scenes])
    of_alone, of_both = judge.features(list(alone)), judge.features(list(both))
    rows = [
        row("sdxl-base", "kid", "seen", kid(of_alone, real)),
        row("sdxl-refiner", "kid", "seen", kid(of_both, real)),
        row(
            "sdxl-refiner", "kid_gain", "against the base alone", kid_difference(of_alone, of_both, real), 0.0
        ),
        row("sdxl-refiner", "sharpness_gain", "against the base alone", sharpness_gain(both, alone), 0.0),
    ]
    sheet = Sheet(
        "sdxl-refiner",
        f"Above {STEPS} steps of sdxl-base, below {HANDOVER:.0%} of them and then the refiner's, the first 8 seeds.",
        [("base", list(alone[:8])), ("refined", list(both[:8]))],
    )
    return rows, sheet
