"""What everybody waits for: importing the package, rendering a scene, a UNet's forward pass."""

# diffusers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

from lessonlib.bench.rows import Row, in_turns, seconds


def python(code: str) -> Callable[[], object]:
    """A fresh interpreter that runs `code`."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def imports() -> Iterator[Row]:
    """Whole processes: an empty one is the floor."""
    ours, empty, ratio = in_turns(python("import lessonlib"), python("pass"), 5)
    yield Row("an empty Python process", empty, "s")
    yield Row("import lessonlib", ours, "s", "an empty Python process", ratio)


def world() -> Iterator[Row]:
    """Scenes a render: the mean over 200 scenes of all kinds and styles."""
    from lessonlib.world.render import render
    from lessonlib.world.scene import sample

    scenes = [sample(seed) for seed in range(200)]
    for scene in scenes:
        render(scene)
    yield Row("render a scene", 1000 * seconds(lambda: [render(scene) for scene in scenes]) / 200, "ms")


def from_scratch() -> Iterator[Row]:
    """The UNet that the course writes itself against diffusers', same weights, same inputs."""
    import torch
    from diffusers import UNet2DConditionModel

    from lessonlib.models import repo
    from lessonlib.scratch.unet import UNet

    theirs = UNet2DConditionModel.from_pretrained(repo("sd15", tier="tiny"), subfolder="unet").eval()
    ours = UNet.from_diffusers(dict(theirs.config), theirs.state_dict()).eval()
    sample, states = torch.randn(2, 4, 16, 16), torch.randn(2, 77, theirs.config.cross_attention_dim)
    timestep = torch.tensor([500, 500])
    with torch.no_grad():
        mine, other, ratio = in_turns(
            lambda: ours(sample, timestep, states), lambda: theirs(sample, timestep, states), 25
        )
    yield Row("sd15 UNet forward, diffusers", 1000 * other, "ms")
    yield Row(
        "sd15 UNet forward, lessonlib.scratch", 1000 * mine, "ms", "sd15 UNet forward, diffusers", ratio
    )
