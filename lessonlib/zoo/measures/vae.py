"""The VAE's reconstructions: PSNR on scenes of every kind, and what the judge still reads in them, in every shape."""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lessonlib.judge import Judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.intervals import bootstrap_mean
from lessonlib.judge.scoring import Score
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.world.scene import Scene
from lessonlib.zoo.measures.compared import kept
from lessonlib.zoo.measures.generated import BATCH, Tick
from lessonlib.zoo.measures.rows import Row, Sheet, row
from lessonlib.zoo.micro import BUCKETS

MEMBERS = ("vae",)
SPLITS = ("seen", "held-out", "pair", "person")
READ = ("object", "both objects", "background", "style", "person", "identity")
PSNR, KEPT = 31.0, 0.97  # the bars, of single objects
BARRED = ("seen", "held-out")


def pictures(n: int) -> int:
    """None are generated."""
    return 0


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """Every split's PSNR and the judge's answers."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(store.unfold("vae")).eval()
    rows: list[Row] = []
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    for split in SPLITS:
        scenes = real_scenes(split, n, seed)
        images = np.stack([render(scene).image for scene in scenes])
        decoded = reconstructions(vae, images)
        bar = PSNR if split in BARRED else None
        rows.append(row("vae", "psnr", split, bootstrap_mean(psnr(images, decoded)), bar))
        read = score(decoded, scenes, judge)
        rows += _answers(split, read)
        if split in BARRED:
            rows += _kept(split, read, score(images, scenes, judge), KEPT)
        shown += [(images[k], decoded[k]) for k in range(4)]
    rows += _shapes(vae, real_scenes("seen", n, seed), judge)
    sheet = Sheet(
        "vae",
        "Real scenes above, the VAE's reconstructions below: the first four seeds of each split.",
        [("scene", [a for a, _ in shown]), ("VAE", [b for _, b in shown])],
    )
    return rows, [sheet]


def _shapes(vae: Any, scenes: list[Scene], judge: Judge) -> list[Row]:
    """The same in the SDXL family's other shapes, where things are smaller: what to hold against what models paint there."""
    rows: list[Row] = []
    for height, width in BUCKETS[1:]:
        images = np.stack([render(scene, height, width).image for scene in scenes])
        read, split = score(reconstructions(vae, images), scenes, judge), f"{height}x{width}"
        rows += _answers(split, read) + _kept(split, read, score(images, scenes, judge))
    return rows


def _answers(split: str, read: Score) -> list[Row]:
    return [row("vae", one["metric"], split, one) for one in read.rows(split) if one["metric"] in READ]


def _kept(split: str, read: Score, real: Score, bar: float | None = None) -> list[Row]:
    return [
        row("vae", f"{name}, of the real scenes'", split, kept(read.answers, real.answers, name), bar)
        for name in ("object", "style")
    ]


def psnr(images: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Peak signal to noise ratio of each picture in dB: uint8 [N, H, W, 3] twice -> float64 [N]."""
    error = ((images.astype(np.float64) - decoded) ** 2).mean(axis=(1, 2, 3))
    return 10 * np.log10(255**2 / error)


def reconstructions(vae: Any, images: np.ndarray) -> np.ndarray:
    """Pictures uint8 [N, H, W, 3] through an AutoencoderKL and back, without the posterior's noise."""
    return np.concatenate(
        [_round_trip(vae, images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    )


@torch.no_grad()
def _round_trip(vae: Any, images: np.ndarray) -> np.ndarray:
    return to_images(vae.decode(vae.encode(to_tensor(images)).latent_dist.mode()).sample)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(decoded: torch.Tensor) -> np.ndarray:
    """float [B, 3, H, W] in -1..1 -> uint8 [B, H, W, 3]."""
    return ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
