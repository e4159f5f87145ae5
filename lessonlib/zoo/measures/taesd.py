"""taesd: how much faster it decodes than the VAE, and how much the judge still reads, of the VAE's own latents."""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from lessonlib.judge import Judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.intervals import Interval, bootstrap_mean
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.zoo.measures.compared import kept
from lessonlib.zoo.measures.generated import BATCH, Tick
from lessonlib.zoo.measures.rows import Row, Sheet, row
from lessonlib.zoo.measures.vae import psnr, to_images, to_tensor

MEMBERS = ("taesd",)
READS = ("vae",)
SPLITS = ("seen", "held-out", "pair", "person")
READ = ("object", "both objects", "background", "style", "person", "identity")
SPEEDUP, KEPT = 5.0, 0.95  # the bars
_TIMED = 30


def pictures(n: int) -> int:
    """None are generated."""
    return 0


@torch.no_grad()
def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """Speed, PSNR, and the judge's right answers as a share of those on the VAE's pictures."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    vae = AutoencoderKL.from_pretrained(store.unfold("vae")).eval()
    taesd = AutoencoderTiny.from_pretrained(store.unfold("taesd")).eval()
    factor = vae.config.scaling_factor

    def decoders(latents: torch.Tensor) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
        return lambda: taesd.decode(latents).sample, lambda: vae.decode(latents / factor).sample

    rows = [row("taesd", "speedup", "decoder", speedup(*decoders(torch.randn(1, 4, 16, 16))), SPEEDUP)]
    shown: list[tuple[np.ndarray, ...]] = []
    for split in SPLITS:
        scenes = real_scenes(split, n, seed)
        images = np.stack([render(scene).image for scene in scenes])
        ours, theirs, own = [], [], []
        for start in range(0, n, BATCH):
            pixels = to_tensor(images[start : start + BATCH])
            fast, slow = decoders(vae.encode(pixels).latent_dist.mode() * factor)
            ours.append(to_images(fast()))
            theirs.append(to_images(slow()))
            own.append(to_images(taesd.decode(taesd.encode(pixels).latents).sample))
        fast_images, slow_images = np.concatenate(ours), np.concatenate(theirs)
        rows += [
            row("taesd", "psnr", split, bootstrap_mean(psnr(images, fast_images))),
            row("taesd", "psnr", f"{split}, own encoder", bootstrap_mean(psnr(images, np.concatenate(own)))),
        ]
        fast_answers, slow_answers = (
            score(list(made), scenes, judge).answers for made in (fast_images, slow_images)
        )
        rows += [
            row("taesd", f"{name}, of the VAE's", split, kept(fast_answers, slow_answers, name), KEPT)
            for name in READ
            if any(name in one for one in slow_answers)
        ]
        shown += [(images[k], slow_images[k], fast_images[k]) for k in range(min(4, n))]
    labels = ("scene", "VAE", "taesd")
    sheet = Sheet(
        "taesd",
        "Real scenes, the VAE's reconstructions, taesd's of the same latents: the first seeds of each split.",
        [(label, [one[k] for one in shown]) for k, label in enumerate(labels)],
    )
    return rows, [sheet]


def speedup(fast: Callable[[], object], slow: Callable[[], object], count: int = _TIMED) -> Interval:
    """Seconds of `slow` over seconds of `fast`, in turns so that a busy machine slows both alike; the median of `count`."""

    def seconds(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    for call in (fast, slow):
        call()  # what is done only once is no part of it
    ratios = np.array([seconds(slow) / seconds(fast) for _ in range(count)])
    medians = np.median(ratios[np.random.default_rng(0).integers(count, size=(2000, count))], axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return Interval(float(np.median(ratios)), float(low), float(high), count)
