"""Pictures and pipelines that cannot work together are said before any model runs (numbers: `limits`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lessonlib.conditions.pictures import checked_size, fitted, rgb
from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check_call", "check_one_dtype", "checked_size", "fitted", "one_each", "one_size", "rgb", "sized"]


def sized(picture: Any, what: str = "The picture") -> Image:
    """`rgb` of a picture whose sides are multiples of 8.

    Raises:
        LessonError: what `rgb` says; a side that is no multiple of 8.
    """
    picture = rgb(picture, what)
    checked_size(picture.size, what)
    return picture


def one_size(pictures: Sequence[Image], what: str = "The pictures") -> tuple[int, int]:
    """The (width, height) that all have.

    Raises:
        LessonError: there are none; they differ.
    """
    sizes = list(dict.fromkeys(picture.size for picture in pictures))
    if not sizes:
        raise LessonError(f"{what} are none: give at least one.")
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height}" for width, height in sizes)
        raise LessonError(f"{what} have different sizes ({listed}): bring them to one size first.")
    return sizes[0]


def one_each(values: Sequence[Any], count: int, what: str, things: str) -> list[Any]:
    """`values` as a list of `count`: diffusers would drop in silence whatever has no partner.

    Raises:
        LessonError: not one value for each thing.
    """
    values = list(values)
    if len(values) != count:
        raise LessonError(f"There are {len(values)} {what} for {count} {things}: give one for each.")
    return values


def check_one_dtype(pipeline: Any) -> None:
    """
    Raises:
        LessonError: two networks that hand tensors to each other have different dtypes. The VAE may: it has
            its own (SDXL's runs in float32), and the pipeline converts.
    """
    import torch

    dtypes = {}
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module) and name not in ("vae", "safety_checker"):
            several = getattr(part, "nets", None)  # a MultiControlNetModel
            dtypes |= (
                {f"{name} {i + 1}": net.dtype for i, net in enumerate(several)}
                if several
                else {name: part.dtype}
            )
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{name} {str(dtype).removeprefix('torch.')}" for name, dtype in dtypes.items())
        raise LessonError(f"The pipeline mixes dtypes ({listed}): load every part with the same dtype=.")


def check_call(pipeline: Any, arguments: Mapping[str, Any]) -> None:
    """
    Raises:
        LessonError: calling `pipeline` with `arguments` would fail half-way: mixed dtypes, an IP-Adapter without a
            reference picture or a reference without an IP-Adapter, attention slicing over an IP-Adapter.
    """
    check_one_dtype(pipeline)
    adapted = has_ip_adapter(pipeline)
    given = (
        arguments.get("ip_adapter_image") is not None or arguments.get("ip_adapter_image_embeds") is not None
    )
    if adapted and not given:
        raise LessonError(
            "The pipeline has an IP-Adapter but no reference picture was given: give one, "
            "or take the adapter out with pipeline.unload_ip_adapter()."
        )
    if given and not adapted:
        raise LessonError("A reference picture was given but the pipeline has no IP-Adapter: load one first.")
    if adapted and slices_attention(pipeline):
        raise LessonError(
            "Attention slicing has replaced the IP-Adapter's attention: call ip_adapter.remove(pipeline), "
            "then ip_adapter.add, and leave enable_attention_slicing() out."
        )


def has_ip_adapter(pipeline: Any) -> bool:
    """Whether the UNet takes image embeddings beside the text's."""
    return getattr(pipeline.unet, "encoder_hid_proj", None) is not None


def slices_attention(pipeline: Any) -> bool:
    """Whether `enable_attention_slicing` is on."""
    return any(type(p).__name__.startswith("Sliced") for p in pipeline.unet.attn_processors.values())
