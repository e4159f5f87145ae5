"""What each setting of sd15 gave, picture by picture, judged: measured once, because a check must answer at once.

`python -m lessonlib.grading.measured` makes every picture of the grid with the shipped weights, lets the judge score
it, and writes `measured/sd15_settings.json`. Every setting paints the same scenes from the same noise. A check draws
some of the scenes by its seed and looks the settings up: practice and grading see different scenes.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.files import write_text

PATH = Path(__file__).parent / "measured" / "sd15_settings.json"

SAMPLERS = {"ddim": "DDIMScheduler", "euler": "EulerDiscreteScheduler", "unipc": "UniPCMultistepScheduler"}
STEPS = (2, 4, 8, 16)
GUIDANCE = (1.0, 2.5, 5.0)
SPLITS = ("seen", "held-out", "person")
SEED = 6  # of the scenes; no training uses this stream


def cells() -> list[tuple[str, int, float]]:
    """(sampler, steps, guidance scale) of the grid."""
    return [(sampler, steps, scale) for sampler in SAMPLERS for steps in STEPS for scale in GUIDANCE]


def key(sampler: str, steps: int, guidance_scale: float) -> str:
    """How the file names a cell."""
    return f"{sampler} {steps} {guidance_scale:g}"


def evaluations(steps: int, guidance_scale: float) -> int:
    """UNet evaluations a picture: two a step where guidance is on."""
    return steps * (2 if guidance_scale > 1 else 1)


def fidelity(sampler: str, steps: int, guidance_scale: float, scenes: Sequence[int]) -> float:
    """The mean share of what the prompts asked for that the judge finds in the pictures of these scenes."""
    found = table()["pictures"][key(sampler, steps, guidance_scale)]
    return sum(found[scene] for scene in scenes) / len(scenes)


def drawn(seed: int) -> list[int]:
    """All scenes but one in six, by the seed."""
    import random

    count = table()["scenes"]
    return sorted(random.Random(seed).sample(range(count), count - count // 6))


@functools.cache
def table() -> dict[str, Any]:
    """The file: `scenes` (how many), `pictures` (cell -> a score from 0 to 1 for each scene), `prompts`.

    Raises:
        LessonError: it is missing or damaged.
    """
    try:
        found = json.loads(PATH.read_text(encoding="utf-8"))
        if any(len(found["pictures"][key(*cell)]) != found["scenes"] for cell in cells()):
            raise ValueError("a cell is not complete")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LessonError(
            f"The measurements {PATH} are missing or damaged ({error}): restore the file with `git checkout`, or "
            "measure again with `python -m lessonlib.grading.measured`."
        ) from error
    return found


def measure(scenes_a_split: int = 40) -> None:
    """Measure the whole grid and write the file. Minutes: every picture of the grid is made."""
    import diffusers
    import torch

    from lessonlib.judge import load_judge, score
    from lessonlib.judge.evaluate import real_scenes
    from lessonlib.models import store
    from lessonlib.world.captions import caption

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline: Any = diffusers.StableDiffusionPipeline.from_pretrained(store.unfold("sd15")).to(device)
    pipeline.set_progress_bar_config(disable=True)
    scenes = [scene for split in SPLITS for scene in real_scenes(split, scenes_a_split, SEED)]
    prompts = [caption(scene) for scene in scenes]
    judge, config = load_judge(), pipeline.scheduler.config
    pictures: dict[str, list[float]] = {}
    for sampler, steps, scale in cells():
        pipeline.scheduler = getattr(diffusers, SAMPLERS[sampler]).from_config(config)
        noise = [torch.Generator().manual_seed(index) for index in range(len(prompts))]
        made = pipeline(
            prompts, num_inference_steps=steps, guidance_scale=scale, generator=noise, output_type="np"
        ).images
        answers = score(list((made * 255).round().astype("uint8")), scenes, judge).answers
        pictures[key(sampler, steps, scale)] = [round(sum(a.values()) / len(a), 4) for a in answers]
        print(
            f"{key(sampler, steps, scale):>16}  {sum(pictures[key(sampler, steps, scale)]) / len(scenes):.3f}"
        )
    note = {
        "scenes": len(scenes),
        "prompts": prompts,
        "weights": {"sd15": store.digest("sd15")},
        "pictures": pictures,
    }
    write_text(PATH, json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__).parse_args()
    measure()
