"""The judge's training: scenes with their ground truth, roughened the way generated pictures are rough.

It never sees a picture made by a model of the zoo, and none of the held-out combinations.
"""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lessonlib.judge
from lessonlib.files import write_bytes
from lessonlib.judge.loading import CARD, WEIGHTS, load_judge, save_judge
from lessonlib.judge.network import QUESTIONS, SIZE, STRIDE, JudgeNetwork
from lessonlib.world.render import Rendered, render
from lessonlib.world.scene import Kind, sample
from lessonlib.world.vocabulary import COLORS
from lessonlib.zoo.training import Network, Plan, Step, train

PLAN = Plan(steps=2400, batch=32, learning_rate=2e-3, seed=907_013, warmup=100, weight_decay=0.02, ema=False)

MIX: dict[Kind, float] = {"single": 0.42, "pair": 0.42, "person": 0.13, "scenery": 0.03}
SHAPES = ((SIZE, SIZE), (SIZE, 160), (160, SIZE), (SIZE, 192), (192, SIZE))
SHAPE_ODDS = (0.8, 0.05, 0.05, 0.05, 0.05)
CROPPED = 0.12  # share of the pictures that are cut out of a larger one
HARDLY = 0.3  # less than this share of an object left in a cut: neither there nor not there

_PRESENCE = {name: index for index, name in enumerate(QUESTIONS["presence"])}
_COLOR = {name: index for index, name in enumerate(COLORS)}
_ONE_OF = tuple(question for question in QUESTIONS if question != "presence")
_NOTHING = -100  # what cross_entropy ignores


def build() -> JudgeNetwork:
    """An untrained judge, in the memory format that convolutions on a CPU like best."""
    return JudgeNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def roughen(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What generation does to a picture, uint8 RGB [H, W, 3]: tints, stains, softness, noise, compression.

    Each happens at times, and all of it is mild: the style must stay readable.
    """
    height, width = image.shape[:2]
    out = image
    if rng.random() < 0.25:
        scale = rng.uniform(0.6, 0.95)
        small = cv2.resize(out, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 0.8))
    if rng.random() < 0.2:
        quality = int(rng.integers(55, 96))
        _, jpeg = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    changed = out.astype(np.float32)
    if rng.random() < 0.5:
        changed = changed * rng.normal(1, 0.04, 3).astype(np.float32) + rng.normal(0, 5, 3).astype(np.float32)
    if rng.random() < 0.3:
        stains = rng.normal(0, rng.uniform(2, 8), (6, 6, 3)).astype(np.float32)
        changed += cv2.resize(stains, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.35:
        changed += rng.uniform(1, 6) * rng.standard_normal(changed.shape, np.float32)
    return changed.clip(0, 255).astype(np.uint8)


def _cell_mean(values: np.ndarray) -> np.ndarray:
    height, width = values.shape[:2]
    return cv2.resize(values, (width // STRIDE, height // STRIDE), interpolation=cv2.INTER_AREA)


def _example(rng: np.random.Generator, height: int, width: int) -> dict[str, np.ndarray]:
    """One picture and everything that is true of it."""
    kind: Kind = rng.choice(np.array(list(MIX)), p=list(MIX.values())).item()
    cropped = rng.random() < CROPPED
    margin = 32 if cropped else 0
    drawn = render(sample(rng, kind), height + margin, width + margin)
    top, left = (int(rng.integers(margin + 1)) for _ in range(2)) if cropped else (0, 0)
    window = (slice(top, top + height), slice(left, left + width))
    instances = drawn.instances[window]
    return {
        "image": roughen(rng, drawn.image[window]),
        "classes": drawn.classes[window].astype(np.int64),
        "colors": _colors(drawn)[instances],
        "depth": _cell_mean(drawn.depth[window]),
        "normals": _cell_mean(drawn.normals[window]).transpose(2, 0, 1),
        "keypoints": _heatmaps(drawn, top, left, height, width),
        **_words(drawn, instances),
    }


def _colors(drawn: Rendered) -> np.ndarray:
    """Instance number -> colour index; `_NOTHING` for the background and for what was not repainted."""
    colors = [_COLOR[thing.color] if thing.color else _NOTHING for thing in drawn.scene.things]
    return np.array([_NOTHING, *(colors or [_NOTHING])])


def _words(drawn: Rendered, instances: np.ndarray) -> dict[str, np.ndarray]:
    """The answers to `QUESTIONS`; presence is 1, 0 or NaN (hardly visible)."""
    scene, person = drawn.scene, drawn.scene.person
    presence = np.zeros(len(_PRESENCE), np.float32)
    for index, name in enumerate(["person"] if person else [thing.name for thing in scene.things]):
        whole = np.count_nonzero(drawn.instances == index + 1)
        left = np.count_nonzero(instances == index + 1)
        presence[_PRESENCE[name]] = 1 if left > HARDLY * whole else np.nan
    said = {"background": scene.background, "style": scene.style}
    if person:
        who = person.identity
        said |= {"hair": who.hair, "skin": who.skin, "glasses": QUESTIONS["glasses"][who.glasses]}
        said |= {"outfit": person.outfit, "pose": person.pose}
    answers = {name: QUESTIONS[name].index(said[name]) if name in said else _NOTHING for name in _ONE_OF}
    return {"presence": presence, **{name: np.array(index) for name, index in answers.items()}}


def _heatmaps(drawn: Rendered, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Each key point's weight, shared by its four nearest cells so that their mean is exact: [18, H/4, W/4].

    A point outside the picture, and every point of a picture without a person, is all zeros.
    """
    rows, columns = height // STRIDE, width // STRIDE
    maps = np.zeros((18, rows, columns), np.float32)
    if drawn.keypoints is None:
        return maps
    for index, (x, y) in enumerate(drawn.keypoints - (left, top)):
        if not (0 <= x < width and 0 <= y < height):
            continue
        u, v = np.clip(x / STRIDE - 0.5, 0, columns - 1.001), np.clip(y / STRIDE - 0.5, 0, rows - 1.001)
        column, row = int(u), int(v)
        across, down = np.array([1 - (u - column), u - column]), np.array([1 - (v - row), v - row])
        maps[index, row : row + 2, column : column + 2] = np.outer(down, across)
    return maps


def batch(rng: np.random.Generator, count: int) -> dict[str, Tensor]:
    """Pictures of one shape, float32 [count, 3, H, W] in -1..1 ("image"), and their truth."""
    height, width = SHAPES[rng.choice(len(SHAPES), p=SHAPE_ODDS)]
    examples = [_example(rng, height, width) for _ in range(count)]
    stacked = {key: torch.from_numpy(np.stack([example[key] for example in examples])) for key in examples[0]}
    stacked["image"] = stacked["image"].permute(0, 3, 1, 2).float() / 127.5 - 1
    return stacked


def _inside_cells(labels: Tensor) -> Tensor:
    """[B, H, W] -> [B, 16, H/4, W/4]: the pixels of each cell."""
    cells = F.pixel_unshuffle(labels[:, None].float(), STRIDE)
    return cells.long()


def _soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p(label of the pixel) over all labelled pixels; a cell answers for its 16 pixels."""
    cells = _inside_cells(labels)
    counted = cells != _NOTHING
    likelihood = logits.log_softmax(1).gather(1, cells.clamp(min=0))
    return -(likelihood * counted).sum() / counted.sum().clamp(min=1)


def loss_with(plan: Plan):
    """The loss of a step: the sum of what every question and every map gets wrong."""

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        cv2.setNumThreads(1)  # pictures this small only lose by OpenCV's threads
        truth = {key: value.to(step.device) for key, value in batch(step.numpy, plan.batch).items()}
        reading = network.parts["judge"](truth["image"].contiguous(memory_format=torch.channels_last))

        presence = truth["presence"]
        known = presence.isfinite()
        binary = F.binary_cross_entropy_with_logits(
            reading.answers["presence"], presence.nan_to_num(), reduction="none"
        )
        parts = {"presence": (binary * known).sum(1).mean()}
        for question in _ONE_OF:
            labelled = truth[question] != _NOTHING
            if labelled.any():
                answered = F.cross_entropy(reading.answers[question][labelled], truth[question][labelled])
                parts[question] = (
                    answered * labelled.float().mean()
                )  # few people in a batch: a noisy gradient
        parts["classes"] = _soft_cross_entropy(reading.maps["classes"], truth["classes"])
        parts["colors"] = _soft_cross_entropy(reading.maps["colors"], truth["colors"])
        heat = truth["keypoints"].flatten(2)
        located = -(heat * reading.maps["keypoints"].flatten(2).log_softmax(2)).sum()
        parts["keypoints"] = 0.3 * located / heat.sum().clamp(min=1)
        parts["depth"] = 3 * F.l1_loss(reading.maps["depth"], truth["depth"][:, None])
        cosine = F.cosine_similarity(reading.maps["normals"], truth["normals"].float(), dim=1)
        parts["normals"] = (1 - cosine).mean()
        total = torch.stack(list(parts.values())).sum()
        return {"loss": total, **parts}

    return loss


def finish(
    judge: JudgeNetwork, folder: str | os.PathLike[str] | None = None, plan: Plan = PLAN, batches: int = 40
) -> Path:
    """Measure the batch normalisation's means and variances anew with the final weights, and store the judge.

    During training they trail behind weights that still move.
    """
    for module in judge.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all batches
    judge.train()
    with torch.no_grad():
        for index in range(batches):
            rng = np.random.default_rng([plan.seed, plan.steps + index])
            judge(batch(rng, plan.batch)["image"])
    return save_judge(judge.eval(), folder)


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train (or go on), and write `runs/judge/model`."""
    start = build() if plan.start == "scratch" else deepcopy(load_judge().network).requires_grad_(True)
    trained = train("judge", Network(judge=start), loss_with(plan), plan, runs=runs, minutes=minutes)
    judge: JudgeNetwork = trained.parts["judge"].to("cpu")  # type: ignore[assignment]
    return finish(judge, runs / "judge/model", plan)


def ship(runs: Path) -> None:
    """Store the trained judge in the package."""
    target = Path(lessonlib.judge.__file__).parent
    for name in (WEIGHTS, CARD):
        write_bytes(target / name, (runs / "judge/model" / name).read_bytes())
