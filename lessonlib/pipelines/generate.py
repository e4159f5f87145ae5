"""Text to image with any text-to-image model of the catalogue, in either tier."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lessonlib.errors import LessonError
from lessonlib.models.catalogue import CATALOGUE, find

if TYPE_CHECKING:
    from PIL.Image import Image

# Few-step models have their own sensible settings: (steps, guidance).
DEFAULTS: dict[str, tuple[int, float]] = {"lcm": (4, 8.0), "sdxl-turbo": (1, 0.0)}
SMALLEST, LARGEST = 64, 2048  # pixels a side
MOST_GUIDANCE = 30.0


class Settings(NamedTuple):
    """What one picture is made with; `size` is (width, height) in pixels, None for the model's own."""

    model: str = "sd15"
    steps: int = 25
    guidance: float = 5.0
    size: tuple[int, int] | None = None


def settings(
    model: str = "sd15",
    steps: int | None = None,
    guidance: float | None = None,
    size: tuple[int, int] | None = None,
) -> Settings:
    """Settings that can work, the model's defaults where None is given. Loads nothing.

    Raises:
        LessonError: the model is unknown or makes no pictures from text, or a number is out of its range.
    """
    if not find(model).text_to_image:
        able = ", ".join(row.name for row in CATALOGUE.values() if row.text_to_image)
        raise LessonError(f"'{model}' does not make pictures from text alone: choose one of {able}.")
    default_steps, default_guidance = DEFAULTS.get(model, (25, 5.0))
    steps = default_steps if steps is None else steps
    guidance = default_guidance if guidance is None else guidance
    # LCM is distilled from 50 DDIM steps. At 1000 steps SD's `steps_offset` asks for timestep 1000 of 0..999.
    most_steps = 50 if model == "lcm" else 999
    if not 1 <= steps <= most_steps:
        raise LessonError(f"--steps must lie between 1 and {most_steps} for {model}; it is {steps}.")
    if not (math.isfinite(guidance) and 0 <= guidance <= MOST_GUIDANCE):
        raise LessonError(f"--guidance must lie between 0 and {MOST_GUIDANCE:g}; it is {guidance:g}.")
    if size is not None and any(s % 8 or not SMALLEST <= s <= LARGEST for s in size):
        raise LessonError(
            f"--size must be multiples of 8 between {SMALLEST} and {LARGEST}; it is {size[0]}x{size[1]}."
        )
    return Settings(model, steps, guidance, size)


def folder(model: str) -> str:
    """Where a model's files lie on this machine: unfolded (tiny) or downloaded to the hub's cache (full).

    Raises:
        LessonError: unknown name, tiny weights that are missing or damaged, a download that cannot be done.
    """
    from lessonlib.models import downloads, machine
    from lessonlib.models.catalogue import repo

    return str(downloads.fetch(model)) if machine.tier() == "full" else repo(model, "tiny")


def load(model: str = "sd15") -> Any:
    """The model's diffusers pipeline on this machine's device, offloaded where the GPU is small.

    Raises:
        LessonError: tiny weights that are missing or damaged; a download that cannot be done.
    """
    from lessonlib.models import machine, memory

    full = machine.tier() == "full"
    # The folder first: whatever is wrong with the weights is said before torch is loaded.
    path = folder(model)

    from diffusers import DiffusionPipeline

    variant = find(model).variant if full else None
    pipeline = DiffusionPipeline.from_pretrained(path, dtype=machine.dtype(), variant=variant)
    needed = memory.need(model, (model,))
    if full and memory.fits(needed, machine.ram_bytes(), machine.vram_bytes()) == "with offload":
        pipeline.enable_model_cpu_offload()
        return pipeline
    return pipeline.to(machine.device())


def generate(
    pipeline: Any,
    prompt: str,
    asked: Settings,
    seeds: list[int],
    on_step: Callable[[], None] = lambda: None,
) -> list[Image]:
    """One picture a seed. Each is made by itself, so it is the same whether it is alone or one of many.

    Args:
        pipeline: what `load` returns.
        on_step: called after every denoising step.
    """
    import torch

    def step_done(_pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return tensors

    size = {} if asked.size is None else {"width": asked.size[0], "height": asked.size[1]}
    pictures = []
    for seed in seeds:
        # Noise drawn on the CPU is the same on every device.
        generator = torch.Generator("cpu").manual_seed(seed)
        result = pipeline(
            prompt,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance,
            generator=generator,
            callback_on_step_end=step_done,
            **size,
        )
        pictures += result.images
    return pictures


def grid(pictures: list[Image], gap: int = 2) -> Image:
    """The pictures, all of one size, in rows of a square as near as can be, `gap` white pixels apart."""
    from PIL import Image

    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * (width + gap), i // columns * (height + gap)))
    return sheet
