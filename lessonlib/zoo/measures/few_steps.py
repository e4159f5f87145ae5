"""Few-step models against their teachers: what of 25 guided steps is left at 4 or 2 (`one_step`: at 1).

Accuracy alone hardly tells samplers apart here: plain DDIM at 4 steps keeps most of it. So the pictures at 4 steps must also
be nearer to the teacher's 25 than to plain DDIM's 4, in KID on the judge's features and in sharpness. A one-step model that
draws one picture for each prompt would score well on accuracy, so its pairwise diversity is held against the teacher's.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lessonlib.judge import Judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.kid import kid_difference
from lessonlib.models import store
from lessonlib.world.scene import Scene
from lessonlib.zoo.measures import generated
from lessonlib.zoo.measures.compared import diversity_kept, kept, nearer_in_sharpness
from lessonlib.zoo.measures.generated import GUIDANCE, STEPS, Tick, plain_captions
from lessonlib.zoo.measures.rows import Row, Sheet, row

MEMBERS = ("lcm", "lcm-lora-sd15", "lcm-lora-sdxl")
READS = ("sd15", "sdxl-base")
APART = True
TEACHERS = {"lcm": "sd15", "lcm-lora-sd15": "sd15", "lcm-lora-sdxl": "sdxl-base", "sdxl-turbo": "sdxl-base"}
SPLITS = ("seen", "held-out")
QUESTIONS = ("object", "background", "style")
BARS = {4: 0.97, 2: 0.92, 1: 0.90}  # steps -> the share of the teacher's right answers
GUIDANCES = {"lcm": GUIDANCE, "lcm-lora-sd15": 1.0, "lcm-lora-sdxl": 1.0, "sdxl-turbo": 0.0}
DIVERSITY, SEEDS = 0.70, 4  # the bar of one-step pictures; seeds a prompt


@dataclass(frozen=True)
class Goal:
    """A teacher's pictures: 25 guided steps of every split, plain DDIM's 4 of the first, some prompts with several seeds."""

    scenes: dict[str, list[Scene]]
    full: dict[str, np.ndarray]
    four: np.ndarray
    varied: np.ndarray  # judge's features [prompts, seeds, F]


def steps_of(member: str) -> tuple[int, ...]:
    """The numbers of steps a member is measured at."""
    return (1,) if member == "sdxl-turbo" else (4, 2)


def _shipped(members: Sequence[str]) -> list[str]:
    return [name for name in members if name in store.members()]


def _prompts_varied(n: int) -> int:
    return max(2, n // 10)


def pictures(n: int, members: Sequence[str] = MEMBERS) -> int:
    """The teachers' sets and each member's."""
    varied, shipped = SEEDS * _prompts_varied(n), _shipped(members)
    teachers = len({TEACHERS[name] for name in shipped}) * (n * (len(SPLITS) + 1) + varied)
    return teachers + sum(n * len(SPLITS) * len(steps_of(name)) + varied for name in shipped)


def measure(
    n: int, seed: int, judge: Judge, tick: Tick, members: Sequence[str] = MEMBERS
) -> tuple[list[Row], list[Sheet]]:
    """Every shipped member beside its teacher; each teacher draws once."""
    goals: dict[str, Goal] = {}
    rows: list[Row] = []
    sheets: list[Sheet] = []
    for member in _shipped(members):
        teacher = TEACHERS[member]
        if teacher not in goals:
            goals[teacher] = _goal(teacher, n, seed, judge, tick)
        more, sheet = _measured(member, goals[teacher], seed, judge, tick)
        rows += more
        sheets.append(sheet)
    return rows, sheets


def loaded(member: str) -> Any:
    """The member as the lesson's real calls load it."""
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline, LCMScheduler

    if member.startswith("lcm-lora"):
        pipeline = AutoPipelineForText2Image.from_pretrained(store.unfold(TEACHERS[member]))
        pipeline.load_lora_weights(store.unfold(member))
        pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    else:
        pipeline = DiffusionPipeline.from_pretrained(store.unfold(member))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _goal(teacher: str, n: int, seed: int, judge: Judge, tick: Tick) -> Goal:
    from diffusers import AutoPipelineForText2Image, DDIMScheduler

    pipeline = AutoPipelineForText2Image.from_pretrained(store.unfold(teacher))
    pipeline.set_progress_bar_config(disable=True)
    scenes = {split: real_scenes(split, n, seed) for split in SPLITS}
    full = {
        split: _drawn(pipeline, plain_captions(of_split), seed, tick, STEPS, GUIDANCE)
        for split, of_split in scenes.items()
    }
    varied = _varied(pipeline, scenes[SPLITS[0]], seed, judge, tick, STEPS, GUIDANCE)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    four = _drawn(pipeline, plain_captions(scenes[SPLITS[0]]), seed, tick, 4, GUIDANCE)
    return Goal(scenes, full, four, varied)


def _drawn(
    pipeline: Any, prompts: Sequence[str], seed: int, tick: Tick, steps: int, guidance: float
) -> np.ndarray:
    settings = {"num_inference_steps": steps, "guidance_scale": guidance}
    return generated.pictures(pipeline, prompts, 1000 * seed, tick, **settings)


def _varied(
    pipeline: Any, scenes: Sequence[Scene], seed: int, judge: Judge, tick: Tick, steps: int, guidance: float
) -> np.ndarray:
    """The judge's features of `SEEDS` pictures of each of the first prompts: [prompts, seeds, F]."""
    prompts = plain_captions(scenes[: _prompts_varied(len(scenes))])
    repeated = [prompt for prompt in prompts for _ in range(SEEDS)]
    features = judge.features(list(_drawn(pipeline, repeated, seed + 1, tick, steps, guidance)))
    return features.reshape(len(prompts), SEEDS, -1)


def _measured(member: str, goal: Goal, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], Sheet]:
    pipeline, guidance = loaded(member), GUIDANCES[member]
    first = SPLITS[0]
    rows: list[Row] = []
    shown = [(f"teacher, {STEPS} steps", list(goal.full[first][:8]))]
    for steps in steps_of(member):
        name = f"{steps} step{'s' if steps > 1 else ''}"
        for split, scenes in goal.scenes.items():
            made = _drawn(pipeline, plain_captions(scenes), seed, tick, steps, guidance)
            ours, theirs = (score(list(one), scenes, judge).answers for one in (made, goal.full[split]))
            rows += [
                row(member, f"{question}, of the teacher's", f"{split}, {name}", kept(ours, theirs, question), BARS[steps])
                for question in QUESTIONS
            ]  # fmt: skip
            if split != first:
                continue
            shown.append((name, list(made[:8])))
            if steps == 4:
                rows += _nearness(member, made, goal, judge)
    steps = steps_of(member)[0]
    varied = _varied(pipeline, goal.scenes[first], seed, judge, tick, steps, guidance)
    bar = DIVERSITY if steps == 1 else None
    rows.append(row(member, "diversity, of the teacher's", f"{first}, {steps} step{'s' if steps > 1 else ''}",
                    diversity_kept(varied, goal.varied), bar))  # fmt: skip
    labels = ", ".join(label for label, _ in shown)
    sheet = Sheet(member, f"{member}, from top to bottom: {labels}; the first 8 seeds.", shown)
    return rows, sheet


def _nearness(member: str, made: np.ndarray, goal: Goal, judge: Judge) -> list[Row]:
    full, split = goal.full[SPLITS[0]], "4 steps, nearer to the teacher than DDIM's 4"
    ours, theirs, plain = (judge.features(list(one)) for one in (made, full, goal.four))
    return [
        row(member, "kid_gain", split, kid_difference(plain, ours, theirs), 0.0),
        row(member, "sharpness_gain", split, nearer_in_sharpness(made, goal.four, full), 0.0),
    ]
