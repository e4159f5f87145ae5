"""ControlNets: does the picture keep what the control map asks for, and does it still show what the prompt asks for?

Every figure stands beside three others: the same without control ("scale 0"), the same pictures held against another
scene's map ("shuffled": what agreement is worth by chance), and real scenes through the VAE ("VAE": what can be had).
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lessonlib.conditions import CONTROLNETS, canny, from_truth, lineart, scribble
from lessonlib.judge import Judge, score
from lessonlib.judge.edges import edge_f1
from lessonlib.judge.evaluate import dense_errors, real_scenes
from lessonlib.judge.intervals import bootstrap_mean
from lessonlib.judge.verdict import Verdict
from lessonlib.models import store
from lessonlib.world.render import Rendered, render
from lessonlib.zoo.measures import generated
from lessonlib.zoo.measures.generated import BATCH, GUIDANCE, STEPS, Tick, plain_captions, to_uint8
from lessonlib.zoo.measures.rows import Row, Sheet, row
from lessonlib.zoo.measures.vae import reconstructions
from lessonlib.zoo.recipes.controlnet import as_input

MEMBERS = tuple(CONTROLNETS.values())
READS = ("sd15",)
APART = True
MULTI = ("canny", "depth")  # the pair that is measured together
SHOWN = 8

# (the picture, its verdict, the scene it should follow) -> one number
Agreement = Callable[[np.ndarray, Verdict, Rendered], float]


def _of_lines(condition: Any, pixels: float, threshold: int = 0) -> Agreement:
    """F1 of the picture's own control map against the scene's, at a tolerance in pixels."""

    def agreement(picture: np.ndarray, _: Verdict, truth: Rendered) -> float:
        found, asked = condition.from_picture(picture), condition.from_truth(truth)
        return edge_f1(found[..., 0] > threshold, asked[..., 0] > threshold, pixels)

    return agreement


def _dense(name: str) -> Agreement:
    return lambda _, verdict, truth: dense_errors(truth, verdict)[name]


@dataclass(frozen=True)
class Measured:
    """How a condition is measured: the metric's name, its value for one picture, the bar out of the other splits' values."""

    metric: str
    agreement: Agreement
    bar: Callable[[dict[str, float]], float]
    split: str = "seen"


MEASURED: dict[str, Measured] = {
    "canny": Measured("edge_f1", _of_lines(canny, 2), lambda others: 0.9 * others["VAE"]),
    "lineart": Measured("edge_f1", _of_lines(lineart, 2, 127), lambda others: 0.9 * others["VAE"]),
    "scribble": Measured("edge_f1", _of_lines(scribble, 4, 127), lambda _: 0.6),
    "depth": Measured("depth_rmse", _dense("depth_rmse"), lambda others: 0.5 * others["shuffled"]),
    "normal": Measured("normal_angle", _dense("normal_angle"), lambda others: 0.5 * others["shuffled"]),
    "segmentation": Measured("miou", _dense("miou"), lambda _: 0.8),
    "pose": Measured("pck", _dense("pck"), lambda _: 0.85, split="person"),
}


@dataclass(frozen=True)
class Asked:
    """The scenes that are asked for, and what the plain sd15 draws for their prompts."""

    truths: list[Rendered]
    prompts: list[str]
    base: np.ndarray
    decoded: np.ndarray  # the scenes' own pictures through the VAE
    base_verdicts: Sequence[Verdict]
    decoded_verdicts: Sequence[Verdict]


def _shipped(members: Sequence[str]) -> list[str]:
    """The conditions of those members that are shipped, and with one of the pair the other."""
    shipped = [condition for condition, name in CONTROLNETS.items() if name in store.members()]
    asked = {condition for condition in shipped if CONTROLNETS[condition] in members}
    if asked & set(MULTI) and set(MULTI) <= set(shipped):
        asked |= set(MULTI)
    return [condition for condition in shipped if condition in asked]


def pictures(n: int, members: Sequence[str] = MEMBERS) -> int:
    """n a ControlNet, n a set of scenes for the base alone, n for the pair."""
    shipped = _shipped(members)
    both = set(MULTI) <= set(shipped)
    return n * (len(shipped) + len({MEASURED[condition].split for condition in shipped}) + both)


def measure(
    n: int, seed: int, judge: Judge, tick: Tick, members: Sequence[str] = MEMBERS
) -> tuple[list[Row], list[Sheet]]:
    """The shipped ControlNets, at scale 1, and canny and depth together."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    folder = store.unfold("sd15")
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    sets: dict[str, Asked] = {}
    rows: list[Row] = []
    sheets: list[Sheet] = []
    single: dict[str, float] = {}
    for condition in _shipped(members):
        how = MEASURED[condition]
        if how.split not in sets:
            sets[how.split] = _asked(pipeline, vae, how.split, n, seed, judge, tick)
        asked = sets[how.split]
        made = steered(pipeline, [condition], asked.truths, asked.prompts, 1000 * seed, tick)
        verdicts = judge.judge(list(made))
        new = _rows(condition, asked, made, verdicts, judge)
        single[condition] = new[0].value
        rows += new
        sheets.append(_sheet([condition], asked, made))
    if set(MULTI) <= set(single):
        asked = sets["seen"]
        made = steered(pipeline, list(MULTI), asked.truths, asked.prompts, 1000 * seed, tick)
        rows += _multi_rows(asked, made, judge.judge(list(made)), single)
        sheets.append(_sheet(list(MULTI), asked, made))
    return rows, sheets


def _asked(pipeline: Any, vae: Any, split: str, n: int, seed: int, judge: Judge, tick: Tick) -> Asked:
    truths = [render(scene) for scene in real_scenes(split, n, seed)]
    prompts = plain_captions([truth.scene for truth in truths])
    base = generated.pictures(
        pipeline,
        prompts,
        1000 * seed,
        tick,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        **_size(truths),
    )
    decoded = reconstructions(vae, np.stack([truth.image for truth in truths]))
    return Asked(truths, prompts, base, decoded, judge.judge(list(base)), judge.judge(list(decoded)))


def _size(truths: list[Rendered]) -> dict[str, int]:
    height, width = truths[0].classes.shape
    return {"height": height, "width": width}


def steered(
    pipeline: Any,
    conditions: list[str],
    truths: list[Rendered],
    prompts: list[str],
    seed: int,
    tick: Tick,
    controlnets: list[Any] | None = None,
    **settings: Any,
) -> np.ndarray:
    """One picture a scene under its own control maps, uint8 [N, H, W, 3]; noise as `generated.pictures` draws it.

    Args:
        pipeline: sd15's.
        controlnets: the networks, by default the shipped ones of the conditions' names.
        settings: what the pipeline is told instead of the report's steps and guidance.
    """
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    networks = controlnets or [
        ControlNetModel.from_pretrained(store.unfold(CONTROLNETS[condition])) for condition in conditions
    ]
    steering = StableDiffusionControlNetPipeline(
        **pipeline.components,
        controlnet=networks[0] if len(networks) == 1 else networks,
        requires_safety_checker=False,
    )
    steering.set_progress_bar_config(disable=True)
    done = []
    for start in range(0, len(prompts), BATCH):
        batch = slice(start, start + BATCH)
        maps = [
            as_input(np.stack([from_truth(condition, truth) for truth in truths[batch]]))
            for condition in conditions
        ]
        count = len(prompts[batch])
        done.append(
            steering(
                prompts[batch],
                image=maps[0] if len(maps) == 1 else maps,
                controlnet_conditioning_scale=1.0 if len(maps) == 1 else [1.0] * len(maps),
                generator=[torch.Generator().manual_seed(seed + start + k) for k in range(count)],
                output_type="np",
                **{"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **settings},
            ).images
        )
        tick(count)
    return to_uint8(np.concatenate(done))


def agreements(
    condition: str, pictures: np.ndarray, verdicts: Sequence[Verdict], truths: Sequence[Rendered]
) -> list[float]:
    """The condition's metric for each picture against the scene it should follow."""
    how = MEASURED[condition].agreement
    return [how(*one) for one in zip(pictures, verdicts, truths, strict=True)]


def _rows(
    condition: str, asked: Asked, made: np.ndarray, verdicts: Sequence[Verdict], judge: Judge
) -> list[Row]:
    """The controlled row first, then what it stands beside, then whether the prompt still holds."""
    how, member = MEASURED[condition], CONTROLNETS[condition]
    others = [*asked.truths[1:], asked.truths[0]]
    beside = {
        "scale 0": agreements(condition, asked.base, asked.base_verdicts, asked.truths),
        "shuffled": agreements(condition, made, verdicts, others),
        "VAE": agreements(condition, asked.decoded, asked.decoded_verdicts, asked.truths),
    }
    intervals = {split: bootstrap_mean(values) for split, values in beside.items()}
    bar = how.bar({split: interval.value for split, interval in intervals.items()})
    controlled = bootstrap_mean(agreements(condition, made, verdicts, asked.truths))
    rows = [row(member, how.metric, "controlled", controlled, bar)]
    rows += [row(member, how.metric, split, interval) for split, interval in intervals.items()]
    scenes = [truth.scene for truth in asked.truths]
    plain = score(list(asked.base_verdicts), scenes, judge).rates()
    for question, rate in score(list(verdicts), scenes, judge).rates().items():
        if question in ("object", "person", "background", "style"):
            rows.append(row(member, question, "controlled", rate._asdict(), plain[question].value - 0.05))
            rows.append(row(member, question, "scale 0", plain[question]._asdict()))
    return rows


def _multi_rows(
    asked: Asked, made: np.ndarray, verdicts: Sequence[Verdict], single: dict[str, float]
) -> list[Row]:
    """Each of the pair's metrics under both maps, held within a tenth of what it is under its own alone."""
    rows = []
    for condition in MULTI:
        metric = MEASURED[condition].metric
        measured = bootstrap_mean(agreements(condition, made, verdicts, asked.truths))
        lenient = 1.1 if metric == "depth_rmse" else 0.9
        rows.append(
            row("controlnet " + " + ".join(MULTI), metric, "both", measured, lenient * single[condition])
        )
    return rows


def _sheet(conditions: list[str], asked: Asked, made: np.ndarray) -> Sheet:
    maps = [
        (condition, [from_truth(condition, truth) for truth in asked.truths[:SHOWN]])
        for condition in conditions
    ]
    text = "; ".join(f"“{prompt}”" for prompt in asked.prompts[:SHOWN])
    name = "-".join(("controlnet", *conditions))
    return Sheet(
        name,
        f"{' and '.join(conditions)}: the control map, the picture under it, the picture without it. Prompts: {text}",
        [*maps, ("with control", list(made[:SHOWN])), ("without", list(asked.base[:SHOWN]))],
    )
