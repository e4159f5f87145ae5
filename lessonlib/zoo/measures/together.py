"""ControlNet, IP-Adapter and LCM-LoRA in one picture: layout, identity and four steps at once, each beside alone.

People: Canny's edges say where everything is, the head of the reference who it is, the prompt the clothes and the place.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lessonlib.conditions import CONTROLNETS, from_truth
from lessonlib.judge import Judge
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.intervals import bootstrap_mean
from lessonlib.models import store
from lessonlib.world.render import Rendered, render
from lessonlib.zoo.measures.controlnet import MEASURED, agreements, steered
from lessonlib.zoo.measures.generated import BATCH, Tick, to_uint8
from lessonlib.zoo.measures.ip_adapter import (
    SCALE,
    attributes,
    each_its_own,
    encoded_pictures,
    identities,
    loaded,
    prompted_by,
    shown,
)
from lessonlib.zoo.measures.rows import Row, Sheet, row
from lessonlib.zoo.recipes.controlnet import as_input
from lessonlib.zoo.recipes.ip_adapter import nothing_seen, partial

CONDITION, ADAPTER, LORA = "canny", "ip-adapter-face", "lcm-lora-sd15"
MEMBERS = (LORA,)
READS = ("sd15", "controlnet-canny", "ip-adapter")
FEW, LITTLE = 4, 1.5  # steps and guidance, as the lesson has them
WITHIN = 0.85  # each figure must be at least this share of what it is alone
NAME = "canny + face + lcm-lora"
SHOWN = 8


def _all_shipped() -> bool:
    return {
        CONTROLNETS[CONDITION],
        "ip-adapter",
        LORA,
    } <= store.members().keys() and ADAPTER in store.verify()


def pictures(n: int) -> int:
    """The layout alone, the identity alone, and everything together; none until all three are shipped."""
    return 3 * n if _all_shipped() else 0


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """Edge F1 and identity, alone in 25 steps and together in four."""
    if not _all_shipped():
        return [], []
    from diffusers import StableDiffusionPipeline

    truths = [render(scene) for scene in real_scenes("person", n, seed)]
    prompts = [partial(truth.scene, np.random.default_rng([seed, k])) for k, truth in enumerate(truths)]
    plain = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"))
    layout = steered(plain, [CONDITION], truths, prompts, 1000 * seed, tick)

    pipeline, encoder = loaded(ADAPTER)
    seen = encoded_pictures(encoder, [shown(ADAPTER, truth) for truth in truths], ADAPTER)
    blank = nothing_seen(encoder, ADAPTER)
    pipeline.set_ip_adapter_scale(SCALE)
    identity = prompted_by(pipeline, seen, blank, prompts, 1000 * seed, tick)
    everything = _together(pipeline, truths, prompts, seen, blank, 1000 * seed, tick)

    rows = []
    who = identities([truth.scene for truth in truths])
    verdicts = {name: judge.judge(list(made)) for name, made in (("layout", layout), ("all", everything))}
    edges = {
        name: bootstrap_mean(agreements(CONDITION, made, verdicts[name], truths))
        for name, made in (("layout", layout), ("all", everything))
    }
    kept = attributes(judge.judge(list(identity)), who, judge)
    both = attributes(verdicts["all"], who, judge)
    metric = MEASURED[CONDITION].metric
    rows.append(row(NAME, metric, "together", edges["all"], WITHIN * edges["layout"].value))
    rows.append(row(NAME, metric, "alone", edges["layout"]))
    rows.append(row(NAME, "identity attributes", "together", both, WITHIN * kept.value))
    rows.append(row(NAME, "identity attributes", "alone", kept))
    return rows, [_sheet(truths, everything, prompts)]


def _together(
    pipeline: Any,
    truths: list[Rendered],
    prompts: list[str],
    seen: torch.Tensor,
    blank: torch.Tensor,
    seed: int,
    tick: Tick,
) -> np.ndarray:
    """One picture a scene in four steps, uint8 [N, H, W, 3]. `pipeline` holds the adapter and gets the LoRA."""
    from diffusers import ControlNetModel, LCMScheduler, StableDiffusionControlNetPipeline

    pipeline.load_lora_weights(str(store.unfold(LORA)))
    everything = StableDiffusionControlNetPipeline(
        **{**pipeline.components, "scheduler": LCMScheduler.from_config(pipeline.scheduler.config)},
        controlnet=ControlNetModel.from_pretrained(store.unfold(CONTROLNETS[CONDITION])),
        requires_safety_checker=False,
    )
    everything.set_progress_bar_config(disable=True)
    done = []
    for start in range(0, len(prompts), BATCH):
        batch = slice(start, start + BATCH)
        references = seen[batch][:, None]
        embeds = torch.cat([blank[None, None].expand_as(references), references])
        with each_its_own(everything, embeds):
            done.append(
                everything(
                    prompts[batch],
                    image=as_input(np.stack([from_truth(CONDITION, truth) for truth in truths[batch]])),
                    ip_adapter_image_embeds=[embeds],
                    num_inference_steps=FEW,
                    guidance_scale=LITTLE,
                    generator=[
                        torch.Generator().manual_seed(seed + start + k) for k in range(len(references))
                    ],
                    output_type="np",
                ).images
            )
        tick(len(references))
    return to_uint8(np.concatenate(done))


def _sheet(truths: list[Rendered], made: np.ndarray, prompts: list[str]) -> Sheet:
    text = "; ".join(f"“{prompt}”" for prompt in prompts[:SHOWN])
    return Sheet(
        "together",
        f"{NAME} in {FEW} steps at guidance {LITTLE}: the edges, the head, the picture. Prompts: {text}",
        [
            ("edges", [from_truth(CONDITION, truth) for truth in truths[:SHOWN]]),
            ("head", [shown(ADAPTER, truth) for truth in truths[:SHOWN]]),
            ("picture", list(made[:SHOWN])),
        ],
    )
