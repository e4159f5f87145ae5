"""IP-Adapters: is what the reference shows in the picture, and does the text keep the last word on what it names?

Recovery with an empty prompt stands beside the same pictures held against another reference's scene ("shuffled"). The
detail that plus adds is how near the picture comes to its reference in the judge's features (cosine).
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lessonlib.judge import Asked, Judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.intervals import Interval, bootstrap_mean
from lessonlib.judge.scoring import what_is_asked
from lessonlib.judge.verdict import Verdict
from lessonlib.models import store
from lessonlib.world.parse import parse
from lessonlib.world.render import SIZE, Rendered, render
from lessonlib.world.scene import Scene, sample_person
from lessonlib.world.vocabulary import BACKGROUNDS, OUTFITS
from lessonlib.zoo.measures.generated import BATCH, GUIDANCE, STEPS, Tick, to_uint8
from lessonlib.zoo.measures.rows import Row, Sheet, row
from lessonlib.zoo.recipes.image_encoder import as_pixels, head
from lessonlib.zoo.recipes.ip_adapter import FILES, Kind, encoded, nothing_seen

MEMBERS = ("ip-adapter",)
READS = ("sd15",)
SCALE = 0.6  # where text and reference share the picture
IDENTITY = ("hair", "skin", "glasses")
SHOWN = 8


def _shipped() -> list[Kind]:
    stored = store.verify()
    return [kind for kind in FILES if kind in stored]


def pictures(n: int) -> int:
    """With an empty prompt and with one, for each adapter."""
    return 2 * n * len(_shipped())


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """Base and plus on single objects, face on people."""
    rows: list[Row] = []
    sheets: list[Sheet] = []
    detail: dict[str, Interval] = {}
    for kind in _shipped():
        pipeline, encoder = loaded(kind)
        split = "person" if kind == "ip-adapter-face" else "seen"
        truths = [render(scene) for scene in real_scenes(split, n, seed)]
        seen = encoded_pictures(encoder, [shown(kind, truth) for truth in truths], kind)
        blank = nothing_seen(encoder, kind)
        prompts, wishes = other_wishes(kind, truths, seed)
        pipeline.set_ip_adapter_scale(1.0)
        alone = prompted_by(pipeline, seen, blank, [""] * n, 1000 * seed, tick)
        pipeline.set_ip_adapter_scale(SCALE)
        shared = prompted_by(pipeline, seen, blank, prompts, 1000 * seed, tick)
        verdicts = judge.judge(list(alone))
        scenes = [truth.scene for truth in truths]
        if kind == "ip-adapter-face":
            rows += _face_rows(verdicts, judge.judge(list(shared)), scenes, wishes, judge)
        else:
            references = judge.judge([truth.image for truth in truths])
            detail[kind] = bootstrap_mean(similarities(verdicts, references))
            rows += _object_rows(kind, verdicts, judge.judge(list(shared)), scenes, wishes, judge)
            chance = bootstrap_mean(similarities(verdicts, [*references[1:], references[0]]))
            rows.append(row(kind, "similarity", "shuffled", chance))
            bar = detail["ip-adapter"].high if kind == "ip-adapter-plus" and "ip-adapter" in detail else None
            rows.append(row(kind, "similarity", "empty prompt", detail[kind], bar))
        sheets.append(_sheet(kind, [shown(kind, truth) for truth in truths], alone, shared, prompts))
    return rows, sheets


def loaded(kind: Kind) -> tuple[Any, Any]:
    """sd15 with the shipped adapter in it, and the image encoder."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"))
    pipeline.load_ip_adapter(str(store.unfold("ip-adapter")), subfolder="models", weight_name=FILES[kind])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, pipeline.image_encoder.eval()


def shown(kind: Kind, truth: Rendered) -> np.ndarray:
    """The reference: the picture, or its head alone; uint8 [128, 128, 3]."""
    return head(truth) if kind == "ip-adapter-face" else truth.image


def encoded_pictures(encoder: Any, pictures: Sequence[np.ndarray], kind: Kind) -> torch.Tensor:
    """The references as the adapter reads them, [N, ...]."""
    return torch.cat(
        [
            encoded(encoder, as_pixels(np.stack(pictures[start : start + BATCH])), kind)
            for start in range(0, len(pictures), BATCH)
        ]
    )


def prompted_by(
    pipeline: Any,
    seen: torch.Tensor,
    blank: torch.Tensor,
    prompts: list[str],
    seed: int,
    tick: Tick,
    **settings: Any,
) -> np.ndarray:
    """One picture a reference, uint8 [N, 128, 128, 3]; picture k's noise comes from seed + k alone.

    Args:
        settings: what the pipeline is told instead of the report's size, steps and guidance.
    """
    wanted = {
        "height": SIZE,
        "width": SIZE,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        **settings,
    }
    guided = wanted["guidance_scale"] > 1
    done = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        pictures = seen[start : start + BATCH][:, None]
        embeds = torch.cat([blank[None, None].expand_as(pictures), pictures]) if guided else pictures
        with each_its_own(pipeline, embeds):
            done.append(
                pipeline(
                    batch,
                    ip_adapter_image_embeds=[embeds],
                    generator=[torch.Generator().manual_seed(seed + start + k) for k in range(len(batch))],
                    output_type="np",
                    **wanted,
                ).images
            )
        tick(len(batch))
    return to_uint8(np.concatenate(done))


@contextmanager
def each_its_own(pipeline: Any, embeds: torch.Tensor) -> Iterator[None]:
    """Let each prompt of a batch see its own reference.

    The pipeline repeats all the references it is given for every prompt (`num_images_per_prompt` is the batch's size there),
    and its attention takes the surplus for more tokens: every prompt would see every reference.
    """
    pipeline.prepare_ip_adapter_image_embeds = lambda *_: [embeds]
    try:
        yield
    finally:
        del pipeline.prepare_ip_adapter_image_embeds


def other_wishes(kind: Kind, truths: Sequence[Rendered], seed: int) -> tuple[list[str], list[Asked]]:
    """Prompts that name another background (and for faces other clothes) than the reference shows, and what they ask."""
    rng = np.random.default_rng([seed, 0x1B])
    prompts = []
    for truth in truths:
        scene = truth.scene
        background = str(rng.choice([name for name in BACKGROUNDS if name != scene.background]))
        prompt = BACKGROUNDS[background][0]
        if kind == "ip-adapter-face" and scene.person is not None:
            outfit = sample_person(rng, scene.person.identity).outfit
            prompt = f"a person {OUTFITS[outfit][0]} {prompt}"
        prompts.append(prompt)
    return prompts, [parse(prompt).said for prompt in prompts]


def similarities(made: Sequence[Verdict], references: Sequence[Verdict]) -> list[float]:
    """Cosine of the judge's features, picture by picture."""
    return [
        float(a.features @ b.features / (np.linalg.norm(a.features) * np.linalg.norm(b.features)))
        for a, b in zip(made, references, strict=True)
    ]


def _object_rows(
    kind: Kind,
    alone: Sequence[Verdict],
    shared: Sequence[Verdict],
    scenes: Sequence[Scene],
    wishes: Sequence[Asked],
    judge: Judge,
) -> list[Row]:
    things = [
        Asked(things=(replace(what_is_asked(scene).things[0], place=None, size=None),)) for scene in scenes
    ]
    whole = [
        replace(thing, style=scene.style, background=scene.background)
        for thing, scene in zip(things, scenes, strict=True)
    ]
    recovered = score(list(alone), whole, judge).rates()
    chance = score(list(alone), [*things[1:], things[0]], judge).rates()
    text = score(list(shared), list(wishes), judge).rates()
    kept = score(list(shared), things, judge).rates()
    rows = [
        row(kind, "object", "empty prompt", recovered["object"]._asdict(), 0.9),
        row(kind, "object", "shuffled", chance["object"]._asdict()),
    ]
    rows += [row(kind, name, "empty prompt", recovered[name]._asdict()) for name in ("style", "background")]
    rows.append(row(kind, "background", f"prompt, scale {SCALE}", text["background"]._asdict(), 0.9))
    rows.append(row(kind, "object", f"prompt, scale {SCALE}", kept["object"]._asdict()))
    return rows


def _face_rows(
    alone: Sequence[Verdict],
    shared: Sequence[Verdict],
    scenes: Sequence[Scene],
    wishes: Sequence[Asked],
    judge: Judge,
) -> list[Row]:
    kind = "ip-adapter-face"
    who = identities(scenes)
    rows = []
    for verdicts, split, bar in ((alone, "empty prompt", 0.9), (shared, f"prompt, scale {SCALE}", 0.85)):
        rows.append(row(kind, "identity attributes", split, attributes(verdicts, who, judge), bar))
    rows.append(row(kind, "identity attributes", "shuffled", attributes(alone, [*who[1:], who[0]], judge)))
    text = score(list(shared), list(wishes), judge).rates()
    rows.append(row(kind, "outfit", f"prompt, scale {SCALE}", text["outfit"]._asdict(), 0.85))
    rows.append(row(kind, "background", f"prompt, scale {SCALE}", text["background"]._asdict(), 0.9))
    return rows


def identities(scenes: Sequence[Scene]) -> list[Asked]:
    """Who is in each scene: hair, skin and glasses, and nothing that can be changed."""
    people = [what_is_asked(scene).person for scene in scenes]
    return [
        Asked(person=replace(one, outfit=None, pose=None, place=None)) for one in people if one is not None
    ]


def attributes(verdicts: Sequence[Verdict], who: Sequence[Asked], judge: Judge) -> Interval:
    """The share of hair, skin and glasses that are the reference's, as a mean over pictures."""
    answers = score(list(verdicts), list(who), judge).answers
    return bootstrap_mean([np.mean([one[name] for name in IDENTITY]) for one in answers])


def _sheet(
    kind: Kind, references: list[np.ndarray], alone: np.ndarray, shared: np.ndarray, prompts: list[str]
) -> Sheet:
    text = "; ".join(f"“{prompt}”" for prompt in prompts[:SHOWN])
    return Sheet(
        kind,
        f"{kind}: the reference; with an empty prompt; at scale {SCALE} with the prompts {text}",
        [
            ("reference", references[:SHOWN]),
            ("empty prompt", list(alone[:SHOWN])),
            ("prompt", list(shared[:SHOWN])),
        ],
    )
