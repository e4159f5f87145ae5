"""An IP-Adapter in minutes: keys and values for a picture, beside the shipped sd15 and image encoder.

The curve is how much of a reference that training never saw is in the picture drawn with an empty prompt: the share of
object, background and style that the judge reads there, and the same held against another reference ("shuffled").
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from lessonlib.files import replacing
from lessonlib.judge import Asked, load_judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.scoring import what_is_asked
from lessonlib.judge.verdict import Verdict
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.world.scene import Scene
from lessonlib.zoo import words
from lessonlib.zoo.base import Base, load_base
from lessonlib.zoo.measures.ip_adapter import encoded_pictures, prompted_by
from lessonlib.zoo.recipes.ip_adapter import (
    FILES,
    PLAN,
    attach,
    describe,
    encoded_references,
    fresh_weights,
    loss_of,
    nothing_seen,
    scene_latents,
    stream,
    weights_of,
)
from lessonlib.zoo.student.learning import Point, kept, learn, save_curve
from lessonlib.zoo.training import Step, mixed_precision

KIND = "ip-adapter"
SCENES, BATCH = 2000, 16
PICTURES, STEPS, GUIDANCE = 12, 8, 3.0  # drawn at every point of the curve
FIGURE = "recovered"
_READ = ("object", "background", "style")


def train(
    folder: Path,
    minutes: float = 5.0,
    *,
    seed: int = 0,
    scenes: int | None = None,
    on_point: Callable[[Point], None] = lambda _: None,
) -> list[Point]:
    """Train the base IP-Adapter and save it in `folder`, with its curve.

    It is loaded by `pipe.load_ip_adapter(folder, subfolder="models", weight_name="ip-adapter_sd15.safetensors")`. The
    scenes' latents and encoded references are made once and kept in the user's cache; that is not part of `minutes`. The
    curve's first point is the untrained adapter, its second what the projection has learned of words in the first seconds.

    Args:
        scenes: how many to learn from, by default `SCENES`.

    Raises:
        LessonError: weights that are missing; a folder that cannot be written.
    """
    base, encoder_folder = load_base(), store.unfold("image_encoder")
    encoder = CLIPVisionModelWithProjection.from_pretrained(encoder_folder).eval().to(base.device)
    torch.manual_seed(seed)
    network = attach(base.unet, fresh_weights(base.unet, KIND, encoder), base.device)
    cache, scenes = kept(), scenes or SCENES
    seen = encoded_references(encoder, KIND, cache / "references" / encoder_folder.name, scenes)
    latents = scene_latents(base, KIND, cache, scenes)
    whole = loss_of(base, load_base().unet, latents, seen, nothing_seen(encoder, KIND), stream(KIND), BATCH)

    def loss(step: Step) -> Tensor:
        with torch.autocast(base.device.type, torch.bfloat16, enabled=mixed_precision() == "bf16"):
            return whole(step)["loss"]

    curve = learn(
        [{"params": list(network.parameters()), "lr": PLAN.learning_rate}],
        loss,
        _measure(base, encoder, seed),
        minutes,
        seed=seed,
        prepare=lambda: describe(base, KIND, network, seen, seed, min(words.STEPS, scenes)),
        on_point=on_point,
    )
    with replacing(folder / "models" / FILES[KIND]) as temporary:
        save_file(weights_of(base.unet), temporary)
    shutil.copytree(encoder_folder, folder / "models/image_encoder", dirs_exist_ok=True)
    save_curve(curve, folder)
    return curve


def _measure(base: Base, encoder: CLIPVisionModelWithProjection, seed: int) -> Callable[[], dict[str, float]]:
    judge = load_judge()
    scenes = real_scenes("seen", PICTURES, seed)
    seen = encoded_pictures(encoder, [render(scene).image for scene in scenes], KIND)
    blank = nothing_seen(encoder, KIND)
    pipeline = StableDiffusionPipeline.from_pretrained(
        base.folder, unet=base.unet, text_encoder=base.text
    ).to(base.device)
    pipeline.set_progress_bar_config(disable=True)
    wishes = [_shown(scene) for scene in scenes]

    def measure() -> dict[str, float]:
        made = prompted_by(
            pipeline, seen, blank, [""] * len(scenes), 1000 * seed, lambda _: None,
            num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        )  # fmt: skip
        verdicts = judge.judge(list(made))
        return {
            FIGURE: _recovered(verdicts, wishes),
            "shuffled": _recovered(verdicts, [*wishes[1:], wishes[0]]),
        }

    return measure


def _shown(scene: Scene) -> Asked:
    """Object, background and style of a scene; nothing of where and how large."""
    thing = replace(what_is_asked(scene).things[0], place=None, size=None, color=None)
    return Asked(things=(thing,), background=scene.background, style=scene.style)


def _recovered(verdicts: Sequence[Verdict], wishes: Sequence[Asked]) -> float:
    answers = score(list(verdicts), list(wishes)).answers
    return float(np.mean([one[name] for one in answers for name in _READ]))
