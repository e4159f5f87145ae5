"""sd15: text to picture, prompts worded plainly, seen and held-out combinations apart."""

from __future__ import annotations

from lessonlib.judge import Judge
from lessonlib.judge.evaluate import real_scenes
from lessonlib.models import store
from lessonlib.zoo.measures import generated
from lessonlib.zoo.measures.generated import GUIDANCE, STEPS, Tick, answers, first_sixteen, plain_captions
from lessonlib.zoo.measures.rows import Row, Sheet

MEMBERS = ("sd15",)
SPLITS = ("seen", "held-out", "pair", "person")
BARS = {
    ("object", "seen"): 0.95,
    ("object", "held-out"): 0.90,
    ("both objects", "pair"): 0.80,
    **{("background", split): 0.98 for split in ("seen", "held-out")},
    **{("style", split): 0.92 for split in ("seen", "held-out")},
    **{("place", split): 0.92 for split in ("seen", "held-out")},
}


def pictures(n: int) -> int:
    """One a prompt and split."""
    return len(SPLITS) * n


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """What the judge reads at 25 steps with guidance 4."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    rows: list[Row] = []
    sheets: list[Sheet] = []
    for split in SPLITS:
        scenes = real_scenes(split, n, seed)
        prompts = plain_captions(scenes)
        made = generated.pictures(
            pipeline, prompts, 1000 * seed, tick, num_inference_steps=STEPS, guidance_scale=GUIDANCE
        )
        rows += answers("sd15", split, made, scenes, judge, BARS)
        sheets.append(first_sixteen(f"sd15-{split}", f"sd15, {split}", prompts, made))
    return rows, sheets
