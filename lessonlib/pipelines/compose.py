"""Everything together (lesson, exercise 4): a pose, a face, and four steps.

ControlNets steer the layout, an IP-Adapter the look, and LCM-LoRA makes it quick. They meet in one UNet, and the
order in which they are loaded does not matter.

    pipeline = load(["pose"], "ip-adapter-face")
    picture(pipeline, "a superhero", ["pose"], [pose_map], face)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lessonlib.conditions import CONTROLNETS
from lessonlib.errors import LessonError
from lessonlib.pipelines import controlnet, generate, ip_adapter, lcm, loading
from lessonlib.pipelines.checks import check_call
from lessonlib.pipelines.limits import check_guidance, check_negative, check_steps

if TYPE_CHECKING:
    from PIL.Image import Image

LORA = "lcm-lora-sd15"


def load(names: Sequence[str] = ("pose",), adapter: str = "ip-adapter-face") -> Any:
    """Stable Diffusion 1.5 with ControlNets for the conditions `names`, an IP-Adapter and LCM-LoRA.

    Raises:
        LessonError: an unknown name, weights that are missing or cannot be downloaded.
    """
    names = controlnet.checked_names(names)
    ip_adapter.folder(adapter)  # all are known to be here before anything is loaded
    generate.folder(LORA)
    pipeline = controlnet.build([controlnet.load_net(name) for name in names])
    ip_adapter.add(pipeline, adapter)
    lcm.add_lora(pipeline, LORA)
    return loading.place(pipeline, ("sd15", *(CONTROLNETS[name] for name in names), adapter, LORA))


def picture(
    pipeline: Any,
    prompt: str,
    names: Sequence[str],
    maps: Sequence[Any],
    references: Any,
    *,
    control_scales: Sequence[float] | None = None,
    reference_scale: ip_adapter.Scale = 0.6,
    steps: int = 4,
    guidance: float = 1.5,
    negative_prompt: str | None = None,
    seed: int = 0,
) -> Image:
    """One picture that follows the control maps, looks like the references, and takes `steps` steps.

    Args:
        names, maps, control_scales: as `controlnet.arguments`; the ControlNets in the order they were loaded in.
        references, reference_scale: as `ip_adapter.arguments` and `ip_adapter.set_scale`.
        guidance: 1 is off; above it every step takes two passes, and the negative prompt counts.

    Raises:
        LessonError: what those say; steps or guidance out of range; another number of ControlNets than loaded.
    """
    check_steps(steps, lcm.MOST_LCM_STEPS, "an LCM was distilled on 50 steps")
    check_guidance(guidance)
    check_negative(negative_prompt, guidance)
    loaded = len(getattr(pipeline.controlnet, "nets", [pipeline.controlnet]))
    if len(names) != loaded:
        raise LessonError(
            f"The pipeline has {loaded} ControlNets and {len(names)} were named: name them all."
        )
    together = controlnet.arguments(names, maps, control_scales) | ip_adapter.arguments(pipeline, references)
    check_call(pipeline, together)
    ip_adapter.set_scale(pipeline, reference_scale)
    return pipeline(
        prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=loading.noise(seed),
        **together,
    ).images[0]
