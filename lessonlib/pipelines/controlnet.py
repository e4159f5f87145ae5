"""Control maps (lesson, section 2): one ControlNet or several, loaded once and kept.

    generator = ControlNetGenerator()
    picture, maps = generator.with_canny("a cat at sunset", "photo.jpg", size=(512, 512))
    picture, maps = generator.with_several("a cat", "photo.jpg", ["canny", "depth"], scales=[1.0, 0.5])

A scale multiplies every residual: at 0 the ControlNet is not there, at 0.5 its residuals are halved.

Source: Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models" (2023).
"""

# diffusers' from_pretrained is annotated wider than what it returns:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lessonlib.conditions import CONTROLNETS, NAMES, canny, condition
from lessonlib.errors import LessonError
from lessonlib.pipelines import loading
from lessonlib.pipelines.checks import check_call, checked_size, fitted, one_each, one_size, rgb, sized
from lessonlib.pipelines.limits import check_guidance, check_negative, check_steps

if TYPE_CHECKING:
    from PIL.Image import Image

    from lessonlib.world import Rendered, Scene

    Source = Image | str | os.PathLike[str] | Scene | Rendered

_LINES = ("canny", "scribble", "lineart", "pose")  # drawn in light strokes on black


class Controlled(NamedTuple):
    """The picture, and the maps it was made to follow."""

    picture: Image
    maps: list[Image]


class ControlNetGenerator:
    """Stable Diffusion 1.5 with whichever ControlNets are asked for; what is loaded stays loaded."""

    def __init__(self) -> None:
        self.nets: dict[str, Any] = {}
        self.pipeline: Any = None
        self._used: tuple[str, ...] = ()

    def use(self, names: Sequence[str]) -> Any:
        """The pipeline with these ControlNets, in this order.

        Raises:
            LessonError: an unknown condition, weights that are missing or cannot be downloaded.
        """
        used = checked_names(names)
        if self.pipeline is not None and used == self._used:
            return self.pipeline
        for name in used:
            if name not in self.nets:
                self.nets[name] = load_net(name)
        nets = [self.nets[name] for name in used]
        if self.pipeline is None:
            self.pipeline = build(nets)
        else:
            self.pipeline.register_modules(controlnet=joined(nets))
        self._used = used
        return loading.place(self.pipeline, ("sd15", *dict.fromkeys(CONTROLNETS[name] for name in used)))

    def with_canny(
        self,
        prompt: str,
        picture: Image | str | os.PathLike[str],
        low: float = canny.LOW,
        high: float = canny.HIGH,
        size: tuple[int, int] | None = None,
        scale: float = 1.0,
        **sampling: Any,
    ) -> Controlled:
        """A new picture with the old one's edges.

        Args:
            low, high: Canny's thresholds, 0 to 255 and beyond; lower ones find more edges.
            size: (width, height); by default the picture's own.
            sampling: `generate`'s further arguments.

        Raises:
            LessonError: what `generate` says; thresholds in the wrong order; no picture.
        """
        from PIL import Image

        if not 0 <= low <= high:
            raise LessonError(f"The thresholds are {low:g} and {high:g}: the first must be 0 to the second.")
        picture = rgb(picture)
        picture = fitted(picture, checked_size(size)) if size else sized(picture)
        map_ = Image.fromarray(canny.from_picture(np.asarray(picture), low, high))
        return Controlled(self.generate(prompt, ["canny"], [map_], [scale], **sampling), [map_])

    def with_pose(
        self,
        prompt: str,
        picture: Source,
        size: tuple[int, int] | None = None,
        scale: float = 1.0,
        **sampling: Any,
    ) -> Controlled:
        """A new picture of somebody in the same pose. See `with_several`."""
        return self.with_several(prompt, picture, ["pose"], [scale], size, **sampling)

    def with_condition(
        self,
        name: str,
        prompt: str,
        picture: Source,
        size: tuple[int, int] | None = None,
        scale: float = 1.0,
        **sampling: Any,
    ) -> Controlled:
        """A new picture that follows one condition of the old one. See `with_several`."""
        return self.with_several(prompt, picture, [name], [scale], size, **sampling)

    def with_several(
        self,
        prompt: str,
        picture: Source,
        names: Sequence[str],
        scales: Sequence[float] | None = None,
        size: tuple[int, int] | None = None,
        **sampling: Any,
    ) -> Controlled:
        """A new picture that follows several conditions of one picture or scene.

        Args:
            picture: a picture, a file, or a scene of the emoji world, whose ground truth is then used.
            names: of `conditions.NAMES`.
            scales: one for each; all 1 by default.
            size: (width, height); by default the picture's own.
            sampling: `generate`'s further arguments.

        Raises:
            LessonError: what `conditions.condition` and `generate` say.
        """
        names = checked_names(names)
        checked_scales(scales, len(names))
        maps = [condition(name, picture, size) for name in names]
        return Controlled(self.generate(prompt, names, maps, scales, **sampling), maps)

    def generate(
        self,
        prompt: str,
        names: Sequence[str],
        maps: Sequence[Image],
        scales: Sequence[float] | None = None,
        *,
        steps: int = 20,
        guidance: float = 7.5,
        negative_prompt: str | None = None,
        seed: int = 0,
    ) -> Image:
        """A picture that follows control maps that are there already.

        Args:
            names, maps, scales: as `arguments`.

        Raises:
            LessonError: what `arguments` says; steps or guidance out of range; weights that cannot be had.
        """
        check_steps(steps)
        check_guidance(guidance)
        check_negative(negative_prompt, guidance)
        control = arguments(names, maps, scales)
        pipeline = self.use(names)
        check_call(pipeline, control)
        return pipeline(
            prompt,
            negative_prompt=negative_prompt,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=loading.noise(seed),
            **control,
        ).images[0]


def arguments(
    names: Sequence[str], maps: Sequence[Any], scales: Sequence[float] | None = None
) -> dict[str, Any]:
    """What a ControlNet pipeline is called with, for one ControlNet or several in this order.

    Args:
        names: of `conditions.NAMES`.
        maps: for each name its control map, PIL or a file, all of one size in multiples of 8.
        scales: for each name a number from 0; all 1 by default.

    Raises:
        LessonError: lists of different lengths (diffusers drops ControlNets without a scale in silence), maps of
            different sizes, arrays, dark lines on light paper.
    """
    names = checked_names(names)
    maps = one_each(maps, len(names), "control maps", "ControlNets")
    scales = checked_scales(scales, len(names))
    maps = [sized(map_, f"The {name} map") for name, map_ in zip(names, maps, strict=True)]
    width, height = one_size(maps, "The control maps")
    for name, map_ in zip(names, maps, strict=True):
        if name in _LINES and np.asarray(map_).mean() > 127:
            raise LessonError(
                f"The {name} map is mostly light, but ControlNet learned light lines on black: "
                "turn a drawing on paper into one with conditions.scribble.from_drawing."
            )
    one = len(names) == 1
    return {
        "image": maps[0] if one else maps,
        "controlnet_conditioning_scale": scales[0] if one else scales,
        "width": width,
        "height": height,
    }


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """
    Raises:
        LessonError: a word instead of a list, no name, a name that is no condition.
    """
    if isinstance(names, str) or not names:
        raise LessonError(f"The conditions must be a list such as ['canny', 'depth'], not {names!r}.")
    for name in names:
        if name not in CONTROLNETS:
            raise LessonError(f"There is no condition called '{name}': choose from {', '.join(NAMES)}.")
    return tuple(names)


def checked_scales(scales: Sequence[float] | None, count: int) -> list[float]:
    """One finite scale from 0 for each of `count` ControlNets; all 1 for None.

    Raises:
        LessonError: another number of scales, or a scale below 0.
    """
    if isinstance(scales, int | float):
        raise LessonError(f"The scales must be a list with one number for each ControlNet, not {scales!r}.")
    scales = one_each([1.0] * count if scales is None else scales, count, "scales", "ControlNets")
    for scale in scales:
        if not (math.isfinite(scale) and scale >= 0):
            raise LessonError(f"A ControlNet's scale is {scale:g}: choose 0 (off) to about 2.")
    return [float(scale) for scale in scales]


def load_net(name: str) -> Any:
    """The ControlNet that reads the condition `name`, in this machine's dtype.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    path = loading.folder(CONTROLNETS[name])
    from diffusers import ControlNetModel

    return ControlNetModel.from_pretrained(path, dtype=loading.options(CONTROLNETS[name])["dtype"])


def build(nets: Sequence[Any], base: str = "sd15") -> Any:
    """The pipeline around loaded ControlNets, on the CPU, with the UniPC scheduler: 20 steps are enough for it.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    path = loading.folder(base)
    from diffusers import StableDiffusionControlNetPipeline, UniPCMultistepScheduler

    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        path, controlnet=joined(nets), **loading.options(base)
    )
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def joined(nets: Sequence[Any]) -> Any:
    """One ControlNet as it is, several as diffusers' MultiControlNetModel, which adds up their residuals."""
    from diffusers import MultiControlNetModel

    return nets[0] if len(nets) == 1 else MultiControlNetModel(list(nets))
