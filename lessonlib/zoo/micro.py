"""Pictures with a history, for SDXL's micro-conditioning: enlarged originals, off-centre crops, three shapes.

SDXL (Podell et al. 2023, section 2.2) keeps small and off-centre pictures in training and tells the network so; section 2.3
sorts by aspect. Here the history is drawn first, and the picture made from it really went through it.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from lessonlib.world.render import render
from lessonlib.world.scene import Person, Scene, Thing, sample
from lessonlib.zoo.caches import in_blocks, remembered
from lessonlib.zoo.latents import encode

# height and width in pixels, multiples of 32 as a UNet of three levels halves the latents twice
BUCKETS: tuple[tuple[int, int], ...] = ((128, 128), (96, 160), (160, 96))
SHARES = (0.4, 0.3, 0.3)
SMALLEST = 0.25  # an original has at least this share of the picture's side: 32 pixels for 128
_SEED = 67
_CROPPED, _SMALL = 0.5, 0.5
_CROPS = np.arange(0, 48, 8)  # pixels; the canvas must stay a multiple of 8


@dataclass(frozen=True)
class Framing:
    """A scene and how its picture came about; every size is (height, width) in pixels.

    The original goes on `crops_coords_top_left` pixels beyond the scene's frame, below and to the right; the crop cuts as
    many off above and to the left. The subject therefore stands that far up and left of where the scene says.
    """

    scene: Scene
    original_size: tuple[int, int]
    crops_coords_top_left: tuple[int, int]
    target_size: tuple[int, int]

    @property
    def time_ids(self) -> tuple[int, ...]:
        """The six ids of SDXL's base."""
        return (*self.original_size, *self.crops_coords_top_left, *self.target_size)

    @property
    def resolution(self) -> float:
        """The original's side as a share of what it was resized to, 0..1."""
        return self.original_size[0] / (self.target_size[0] + self.crops_coords_top_left[0])

    @property
    def aesthetic_score(self) -> float:
        """A score for the refiner: 6.0 for a sharp original, 2.5 for the smallest (the pipelines' two defaults)."""
        return 2.5 + 3.5 * min(1.0, max(0.0, (self.resolution - SMALLEST) / (1 - SMALLEST)))


def framing(bucket: int, index: int) -> Framing:
    """Training example number `index` of an aspect bucket: the same on every machine."""
    rng = np.random.default_rng([_SEED, bucket, index])
    scene = sample(rng)
    height, width = BUCKETS[bucket]
    top, left = (0, 0)
    if rng.random() < _CROPPED:
        while top == left == 0:
            top, left = (int(offset) for offset in rng.choice(_CROPS, 2))
    share = float(rng.uniform(SMALLEST, 1)) if rng.random() < _SMALL else 1.0
    original = (round(share * (height + top)), round(share * (width + left)))
    return Framing(scene, original, (top, left), (height, width))


def picture(frame: Framing) -> np.ndarray:
    """Draw the original, resize it, crop it: uint8 [H, W, 3] of the target size."""
    (height, width), (top, left) = frame.target_size, frame.crops_coords_top_left
    canvas = (height + top, width + left)
    image = render(_in_larger_frame(frame.scene, (height, width), canvas), *canvas).image
    if frame.original_size != canvas:
        small = cv2.resize(image, frame.original_size[::-1], interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (canvas[1], canvas[0]), interpolation=cv2.INTER_CUBIC)
    return image[top:, left:]


def _in_larger_frame(scene: Scene, frame: tuple[int, int], canvas: tuple[int, int]) -> Scene:
    """The scene on a canvas that goes on to the right and below; what it shows keeps its pixels."""
    if frame == canvas:
        return scene
    size = min(frame) / min(canvas)

    def moved(one: Thing | Person) -> dict[str, float]:
        return {
            "x": one.x * frame[1] / canvas[1],
            "y": one.y * frame[0] / canvas[0],
            "size": one.size * size,
        }

    return replace(
        scene,
        things=tuple(replace(thing, **moved(thing)) for thing in scene.things),
        person=scene.person and replace(scene.person, **moved(scene.person)),
    )


def cached_buckets(
    vae: AutoencoderKL, folder: Path, counts: tuple[int, ...], device: torch.device
) -> list[np.ndarray]:
    """Latents of unit variance of each bucket's examples 0..count-1: float16 [count, 4, h, w], one array a bucket.

    Kept under `folder`, which belongs to one VAE: name it after the VAE's weights.
    """

    def blocks(bucket: int, count: int) -> Iterator[np.ndarray]:
        for images in in_blocks((picture(framing(bucket, k)) for k in range(count)), size=32):
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
            yield encode(vae, pixels.to(device)).half().cpu().numpy()

    return [
        remembered(
            folder / f"micro-{h}x{w}-{count}.npy",
            count,
            lambda b=b, n=count: blocks(b, n),
            f"{h}x{w} latents",
        )
        for b, ((h, w), count) in enumerate(zip(BUCKETS, counts, strict=True))
    ]


def time_ids(frames: list[Framing], device: torch.device | None = None) -> Tensor:
    """Six ids a picture: float32 [B, 6]."""
    return torch.tensor([frame.time_ids for frame in frames], dtype=torch.float32, device=device)


def aesthetic_ids(frames: list[Framing], device: torch.device | None = None) -> Tensor:
    """The refiner's five ids a picture: float32 [B, 5]."""
    rows = [(*f.original_size, *f.crops_coords_top_left, f.aesthetic_score) for f in frames]
    return torch.tensor(rows, dtype=torch.float32, device=device)
