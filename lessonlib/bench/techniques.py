"""Section 6's table: what each technique saves and costs, on the tiny sd15.

Three jobs, because the techniques are for different ones: a batch of four at the model's own size and one
picture of three times its sides (both end in the VAE, which needs most), and the UNet alone at that size.
Seconds are medians of rounds in which the plain job and the job with the technique took turns. Bytes are the
most that torch held at once beyond what was there before (`lessonlib.pipelines.memory.cost`): on a CPU the
sum of every allocation and release in torch's profiler, on a GPU the allocator's own peak. Weights are in
neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lessonlib.bench.rows import Row, medians, seconds

FOR_PICTURES = ("VAE slicing", "VAE tiling", "channels-last")
FOR_THE_UNET = ("plain attention", "attention slicing", "fused QKV", "channels-last")
ROUNDS, STEPS = 3, 2


def memory_table() -> Iterator[Row]:
    """The table for the shipped sd15."""
    from lessonlib.bench.pictures import tiny

    yield from table(tiny("sd15"))


def table(pipeline: Any, rounds: int = ROUNDS) -> Iterator[Row]:
    """Plain, then each technique against it, for all jobs."""
    factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    side = pipeline.unet.config.sample_size * factor
    for job, count, pixels in (("four pictures", 4, side), ("a large picture", 1, 3 * side)):
        name = f"{job}, {pixels} x {pixels}, {STEPS} steps"
        yield from _job(pipeline, name, _drawing(pipeline, count, pixels), FOR_PICTURES, rounds)
    latents = 3 * pipeline.unet.config.sample_size
    forward = _forward(pipeline, latents)
    yield from _job(pipeline, f"UNet forward, {latents} x {latents}", forward, FOR_THE_UNET, rounds)


def _drawing(pipeline: Any, count: int, pixels: int) -> Callable[[], object]:
    import torch

    def work() -> object:
        return pipeline(
            ["a cat"] * count,
            num_inference_steps=STEPS,
            height=pixels,
            width=pixels,
            generator=torch.Generator("cpu").manual_seed(0),
        )

    return work


def _forward(pipeline: Any, side: int) -> Callable[[], object]:
    import torch

    unet = pipeline.unet
    like = {"device": unet.device, "dtype": unet.dtype}
    latents = torch.zeros(2, unet.config.in_channels, side, side, **like)
    states = torch.zeros(2, 77, unet.config.cross_attention_dim, **like)

    @torch.no_grad()
    def work() -> object:
        return unet(latents, 500, encoder_hidden_states=states).sample.cpu()

    return work


def _job(
    pipeline: Any, job: str, work: Callable[[], object], names: tuple[str, ...], rounds: int
) -> Iterator[Row]:
    from lessonlib.pipelines.memory import applied, cost

    device = pipeline.device.type
    plain = cost(work)
    yield Row(f"{job}: plain", plain.seconds, "s", device=device)
    yield Row(f"{job}: plain, peak", plain.peak_bytes / 1e6, "MB", device=device)
    for name in names:
        pairs = []
        for _ in range(rounds):
            without = seconds(work)
            with applied(pipeline, name):
                pairs.append((seconds(work), without))
        with applied(pipeline, name):
            peak = cost(work, warm_up=False).peak_bytes
        taken, _, ratio = medians(pairs)
        yield Row(f"{job}: {name}", taken, "s", f"{job}: plain", ratio, device)
        yield Row(
            f"{job}: {name}, peak",
            peak / 1e6,
            "MB",
            f"{job}: plain, peak",
            peak / plain.peak_bytes,
            device,
        )
