"""How fast things are on this machine: medians, and ratios of what ran side by side in one run.

Machines are noisy, so a single time means little; a ratio of two things that took turns means more. Nothing here is a test.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lessonlib.files import write_text


@dataclass(frozen=True)
class Row:
    """One figure. `ratio` is value / the value of the row named `against`, both measured in turns."""

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None
    device: str = "cpu"


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _in_turns(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Median seconds of each, and the median of the ratios first / second, after one warm-up of both."""
    first()
    second()
    pairs = [(_seconds(first), _seconds(second)) for _ in range(rounds)]
    medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
    return medians[0], medians[1], statistics.median(a / b for a, b in pairs)


def _python(code: str) -> Callable[[], object]:
    """A fresh interpreter that runs `code`."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def imports() -> Iterator[Row]:
    """Whole processes: an empty one is the floor."""
    ours, empty, ratio = _in_turns(_python("import lessonlib"), _python("pass"), 5)
    yield Row("an empty Python process", empty, "s")
    yield Row("import lessonlib", ours, "s", "an empty Python process", ratio)


def world() -> Iterator[Row]:
    """Scenes a render: the mean over 200 scenes of all kinds and styles."""
    from lessonlib.world.render import render
    from lessonlib.world.scene import sample

    scenes = [sample(seed) for seed in range(200)]
    for scene in scenes:
        render(scene)
    yield Row("render a scene", 1000 * _seconds(lambda: [render(scene) for scene in scenes]) / 200, "ms")


def pictures() -> Iterator[Row]:
    """sd15 at 25 steps with guidance: the first picture of a process, warm ones, and a batch of eight."""
    from diffusers import StableDiffusionPipeline

    from lessonlib.models import device, dtype, repo

    prompt = "a red apple on the beach, 3d style"
    first = (
        "from diffusers import StableDiffusionPipeline\nfrom lessonlib import repo\n"
        f"StableDiffusionPipeline.from_pretrained(repo('sd15'))({prompt!r}, num_inference_steps=25)"
    )
    yield Row("first picture of a process, imports and loading included", _seconds(_python(first)), "s")
    pipeline = StableDiffusionPipeline.from_pretrained(repo("sd15"), dtype=dtype()).to(device())
    pipeline.set_progress_bar_config(disable=True)
    one, eight, ratio = _in_turns(
        lambda: pipeline(prompt, num_inference_steps=25),
        lambda: pipeline([prompt] * 8, num_inference_steps=25),
        3,
    )
    yield Row("a picture, 25 steps with guidance", one, "s", device=device())
    yield Row(
        "eight pictures in one batch", eight, "s", "a picture, 25 steps with guidance", 1 / ratio, device()
    )


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
        mine, other, ratio = _in_turns(
            lambda: ours(sample, timestep, states), lambda: theirs(sample, timestep, states), 25
        )
    yield Row("sd15 UNet forward, diffusers", 1000 * other, "ms")
    yield Row(
        "sd15 UNet forward, lessonlib.scratch", 1000 * mine, "ms", "sd15 UNet forward, diffusers", ratio
    )


SECTIONS: dict[str, Callable[[], Iterator[Row]]] = {
    "import": imports,
    "world": world,
    "pictures": pictures,
    "scratch": from_scratch,
}


def machine() -> str:
    """What the figures were measured on, without naming anybody's computer."""
    import os

    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}"
    )


def write(rows: list[Row], docs: Path) -> list[Path]:
    """`bench.json` and `bench.md`."""
    table = [asdict(row) for row in rows]
    write_text(docs / "bench.json", json.dumps({"machine": machine(), "rows": table}, indent=1) + "\n")
    lines = [
        "# Speed",
        "",
        f"Written by `lesson bench` on: {machine()}. Medians; a ratio compares two things that took turns in one run.",
        "",
        "| what | measured | ratio | against |",
        "|---|---|---|---|",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(f"| {row.name} | {row.value:.3g} {row.unit} | {ratio} | {row.against or ''} |")
    write_text(docs / "bench.md", "\n".join(lines) + "\n")
    return [docs / "bench.json", docs / "bench.md"]
