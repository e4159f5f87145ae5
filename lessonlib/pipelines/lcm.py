"""Pictures in a few steps (lesson, section 4): LCM-LoRA on a base, the full LCM, a real-time loop, Turbo.

|          | what `guidance_scale` is                          | UNet passes a step | negative prompt |
|----------|---------------------------------------------------|--------------------|-----------------|
| LCM-LoRA | guidance on top of what is already distilled in   | 1 at 1, 2 above    | only above 1    |
| full LCM | an input of the network: w = guidance_scale - 1   | 1                  | never           |
| Turbo    | off: distilled adversarially, no consistency model | 1                  | never           |

What a model has no use for is no argument of its function here.

Sources: Luo et al., "Latent Consistency Models" (2023) and "LCM-LoRA" (2023); Sauer et al., "Adversarial
Diffusion Distillation" (2023).
"""

# diffusers' from_pretrained and schedulers are annotated wider than what they return:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from lessonlib.errors import LessonError
from lessonlib.models.catalogue import find
from lessonlib.pipelines import generate
from lessonlib.pipelines.checks import check_call
from lessonlib.pipelines.limits import check_guidance, check_negative, check_size, check_steps

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_LCM_STEPS = 50  # the DDIM steps that distillation skips among
MOST_TURBO_STEPS = 4
ADAPTER = "lcm"


# -------- LCM-LoRA


def load_lora(base: str = "sd15") -> Any:
    """`base` ("sd15" or "sdxl-base") with its LCM-LoRA and the LCM scheduler.

    Raises:
        LessonError: `base` has no LCM-LoRA; weights that are missing or cannot be downloaded.
    """
    lora = lora_name(base)
    generate.folder(lora)  # both are known to be here before either is loaded
    return add_lora(generate.load(base), lora)


def lora_name(base: str) -> str:
    """The LCM-LoRA trained for `base`.

    Raises:
        LessonError: there is none.
    """
    find(base)
    names = {find(name).needs[0]: name for name in ("lcm-lora-sd15", "lcm-lora-sdxl")}
    if base not in names:
        raise LessonError(f"There is no LCM-LoRA for '{base}': choose one of {', '.join(names)}.")
    return names[base]


def add_lora(pipeline: Any, lora: str) -> Any:
    """Load the LCM-LoRA called `lora` into `pipeline` and give it the LCM scheduler; returns the pipeline.

    Raises:
        LessonError: the LoRA belongs to another family of models; it is missing.
    """
    from diffusers import LCMScheduler

    row = find(lora)
    family = "sdxl-base" if hasattr(pipeline, "text_encoder_2") else "sd15"
    if row.kind != "lora" or family not in row.needs:
        raise LessonError(f"'{lora}' does not fit this pipeline: use '{lora_name(family)}'.")
    pipeline.load_lora_weights(generate.folder(lora), weight_name=row.weight_name, adapter_name=ADAPTER)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    return pipeline


@contextmanager
def with_lora(pipeline: Any, lora: str) -> Iterator[Any]:
    """The pipeline with the LCM-LoRA inside this block, and exactly as it was after it.

    A pipeline with the LoRA still in it is no "standard diffusion" to compare with, whatever the scheduler.
    """
    scheduler = pipeline.scheduler
    try:
        yield add_lora(pipeline, lora)
    finally:
        pipeline.scheduler = scheduler
        if ADAPTER in _adapters(pipeline):
            pipeline.delete_adapters(ADAPTER)


def unet_passes(steps: int, guidance: float) -> int:
    """UNet evaluations for one picture with an ordinary UNet: guidance above 1 costs two a step.

    25 steps at 5.0 are 50, four LCM-LoRA steps at 1.5 are 8, at 1.0 they are 4.
    """
    check_steps(steps)
    check_guidance(guidance)
    return steps * (2 if guidance > 1 else 1)


def lora_picture(
    pipeline: Any,
    prompt: str,
    steps: int = 4,
    guidance: float = 1.0,
    negative_prompt: str | None = None,
    seed: int = 0,
) -> Image:
    """One picture by LCM-LoRA. Guidance of 1 to 2 is usual: the distilled guidance is in it already.

    Raises:
        LessonError: steps or guidance out of range; a negative prompt without guidance; `pipeline` has no
            LCM-LoRA or no LCM scheduler; its parts do not fit together.
    """
    from diffusers import LCMScheduler

    check_steps(steps, MOST_LCM_STEPS, "an LCM was distilled on 50 steps")
    check_guidance(guidance)
    check_negative(negative_prompt, guidance)
    if ADAPTER not in _adapters(pipeline) or not isinstance(pipeline.scheduler, LCMScheduler):
        raise LessonError(
            "This pipeline lacks the LCM-LoRA or the LCM scheduler, and few steps need both: use load_lora."
        )
    check_call(pipeline, {})
    return pipeline(
        prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        negative_prompt=negative_prompt,
        generator=_generator(seed),
    ).images[0]


# -------- full LCM


def load_full() -> Any:
    """The LCM whose UNet takes the guidance as an input; it comes with the LCM scheduler.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    return generate.load("lcm")


def full_picture(
    pipeline: Any,
    prompt: str,
    steps: int = 4,
    guidance: float = 8.0,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> Image:
    """One picture by the full LCM: `steps` UNet passes, whatever the guidance; `size` is (width, height).

    Raises:
        LessonError: steps, guidance or size out of range; the UNet takes no embedded guidance.
    """
    check_steps(steps, MOST_LCM_STEPS, "an LCM was distilled on 50 steps")
    check_guidance(guidance)
    shape = _size(size)
    if not pipeline.unet.config.time_cond_proj_dim:
        raise LessonError("This UNet takes no embedded guidance, so it is no full LCM: use load_full.")
    check_call(pipeline, {})
    return pipeline(
        prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=_generator(seed),
        **shape,
    ).images[0]


# -------- Turbo


def load_turbo() -> Any:
    """SDXL-Turbo, trained at 512 x 512 pixels; commercial use of the full-size weights needs a licence.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    return generate.load("sdxl-turbo")


def turbo_picture(
    pipeline: Any, prompt: str, steps: int = 1, seed: int = 0, size: tuple[int, int] | None = None
) -> Image:
    """One picture by Turbo, without guidance; `size` is (width, height), by default the model's own.

    Raises:
        LessonError: more than four steps; a size out of range; a scheduler that would not start from pure
            noise.
    """
    check_steps(steps, MOST_TURBO_STEPS, "Turbo was distilled for these")
    shape = _size(size)
    spacing = pipeline.scheduler.config.get("timestep_spacing")
    if spacing != "trailing":
        raise LessonError(
            f"This scheduler spaces its timesteps '{spacing}', so a single step would not start at the last, "
            "pure noise: load Turbo with load_turbo and keep its scheduler ('trailing')."
        )
    check_call(pipeline, {})
    return pipeline(
        prompt, num_inference_steps=steps, guidance_scale=0.0, generator=_generator(seed), **shape
    ).images[0]


# -------- real time


class Frame(NamedTuple):
    """A picture of the loop, and how long it took from its prompt to its pixels."""

    prompt: str
    picture: Image
    seconds: float


def real_time(
    draw: Callable[[str], Image], prompts: Iterable[str], warm_up: str = "warm up"
) -> Iterator[Frame]:
    """A picture a prompt, as they come, each with its seconds.

    One picture is drawn and thrown away first: the first call of a process also pays for choosing kernels,
    allocating memory and, where it is used, compiling.

    Args:
        draw: prompt to picture, for instance `lambda p: full_picture(pipeline, p)`. It returns pixels, so
            the GPU has finished when the clock is read.
        prompts: may be endless, as what somebody types.
    """
    draw(warm_up)
    for prompt in prompts:
        start = time.perf_counter()
        picture = draw(prompt)
        yield Frame(prompt, picture, time.perf_counter() - start)


def _adapters(pipeline: Any) -> list[str]:
    return [name for names in pipeline.get_list_adapters().values() for name in names]


def _size(size: tuple[int, int] | None) -> dict[str, int]:
    if size is None:
        return {}
    check_size(size)
    return {"width": size[0], "height": size[1]}


def _generator(seed: int) -> Any:
    """Noise drawn on the CPU is the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)
