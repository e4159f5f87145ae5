"""What a picture costs: how often the UNet was asked, and the seconds in each network.

found = spent(pipeline, lambda: pipeline("a cat", num_inference_steps=4, guidance_scale=1.5))
found.passes            8: four steps, two predictions each
found.seconds["UNet"]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

REST = "the rest"  # schedulers, noise, pixels to picture


class Spent(NamedTuple):
    """`batches`: the predictions of each call of the UNet. `seconds` by network, and "the rest" outside of them."""

    batches: tuple[int, ...]
    seconds: dict[str, float]

    @property
    def passes(self) -> int:
        """Predictions of the UNet, counted alike whether they ran one by one or as a batch."""
        return sum(self.batches)


def spent(pipeline: Any, call: Callable[[], object]) -> Spent:
    """Run `call`, which uses `pipeline`, and say what it cost. Measure twice: a first call prepares things."""
    seconds = {"text encoder": 0.0, "UNet": 0.0, "VAE decoder": 0.0}
    batches: list[int] = []
    hooks = []

    def watch(name: str, network: Any) -> None:
        begun = [0.0]

        def before(_network: Any, inputs: tuple[Any, ...]) -> None:
            if name == "UNet":
                batches.append(len(inputs[0]))
            begun[0] = _now()

        def after(*_: Any) -> None:
            seconds[name] += _now() - begun[0]

        hooks.extend([network.register_forward_pre_hook(before), network.register_forward_hook(after)])

    for part in ("text_encoder", "text_encoder_2"):
        if getattr(pipeline, part, None) is not None:
            watch("text encoder", getattr(pipeline, part))
    watch("UNet", pipeline.unet)
    watch("VAE decoder", pipeline.vae.decoder)
    start = _now()
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    whole = _now() - start
    return Spent(tuple(batches), {**seconds, REST: whole - sum(seconds.values())})


def _now() -> float:
    """The time when everything asked of the GPU so far is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
