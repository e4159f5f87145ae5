"""Inpainting: is the new object in the mask, can the border be seen, and does a picture go on beyond its frame?

The seam is the mean step of brightness across the mask's border, in units of the step that real scenes have there: 1 is
a border that nobody sees. What lies outside the mask is the original's, as an editor does it: with the mask as it is, with
its rim made soft, and blended by gradients. What the VAE alone does to a scene inside the mask, without any painting, is
measured beside them: the backgrounds of this world are so smooth that its error can be seen in their steps.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from lessonlib.judge import Judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.intervals import Interval
from lessonlib.models import store
from lessonlib.pipelines.blending import bent
from lessonlib.world.captions import caption
from lessonlib.world.render import Rendered, render
from lessonlib.world.scene import Scene, is_held_out
from lessonlib.world.vocabulary import OBJECTS, PAINTABLE
from lessonlib.zoo.measures.generated import GUIDANCE, STEPS, Tick, plain_captions, to_uint8
from lessonlib.zoo.measures.rows import Row, Sheet, row

MEMBERS = ("sd15-inpainting",)
WIDE = (128, 192)  # height, width of the outpainted canvas
MARGIN = 8  # pixels that the mask leaves around the old object's box
SHOWN = 8
_BATCH = 25


def pictures(n: int) -> int:
    """n inpainted, n outpainted."""
    return 2 * n


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """Another object in the mask; a square picture made wider."""
    from diffusers import StableDiffusionInpaintPipeline

    pipeline = StableDiffusionInpaintPipeline.from_pretrained(store.unfold("sd15-inpainting"))
    pipeline.set_progress_bar_config(disable=True)
    member = "sd15-inpainting"

    truths = [render(scene) for scene in real_scenes("seen", n, seed)]
    images = np.stack([truth.image for truth in truths])
    holes = np.stack([object_hole(truth) for truth in truths])
    wanted = exchanged([truth.scene for truth in truths], seed)
    painting = painted(pipeline, images, holes, plain_captions(wanted), 1000 * seed, tick)
    made = laid_over(painting, images, holes)
    smooth = blended(painting, images, holes)
    asked = [_without_place(scene) for scene in wanted]
    rates = score(list(made), asked, judge).rates()
    rows = [row(member, "object", "in the mask", rates["object"]._asdict(), 0.9)]
    rows += [row(member, name, "in the mask", rates[name]._asdict()) for name in ("background", "style")]
    rates = score(list(smooth), asked, judge).rates()
    rows.append(row(member, "object", "in the mask, blended", rates["object"]._asdict(), 0.9))
    soft = softened(pipeline, holes)
    through = there_and_back(pipeline.vae, images)
    for split, pictures_, bar in (
        ("in the mask", made, 1.2),
        ("in the mask, soft rim", laid_over(painting, images, soft), 1.2),
        ("in the mask, blended", smooth, 1.2),
        ("nothing painted, the VAE alone", laid_over(through, images, holes), None),
        ("nothing painted, the VAE alone, soft rim", laid_over(through, images, soft), None),
        ("nothing painted, the VAE alone, blended", blended(through, images, holes), None),
    ):
        rows.append(row(member, "seam", split, seam(pictures_, images, holes), bar))

    wide = np.stack([render(truth.scene, *WIDE).image for truth in truths])
    canvases, beyond = zip(*(outpainting(truth.image, WIDE) for truth in truths), strict=True)
    scenes = [truth.scene for truth in truths]
    canvases_, beyond_ = np.stack(canvases), np.stack(beyond)
    painting = painted(pipeline, canvases_, beyond_, plain_captions(scenes), 1000 * seed, tick)
    grown = laid_over(painting, canvases_, beyond_)
    rates = score(list(grown), [_without_place(scene) for scene in scenes], judge).rates()
    rows += [
        row(member, name, "outpainting", rates[name]._asdict()) for name in ("object", "background", "style")
    ]
    evened = blended(painting, canvases_, beyond_)
    rows.append(row(member, "seam", "outpainting", seam(grown, wide, beyond_), 1.2))
    rows.append(row(member, "seam", "outpainting, blended", seam(evened, wide, beyond_), 1.2))
    return rows, [_sheet(images, holes, made, smooth, wanted), _wide_sheet(canvases, grown, evened, scenes)]


def object_hole(truth: Rendered) -> np.ndarray:
    """The box of the scene's thing with a margin, bool [H, W]; of the middle if the thing is out of sight."""
    height, width = truth.classes.shape
    x0, y0, x1, y1 = truth.boxes[0] or (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    hole = np.zeros((height, width), bool)
    hole[max(0, y0 - MARGIN) : y1 + MARGIN, max(0, x0 - MARGIN) : x1 + MARGIN] = True
    return hole


def exchanged(scenes: Sequence[Scene], seed: int) -> list[Scene]:
    """The scenes with another, unpainted object in the same place; never a held-out combination."""
    rng = np.random.default_rng([seed, 0x1C])
    names = [name for name in OBJECTS if name not in PAINTABLE]
    changed = []
    for scene in scenes:
        new = scene
        while new.things[0].name == scene.things[0].name or is_held_out(new):
            thing = replace(scene.things[0], name=str(rng.choice(names)), color=None)
            new = replace(scene, things=(thing,))
        changed.append(new)
    return changed


def _without_place(scene: Scene) -> Scene:
    thing = replace(scene.things[0], place=None, size_word="")
    return replace(scene, things=(thing,))


def outpainting(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A grey canvas with the picture in its middle, and the mask of what is to be painted: uint8 [H, W, 3], bool [H, W]."""
    height, width = size
    canvas, beyond = np.full((height, width, 3), 128, np.uint8), np.ones((height, width), bool)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    inside = slice(top, top + image.shape[0]), slice(left, left + image.shape[1])
    canvas[inside], beyond[inside] = image, False
    return canvas, beyond


def painted(
    pipeline: Any, images: np.ndarray, holes: np.ndarray, prompts: list[str], seed: int, tick: Tick
) -> np.ndarray:
    """The pictures with their holes painted anew, as the pipeline gives them: uint8 [N, H, W, 3]."""
    height, width = images.shape[1:3]
    done = []
    for start in range(0, len(prompts), _BATCH):
        batch = slice(start, start + _BATCH)
        count = len(prompts[batch])
        done.append(
            pipeline(
                prompts[batch],
                image=[Image.fromarray(image) for image in images[batch]],
                mask_image=[Image.fromarray(hole) for hole in holes[batch]],
                height=height,
                width=width,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=[torch.Generator().manual_seed(seed + start + k) for k in range(count)],
                output_type="np",
            ).images
        )
        tick(count)
    return to_uint8(np.concatenate(done))


def laid_over(painting: np.ndarray, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The painting where the mask is 1, the picture where it is 0: uint8 [N, H, W, 3]; masks bool or 0 to 1, [N, H, W]."""
    share = masks[..., None].astype(np.float32)
    return (share * painting + (1 - share) * images).round().astype(np.uint8)


def blended(painting: np.ndarray, images: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """The painting in the holes, its colours bent to meet the pictures': uint8 [N, H, W, 3]; holes bool [N, H, W]."""
    return np.stack([bent(*one) for one in zip(images, painting, holes, strict=True)])


def softened(pipeline: Any, holes: np.ndarray) -> np.ndarray:
    """The masks as the pipeline's own blur makes them, by a 32nd of the height: float32 0 to 1, [N, H, W]."""
    blurred = (
        pipeline.mask_processor.blur(Image.fromarray(hole).convert("L"), holes.shape[1] // 32)
        for hole in holes
    )
    return np.stack([np.asarray(one, np.float32) / 255 for one in blurred])


@torch.no_grad()
def there_and_back(vae: Any, images: np.ndarray) -> np.ndarray:
    """The pictures encoded and decoded: uint8 [N, H, W, 3]."""
    done = []
    for start in range(0, len(images), _BATCH):
        pixels = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        done.append(to_uint8((decoded.permute(0, 2, 3, 1).numpy() + 1).clip(0, 2) / 2))
    return np.concatenate(done)


def seam(made: np.ndarray, real: np.ndarray, holes: np.ndarray, draws: int = 2000) -> Interval:
    """Mean step of brightness across the masks' borders over that of real pictures, with its bootstrap interval.

    Pictures uint8 [N, H, W, 3], masks bool [N, H, W]; 1 where a border cannot be told from the rest.
    """
    ours, theirs = (
        np.array([_step(*one) for one in zip(pictures, holes, strict=True)]) for pictures in (made, real)
    )
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(ours), size=(draws, len(ours)))
    ratios = ours[chosen].mean(1) / theirs[chosen].mean(1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Interval(float(ours.mean() / theirs.mean()), float(low), float(high), len(ours))


def _step(picture: np.ndarray, hole: np.ndarray) -> float:
    """Mean absolute difference of the brightness of neighbours on either side of the border."""
    light = picture.astype(np.float64).mean(axis=2)
    steps = [np.abs(np.diff(light, axis=axis))[np.diff(hole, axis=axis)] for axis in (0, 1)]
    across = np.concatenate(steps)
    return float(across.mean()) if across.size else 0.0


def _sheet(
    images: np.ndarray, holes: np.ndarray, made: np.ndarray, smooth: np.ndarray, wanted: list[Scene]
) -> Sheet:
    text = "; ".join(f"“{caption(scene)}”" for scene in wanted[:SHOWN])
    grey = np.where(holes[..., None], np.uint8(128), images)
    return Sheet(
        "inpainting",
        f"sd15-inpainting: the scene, what the model sees of it, what it paints, laid over and blended. Prompts: {text}",
        [
            ("scene", list(images[:SHOWN])),
            ("masked", list(grey[:SHOWN])),
            ("laid over", list(made[:SHOWN])),
            ("blended", list(smooth[:SHOWN])),
        ],
    )


def _wide_sheet(
    canvases: Sequence[np.ndarray], grown: np.ndarray, evened: np.ndarray, scenes: list[Scene]
) -> Sheet:
    text = "; ".join(f"“{caption(scene)}”" for scene in scenes[:SHOWN])
    return Sheet(
        "outpainting",
        f"sd15-inpainting beyond the frame: the canvas, the picture laid over, and blended. Prompts: {text}",
        [
            ("canvas", list(canvases[:SHOWN])),
            ("laid over", list(grown[:SHOWN])),
            ("blended", list(evened[:SHOWN])),
        ],
    )
