"""SDXL (lesson, section 1): text to image, base and refiner, sizes as conditions, shapes it was trained on.

    base = load_base()
    picture(base, "a majestic lion", micro=Micro(original_size=(256, 256)))

    refiner = load_refiner(base)
    refined(base, refiner, "a night city", steps=40, split=0.8)

Source: Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis" (2023),
sections 2.2 (sizes and crops), 2.3 (shapes) and 2.5 (refiner).
"""

# diffusers' from_pretrained is annotated wider than what it returns:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from lessonlib.errors import LessonError
from lessonlib.pipelines import loading
from lessonlib.pipelines.checks import check_call
from lessonlib.pipelines.limits import check_guidance, check_negative, check_size, check_steps

if TYPE_CHECKING:
    from PIL.Image import Image

Pair = tuple[int, int]


class Micro(NamedTuple):
    """What SDXL is told of a training picture, every pair as (height, width) or (top, left) in pixels.

    original_size: the source's size before it was scaled; a small one asks for a blurry picture.
    crops_coords_top_left: where the crop began; other than (0, 0) asks for things that are cut off.
    target_size: the size of the training picture.
    negative_...: the same for the pass that guidance leads away from.

    None is the pipeline's own: the picture's size, and no crop. Saying just that changes nothing.
    """

    original_size: Pair | None = None
    crops_coords_top_left: Pair | None = None
    target_size: Pair | None = None
    negative_original_size: Pair | None = None
    negative_crops_coords_top_left: Pair | None = None
    negative_target_size: Pair | None = None


def load_base() -> Any:
    """The base model's pipeline.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    path = loading.folder("sdxl-base")
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(path, **loading.options("sdxl-base"))
    return loading.place(pipeline, ("sdxl-base",))


def load_refiner(base: Any) -> Any:
    """The refiner's pipeline; it shares the second text encoder and the VAE with the base.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    path = loading.folder("sdxl-refiner")
    from diffusers import StableDiffusionXLImg2ImgPipeline

    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        path,
        text_encoder_2=base.text_encoder_2,
        tokenizer_2=base.tokenizer_2,
        vae=base.vae,
        **loading.options("sdxl-refiner"),
    )
    return loading.place(refiner, ("sdxl-base", "sdxl-refiner"))


def picture(
    base: Any,
    prompt: str,
    *,
    steps: int = 30,
    guidance: float = 7.5,
    negative_prompt: str | None = None,
    size: Pair | None = None,
    micro: Micro | None = None,
    seed: int = 0,
) -> Image:
    """One picture by the base alone.

    Args:
        negative_prompt: None leads away from all-zero embeddings (`force_zeros_for_empty_prompt`), "" from the
            encoded empty text.
        size: (width, height), by default the model's own; see `bucket`.

    Raises:
        LessonError: a number out of its range; what `arguments` says.
    """
    asked = _asked(steps, guidance, negative_prompt, size, micro)
    check_call(base, asked)
    return base(prompt, generator=loading.noise(seed), **asked).images[0]


def refined(
    base: Any,
    refiner: Any,
    prompt: str,
    *,
    steps: int = 40,
    split: float = 0.8,
    guidance: float = 7.5,
    negative_prompt: str | None = None,
    size: Pair | None = None,
    micro: Micro | None = None,
    aesthetic_score: float = 6.0,
    negative_aesthetic_score: float = 2.5,
    seed: int = 0,
) -> Image:
    """One picture whose first steps the base takes and whose last ones, with little noise, the refiner.

    The latents pass between them as they are, noisy and undecoded.

    Args:
        split: the share of the noise levels that is the base's.
        aesthetic_score, negative_aesthetic_score: what the refiner is told instead of a target size.

    Raises:
        LessonError: a split that leaves one of them no step; a number out of its range.
    """
    asked = _asked(steps, guidance, negative_prompt, size, micro)
    if not (0 < split < 1 and steps * split >= 1 and steps * (1 - split) >= 1):
        raise LessonError(
            f"A split of {split:g} leaves the base or the refiner none of the {steps} steps: choose 0.8, or more steps."
        )
    check_call(base, asked)
    check_call(refiner, asked)
    noise = loading.noise(seed)
    latents = base(prompt, denoising_end=split, output_type="latent", generator=noise, **asked).images
    same = {
        name: value for name, value in asked.items() if name not in ("width", "height")
    }  # the latents' own
    return refiner(
        prompt,
        image=latents,
        denoising_start=split,
        aesthetic_score=aesthetic_score,
        negative_aesthetic_score=negative_aesthetic_score,
        generator=noise,
        **same,
    ).images[0]


def arguments(micro: Micro | None, guidance: float) -> dict[str, Pair]:
    """What the pipeline is called with.

    Raises:
        LessonError: a pair that is none, a size below 1 or a crop below 0; negative sizes without guidance, which
            would be ignored.
    """
    given = {name: value for name, value in (micro or Micro())._asdict().items() if value is not None}
    for name, pair in given.items():
        least = 0 if "crops" in name else 1
        whole = isinstance(pair, tuple | list) and len(pair) == 2 and all(type(side) is int for side in pair)
        if not whole or min(pair) < least:
            order = "(top, left)" if "crops" in name else "(height, width)"
            raise LessonError(f"{name} must be {order} in whole pixels from {least}, not {pair!r}.")
    if guidance <= 1 and any(name.startswith("negative") for name in given):
        raise LessonError(
            f"guidance {guidance:g} is off (it starts above 1), so the negative sizes would be ignored: "
            "raise the guidance or leave them out."
        )
    return {name: (int(pair[0]), int(pair[1])) for name, pair in given.items()}


def bucket(ratio: float, side: int = 1024) -> Pair:
    """The (width, height) nearest to `ratio` = width / height among shapes of about side * side pixels.

    Sides are multiples of side / 16: 64 at 1024 pixels, so that 9 / 7 gives 1152 x 896 and 19 / 13 gives 1216 x 832.

    Raises:
        LessonError: a ratio beyond 1:4 or 4:1; a side that is no multiple of 128.
    """
    if not (math.isfinite(ratio) and 0.25 <= ratio <= 4):
        raise LessonError(f"The ratio width / height is {ratio:g}: choose 0.25 to 4.")
    if side < 128 or side % 128:
        raise LessonError(f"The side of the square is {side} pixels: choose a multiple of 128.")
    if ratio < 1:
        height, width = bucket(1 / ratio, side)
        return width, height
    step = side // 16
    shapes = [(wide * step, 256 // wide * step) for wide in range(16, 33)]
    return min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1] / ratio)))


def _asked(
    steps: int, guidance: float, negative_prompt: str | None, size: Pair | None, micro: Micro | None
) -> dict[str, Any]:
    check_steps(steps)
    check_guidance(guidance)
    check_negative(negative_prompt, guidance)
    if size is not None:
        check_size(size)
    return {
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "negative_prompt": negative_prompt,
        **({} if size is None else {"width": size[0], "height": size[1]}),
        **arguments(micro, guidance),
    }
