"""The capstone's designs: what a student hands in is data, and the pipeline that it describes is the grader's own.

A design is a control map, a reference picture and settings. diffusers paints by it here, outside the sandbox, on pairs
that the student has not seen, and the UNet's evaluations are counted where the student's code cannot reach. Each picture
is compared with the one that the reference design gives for the same pair from the same noise.

How much worse may a design be, and still be called as good? As much as chance explains. The reference design itself,
from another noise, differs from itself by d in each pair, with a standard deviation s (see `deviation`); a mean of n such
differences has the standard error s/√n.
`python -m lessonlib.grading.design` measures the pairs with the shipped weights and writes `measured/capstone.json`.
"""

# diffusers' from_pretrained is annotated wider than what it returns:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import functools
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.grading import capstone
from lessonlib.grading.experiment import Choice, Pixels, Range, Settings
from lessonlib.models import store
from lessonlib.models.catalogue import find

if TYPE_CHECKING:
    from PIL.Image import Image

PATH = Path(__file__).parent / "measured" / "capstone.json"

MEASURES = ("layout", "identity", "prompt")
REFERENCE, AGAIN = "the reference", "the reference, another noise"  # among the measured designs
MEMBERS = ("sd15", "controlnet-scribble", "controlnet-canny", "ip-adapter", "lcm-lora-sd15")
Z = 2.326  # an equally good design misses a bar once in a hundred gradings: the normal distribution's 99 % point
SHOWN = 4  # pairs that a check shows
_KEPT = 512  # pictures, 48 KB each

# a design, by the names that diffusers has for its parts
SETTINGS: Mapping[str, Range | Choice | Pixels] = {
    "control": Pixels(128, 128),
    "reference": Pixels(8, 256),
    "controlnet": Choice(("controlnet-scribble", "controlnet-canny")),
    "weight_name": Choice(("ip-adapter_sd15.safetensors", "ip-adapter-full-face_sd15.safetensors")),
    "lora": Choice((True, False)),
    "scheduler": Choice(
        ("DDIMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler", "LCMScheduler")
    ),
    "num_inference_steps": Range(1, 8, whole=True),
    "guidance_scale": Range(1, 15),
    "controlnet_conditioning_scale": Range(0, 2),
    "control_guidance_start": Range(0, 0.4),
    "control_guidance_end": Range(0.5, 1),
    "ip_adapter_scale": Range(0, 2),
}


class Painted(NamedTuple):
    """A picture, uint8 [H, W, 3], and how many times the UNet was evaluated for it."""

    picture: np.ndarray
    evaluations: int


# --- Painting -----------------------------------------------------------------------------------------------


def pair(seed: int) -> capstone.Pair:
    """The pair of a case."""
    return capstone.pairs(seed, 1)[0]


def paint(design: Settings, prompt: str, seed: int) -> Painted:
    """Paint one picture by a design; the noise comes from the seed alone.

    Args:
        design: as `SETTINGS` has it.

    Raises:
        LessonError: the weights of a part are not shipped.
    """
    key = _digest(design, prompt, seed)
    if key not in _painted:
        _painted[key] = _paint(design, prompt, seed)
        while len(_painted) > _KEPT:
            _painted.popitem(last=False)
    return _painted[key]


_painted: OrderedDict[str, Painted] = OrderedDict()  # the reference's pictures are the whole class's


def _digest(design: Settings, prompt: str, seed: int) -> str:
    total = hashlib.sha256(f"{seed} {prompt}".encode())
    for name in SETTINGS:
        value = design[name]
        total.update(f"{name} {value.shape if isinstance(value, np.ndarray) else value!r} ".encode())
        total.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else b"")
    return total.hexdigest()


def _paint(design: Settings, prompt: str, seed: int) -> Painted:
    import diffusers
    import torch
    from PIL import Image

    pipeline = _pipeline(design["controlnet"], design["weight_name"], design["lora"])
    scheduler = getattr(diffusers, design["scheduler"])
    pipeline.scheduler = scheduler.from_pretrained(store.unfold("sd15"), subfolder="scheduler")
    pipeline.set_ip_adapter_scale(float(design["ip_adapter_scale"]))
    with _counting(pipeline.unet) as rows:
        made = pipeline(
            prompt,
            image=Image.fromarray(design["control"]),
            ip_adapter_image=Image.fromarray(design["reference"]),
            num_inference_steps=design["num_inference_steps"],
            guidance_scale=float(design["guidance_scale"]),
            controlnet_conditioning_scale=float(design["controlnet_conditioning_scale"]),
            control_guidance_start=float(design["control_guidance_start"]),
            control_guidance_end=float(design["control_guidance_end"]),
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
    return Painted(np.asarray(made), sum(rows))


@functools.lru_cache(maxsize=4)
def _pipeline(controlnet: str, weight_name: str, lora: bool) -> Any:
    """The real pipeline of these parts, from the shipped weights."""
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    with _quiet():
        pipeline = StableDiffusionControlNetPipeline.from_pretrained(
            store.unfold("sd15"), controlnet=ControlNetModel.from_pretrained(store.unfold(controlnet))
        )
        pipeline.load_ip_adapter(str(store.unfold("ip-adapter")), subfolder="models", weight_name=weight_name)
        if lora:
            row = find("lcm-lora-sd15")
            pipeline.load_lora_weights(str(store.unfold(row.tiny)), weight_name=row.weight_name)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _counting(unet: Any) -> Iterator[list[int]]:
    """The rows of every batch that goes through the UNet: with guidance a picture is two of them."""
    rows: list[int] = []
    hook = unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        yield rows
    finally:
        hook.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without diffusers' warnings about parts that have no adapter, which a student would take for an own mistake."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


# --- Comparing ----------------------------------------------------------------------------------------------


def against(
    designs: Sequence[Settings], references: Sequence[Settings], seeds: Sequence[int]
) -> dict[str, float]:
    """How designs fare on the pairs of these seeds, one design a pair.

    Returns:
        for "layout", "identity" and "prompt" the mean over the pairs of the design's score minus the reference's;
        "evaluations": the UNet's, a picture.

    Raises:
        LessonError: what `paint` says.
    """
    pairs = [pair(seed) for seed in seeds]
    theirs, ours = (_all(one, pairs, seeds) for one in (designs, references))
    shares, best = (capstone.shares([one.picture for one in made], pairs) for made in (theirs, ours))
    differences = {name: float(np.mean(np.subtract(shares[name], best[name]))) for name in MEASURES}
    return differences | {"evaluations": float(np.mean([one.evaluations for one in theirs]))}


def _all(designs: Sequence[Settings], pairs: Sequence[capstone.Pair], seeds: Sequence[int]) -> list[Painted]:
    return [paint(*three) for three in zip(designs, (one.prompt for one in pairs), seeds, strict=True)]


def sheet(
    designs: Sequence[Settings], references: Sequence[Settings], seeds: Sequence[int]
) -> tuple[Image, str]:
    """The first pairs as a picture, a row each, and its caption."""
    from PIL import Image

    rows = []
    for design, reference, seed in list(zip(designs, references, seeds, strict=True))[:SHOWN]:
        given = pair(seed)
        made = (paint(one, given.prompt, seed).picture for one in (reference, design))
        rows.append(np.hstack([given.sketch, given.photo, design["control"], *made]))
    prompts = "; ".join(f"“{pair(seed).prompt}”" for seed in seeds[:SHOWN])
    caption = "From left to right: the sketch, the photo, your control map, the course's own picture, yours. "
    return Image.fromarray(np.vstack(rows)), f"{caption}The prompts: {prompts}."


# --- The bars, measured ---------------------------------------------------------------------------------------


def margin(measure: str, pairs: int) -> float:
    """How much below the reference a mean over so many pairs may lie by chance: z s/√n.

    Raises:
        LessonError: the measurements are missing or damaged.
    """
    return Z * deviation(measure) / pairs**0.5


def deviation(measure: str) -> float:
    """s: the standard deviation of d over the measured pairs and one pair more, in which one answer is lost.

    That none was lost in so few pairs does not mean that none ever will be: without the one more, s could be 0, and a
    single answer lost by chance would miss the bar. An answer is the least step between the measured shares.

    Raises:
        LessonError: as `margin`.
    """
    shares = table()["shares"]
    first, second = (shares[name][measure] for name in (REFERENCE, AGAIN))
    answer = np.diff(np.unique([one[measure] for one in shares.values()])).min()
    return float(np.std([*np.subtract(first, second), answer], ddof=1))


def refused(name: str, pairs: int, draws: int = 2000) -> float:
    """The share of gradings, each on so many of the measured pairs, in which a measured design misses a bar.

    The price is not looked at.
    """
    shares = table()["shares"]
    rng = np.random.default_rng(0)
    drawn = rng.integers(table()["pairs"], size=(draws, pairs))
    missed = np.zeros(draws, bool)
    for measure in MEASURES:
        lost = np.subtract(shares[REFERENCE][measure], shares[name][measure])
        missed |= lost[drawn].mean(1) > margin(measure, pairs)
    return float(missed.mean())


@functools.cache
def table() -> dict[str, Any]:
    """The file: `pairs` (how many), `shares` (design -> measure -> a score a pair), and each design's `evaluations`.

    Raises:
        LessonError: it is missing or damaged.
    """
    try:
        found = json.loads(PATH.read_text(encoding="utf-8"))
        if any(set(found["shares"][name]) != set(MEASURES) for name in (REFERENCE, AGAIN)):
            raise ValueError("a measure is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LessonError(
            f"The measurements {PATH} are missing or damaged ({error}): restore the file with `git checkout`, or "
            "measure again with `python -m lessonlib.grading.design`."
        ) from error
    return found


def measure(pairs: int = 48, seed: int = 7) -> None:
    """Measure the reference design, from two noises, and every known mistake of the task, and write the file. Minutes."""
    from lessonlib.grading.tasks import capstone as task

    seeds = [1000 * seed + k for k in range(pairs)]
    given = [pair(one) for one in seeds]
    answers = {REFERENCE: task.reference} | {m.name: m.answer for m in task.TASK.misconceptions}
    scores: dict[str, dict[str, list[float]]] = {}
    evaluations: dict[str, float] = {}
    for name, answer in answers.items():
        designs = [answer(one.sketch, one.photo, one.face) for one in given]
        made = _all(designs, given, seeds)
        scores[name] = capstone.shares([one.picture for one in made], given)
        evaluations[name] = float(np.mean([one.evaluations for one in made]))
        _say(name, scores[name], evaluations[name])
    designs = [task.reference(one.sketch, one.photo, one.face) for one in given]
    again = _all(designs, given, [one + 1_000_000 for one in seeds])
    scores[AGAIN] = capstone.shares([one.picture for one in again], given)
    _say(AGAIN, scores[AGAIN], evaluations[REFERENCE])
    note = {
        "pairs": pairs,
        "weights": {member: store.digest(member) for member in MEMBERS},
        "evaluations": evaluations,
        "shares": {name: {m: np.round(one[m], 4).tolist() for m in MEASURES} for name, one in scores.items()},
    }
    write_text(PATH, json.dumps(note, indent=1) + "\n")
    table.cache_clear()
    for name in scores:
        print(f"{name:<32}misses a bar in {refused(name, task.PAIRS):.1%} of the gradings")


def _say(name: str, shares: Mapping[str, Sequence[float]], evaluations: float) -> None:
    means = "  ".join(f"{measure} {np.mean(shares[measure]):.3f}" for measure in MEASURES)
    print(f"{name:<32}{means}  evaluations {evaluations:g}")


if __name__ == "__main__":
    argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__).parse_args()
    measure()
