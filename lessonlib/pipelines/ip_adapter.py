"""Pictures as prompts (lesson, section 3): IP-Adapter, plus and face, one reference or several.

    pipeline = load("ip-adapter")
    picture(pipeline, "a portrait", "style.jpg", scale=0.6)

| adapter           | what it sees of the reference                        | tokens |
|-------------------|------------------------------------------------------|--------|
| `ip-adapter`      | CLIP's summary of the picture: content and style     | 4      |
| `ip-adapter-plus` | CLIP's patches: closer to the reference              | 16     |
| `ip-adapter-face` | CLIP's patches of a face, which must be cropped      | 257    |

CLIP sees a square: of a reference that is none, the middle.

Source: Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models" (2023).
"""

# diffusers' from_pretrained is annotated wider than what it returns:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lessonlib.conditions import face
from lessonlib.errors import LessonError
from lessonlib.models.catalogue import CATALOGUE, find
from lessonlib.pipelines import loading
from lessonlib.pipelines.checks import check_call, has_ip_adapter, rgb, slices_attention
from lessonlib.pipelines.limits import check_guidance, check_negative, check_size, check_steps

if TYPE_CHECKING:
    from PIL.Image import Image

Scale = float | Mapping[str, Any]


def load(*names: str) -> Any:
    """Stable Diffusion 1.5 with the IP-Adapters called `names` ("ip-adapter" by default).

    Raises:
        LessonError: what `add` says.
    """
    names = names or ("ip-adapter",)
    for name in names:
        folder(name)  # all are known to be here before anything is loaded
    path = loading.folder("sd15")
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(path, **loading.options("sd15"))
    return loading.place(add(pipeline, *names), ("sd15", *names))


def add(pipeline: Any, *names: str) -> Any:
    """Load IP-Adapters and their image encoder into an SD 1.5 pipeline; returns the pipeline. The scale is 1.

    Raises:
        LessonError: no IP-Adapter of that name; one is loaded already; attention slicing is on, whose attention
            knows no second cross-attention; weights that are missing or cannot be downloaded.
    """
    if has_ip_adapter(pipeline):
        raise LessonError("The pipeline has an IP-Adapter already: take it out with remove(pipeline) first.")
    if slices_attention(pipeline):
        raise LessonError(
            "Attention slicing is on, which no IP-Adapter works with: call pipeline.disable_attention_slicing() first."
        )
    pipeline.load_ip_adapter(
        [folder(name) for name in names],
        subfolder=[find(name).subfolder or "" for name in names],
        weight_name=[find(name).weight_name for name in names],
    )
    return pipeline


def remove(pipeline: Any) -> Any:
    """Take all IP-Adapters out: the pipeline draws from text alone again, exactly as before.

    Attention slicing goes as well: diffusers cannot unload an adapter while it is on.
    """
    if has_ip_adapter(pipeline):
        if slices_attention(pipeline):
            pipeline.disable_attention_slicing()
        pipeline.unload_ip_adapter()
    return pipeline


def folder(name: str) -> str:
    """Where the IP-Adapter's files lie.

    Raises:
        LessonError: no IP-Adapter of that name; weights that are missing or cannot be downloaded.
    """
    if find(name).kind != "ip-adapter":
        able = ", ".join(row.name for row in CATALOGUE.values() if row.kind == "ip-adapter")
        raise LessonError(f"'{name}' is no IP-Adapter: choose one of {able}.")
    return loading.folder(name)


def picture(
    pipeline: Any,
    prompt: str,
    references: Any,
    scale: Scale | Sequence[Scale] = 0.6,
    *,
    steps: int = 30,
    guidance: float = 7.5,
    negative_prompt: str | None = None,
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> Image:
    """One picture from a text and reference pictures.

    Args:
        references, scale: as `arguments` and `set_scale`.
        size: (width, height), by default the model's own.

    Raises:
        LessonError: what `arguments` and `set_scale` say; a number out of its range.
    """
    check_steps(steps)
    check_guidance(guidance)
    check_negative(negative_prompt, guidance)
    shape = {}
    if size is not None:
        check_size(size)
        shape = {"width": size[0], "height": size[1]}
    adapted = arguments(pipeline, references)
    check_call(pipeline, adapted)
    set_scale(pipeline, scale)
    return pipeline(
        prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=loading.noise(seed),
        **shape,
        **adapted,
    ).images[0]


def portrait(
    pipeline: Any,
    prompt: str,
    reference: Any,
    box: face.Box | None = None,
    scale: Scale = 0.7,
    **sampling: Any,
) -> Image:
    """One picture of the person whose face the reference shows.

    The face is cropped first: of a whole photograph the adapter would see mostly what is around it.

    Args:
        reference: a picture, PIL or a file.
        box: where the face is, (left, top, right, bottom) in pixels; by default it is looked for.
        sampling: `picture`'s further arguments.

    Raises:
        LessonError: the pipeline's adapter is not `ip-adapter-face`; no face in the reference; what `picture` says.
    """
    from diffusers.models.embeddings import IPAdapterFullImageProjection

    adapters(pipeline)
    projections = pipeline.unet.encoder_hid_proj.image_projection_layers
    if not all(isinstance(projection, IPAdapterFullImageProjection) for projection in projections):
        raise LessonError("This IP-Adapter was not trained on faces: load 'ip-adapter-face'.")
    return picture(pipeline, prompt, face.crop(reference, box), scale, **sampling)


def arguments(pipeline: Any, references: Any) -> dict[str, Any]:
    """What a pipeline with IP-Adapters is called with: a list of references for each adapter.

    Args:
        references: with one adapter a picture (PIL or a file) or several, which count as one reference; with
            several adapters a list of as many lists. diffusers itself takes a flat list for one picture an adapter.

    Raises:
        LessonError: no adapter, no reference, lists that do not fit the adapters, what is no picture.
    """
    count = adapters(pipeline)
    if references is None or (isinstance(references, list | tuple) and not references):
        raise LessonError("There is no reference picture: give a PIL picture, a file, or a list of them.")
    if count == 1:
        flat = isinstance(references, list | tuple)
        nested = [references if flat and not isinstance(references[0], list | tuple) else [references]]
        nested = references if flat and isinstance(references[0], list | tuple) else nested
    else:
        nested = references
    fits = isinstance(nested, list | tuple) and all(
        isinstance(group, list | tuple) and group for group in nested
    )
    if not fits or len(nested) != count:
        raise LessonError(
            f"The pipeline has {count} IP-Adapter{'s' * (count > 1)}: give a list of {count} lists of reference pictures."
        )
    return {
        "ip_adapter_image": [
            [rgb(image, f"Reference {i + 1}") for i, image in enumerate(group)] for group in nested
        ]
    }


def adapters(pipeline: Any) -> int:
    """How many IP-Adapters the pipeline has.

    Raises:
        LessonError: none.
    """
    if not has_ip_adapter(pipeline):
        raise LessonError("The pipeline has no IP-Adapter: load one with ip_adapter.load or ip_adapter.add.")
    return len(pipeline.unet.encoder_hid_proj.image_projection_layers)


def set_scale(pipeline: Any, scale: Scale | Sequence[Scale]) -> None:
    """How much each adapter's attention counts: out = Attention(text) + scale * Attention(picture).

    Args:
        scale: a number for the whole UNet (0 is no adapter at all; the text counts at any), or one for each of
            its parts, as {"down": {"block_2": [0.0, 1.0]}, "up": {"block_0": 1.0}, "mid": 0.5}: what is not named
            is 0; see `blocks`. With several adapters a list of these.

    Raises:
        LessonError: no adapter, not one scale for each, a number below 0, a part the UNet does not have (which
            diffusers would ignore in silence), lists of the wrong length.
    """
    count = adapters(pipeline)
    scales: list[Any] = list(scale) if isinstance(scale, list | tuple) else [scale] * count
    if len(scales) != count:
        raise LessonError(f"There are {len(scales)} scales for {count} IP-Adapters: give one for each.")
    for one in scales:
        if isinstance(one, Mapping):
            _check_parts(one, blocks(pipeline))
        else:
            _check_number(one, "An IP-Adapter's scale")
    pipeline.set_ip_adapter_scale([dict(one) if isinstance(one, Mapping) else float(one) for one in scales])


def blocks(pipeline: Any) -> dict[str, dict[str, int]]:
    """The parts of the UNet that attend to the prompt: {"down": {"block_1": transformers}, "mid": ..., "up": ...}."""
    unet = pipeline.unet
    found: dict[str, dict[str, int]] = {"down": {}, "mid": {}, "up": {}}
    for side, parts in (("down", unet.down_blocks), ("mid", [unet.mid_block]), ("up", unet.up_blocks)):
        for i, part in enumerate(parts):
            if getattr(part, "has_cross_attention", False) or (side == "mid" and hasattr(part, "attentions")):
                found[side][f"block_{i}"] = len(part.attentions)
    return found


def _check_parts(scale: Mapping[str, Any], there: Mapping[str, Mapping[str, int]]) -> None:
    for side, value in scale.items():
        if side not in there or not there[side]:
            raise LessonError(
                f"The UNet has no '{side}' that attends to the prompt: choose from down, mid and up."
            )
        if isinstance(value, Mapping) and side != "mid":
            for block, numbers in value.items():
                if block not in there[side]:
                    able = ", ".join(there[side])
                    raise LessonError(
                        f"The UNet's '{side}' has no '{block}' that attends to the prompt: only {able}."
                    )
                _check_layers(numbers, there[side][block], f"{side}.{block}")
        else:
            _check_layers(value, min(there[side].values()), side)


def _check_layers(numbers: Any, layers: int, where: str) -> None:
    several = numbers if isinstance(numbers, list | tuple) else [numbers]
    if isinstance(numbers, list | tuple) and len(numbers) not in (1, layers):
        raise LessonError(
            f"There are {len(numbers)} scales for '{where}', which has {layers}: give {layers}."
        )
    for number in several:
        _check_number(number, f"The scale of '{where}'")


def _check_number(number: Any, what: str) -> None:
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not (math.isfinite(number) and number >= 0)
    ):
        raise LessonError(f"{what} is {number!r}: choose a number from 0 (off) to about 1.")
