"""What every load has in common: whose files, in which dtype, and where the networks go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lessonlib.conditions.detectors import check_torchvision
from lessonlib.models.catalogue import find
from lessonlib.pipelines import generate


def folder(model: str) -> str:
    """Where a model's files lie on this machine. Called first: what is wrong is said before torch is loaded.

    Raises:
        LessonError: unknown name, tiny weights that are missing or damaged, a download that cannot be done, a
            torchvision that would break diffusers.
    """
    path = generate.folder(model)
    check_torchvision()
    return path


def options(model: str) -> dict[str, Any]:
    """`dtype` and `variant` for `from_pretrained`: one dtype for all networks of this machine."""
    from lessonlib.models import machine

    return {"dtype": machine.dtype(), "variant": find(model).variant if machine.tier() == "full" else None}


def place(pipeline: Any, models: Iterable[str]) -> Any:
    """The pipeline on this machine's device, or offloaded where the GPU is too small for all of `models` at once.

    Called last: adapters must be in before offloading is on.
    """
    from lessonlib.models import machine, memory

    needed = memory.need(type(pipeline).__name__, tuple(models))
    offload = memory.fits(needed, machine.ram_bytes(), machine.vram_bytes()) == "with offload"
    if machine.tier() == "full" and offload:
        pipeline.enable_model_cpu_offload()
        return pipeline
    return pipeline.to(machine.device())


def noise(seed: int) -> Any:
    """A generator on the CPU, whose noise is the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)
