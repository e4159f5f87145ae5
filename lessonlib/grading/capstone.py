"""The capstone's task and its score: the person of a photo in the scene of a sketch, at a price.

A pair is made from a seed that only the grader knows. The judge says of each picture whether the layout is the
sketch's, the person the photo's, and the rest the prompt's; the price is counted in UNet evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from lessonlib.judge import Judge
    from lessonlib.judge.verdict import Verdict
    from lessonlib.world.scene import Scene


@dataclass(frozen=True)
class Pair:
    """What a student's pipeline is given, and, for the grader alone, the scene it should paint.

    Attributes:
        sketch: uint8 [H, W, 3], dark strokes on white paper; drawn with somebody else in the person's place.
        photo: uint8 [H, W, 3], the person, in other clothes, in another pose, elsewhere.
        face: (left, top, right, bottom), the square of the photo that holds the face.
        prompt: the clothes, the place and the style; nothing of the person.
        wanted: the scene.
    """

    sketch: np.ndarray
    photo: np.ndarray
    face: tuple[int, int, int, int]
    prompt: str
    wanted: Scene


def pairs(seed: int, count: int) -> list[Pair]:
    """`count` pairs of a seed. No training uses this stream."""
    from lessonlib.conditions import face, scribble
    from lessonlib.world.render import render
    from lessonlib.world.scene import sample, sample_identity, sample_person
    from lessonlib.world.vocabulary import BACKGROUNDS, OUTFITS, STYLES

    rng = np.random.default_rng([seed, 0xCA9])
    made = []
    while len(made) < count:
        wanted, elsewhere = sample(rng, "person"), sample(rng, "person")
        person = wanted.person
        assert person is not None
        photo = replace(elsewhere, style="3d", person=sample_person(rng, person.identity))
        taken = render(photo)
        assert taken.keypoints is not None
        where = face.around([(float(x), float(y)) for x, y in taken.keypoints], taken.image.shape[1::-1])
        drawn = render(replace(wanted, person=replace(person, identity=sample_identity(rng))))
        phrases = OUTFITS[person.outfit][0], BACKGROUNDS[wanted.background][0], STYLES[wanted.style][0]
        prompt = f"a person {phrases[0]} {phrases[1]}, {phrases[2]}"
        made.append(Pair(255 - scribble.from_truth(drawn), taken.image, where, prompt, wanted))
    return made


def score(
    pictures: Sequence[Any], of: Sequence[Pair], evaluations: int, judge: Judge | None = None
) -> dict[str, float]:
    """Measures of a pipeline's pictures, from 0 to 1, and its price.

    Args:
        pictures: one a pair, as `Judge.judge` takes them.
        evaluations: of the UNet, for one picture.

    Returns:
        "layout": the share of the sketch's key points that are in place (PCK at 0.1); "identity": of hair, skin and
        glasses that are the photo's; "prompt": of clothes, place and style that are the prompt's; each the mean over
        the pairs. "evaluations": the price, as a float.

    Raises:
        LessonError: not one picture for each pair, no pair, or what the judge raises.
    """
    means = {measure: float(np.mean(values)) for measure, values in shares(pictures, of, judge).items()}
    return means | {"evaluations": float(evaluations)}


def shares(pictures: Sequence[Any], of: Sequence[Pair], judge: Judge | None = None) -> dict[str, list[float]]:
    """`score`'s layout, identity and prompt of each picture.

    Raises:
        LessonError: as `score`.
    """
    from lessonlib.judge import load_judge
    from lessonlib.judge import score as answers_of

    if not of or len(pictures) != len(of):
        raise LessonError(
            f"{len(pictures)} pictures cannot be scored against {len(of)} pairs: make one for each."
        )
    scored = answers_of(list(pictures), [pair.wanted for pair in of], judge or load_judge())
    return {
        "layout": [_layout(v, pair) for v, pair in zip(scored.verdicts, of, strict=True)],
        "identity": [_share(answers, ("hair", "skin", "glasses")) for answers in scored.answers],
        "prompt": [_share(answers, ("outfit", "background", "style")) for answers in scored.answers],
    }


def _share(answers: dict[str, bool], questions: Sequence[str]) -> float:
    return sum(answers[question] for question in questions) / len(questions)


def _layout(verdict: Verdict, pair: Pair) -> float:
    from lessonlib.judge.pose import pck
    from lessonlib.world.render import render

    truth = render(pair.wanted, *pair.sketch.shape[:2])
    box = truth.boxes[0]
    if verdict.person is None or box is None or truth.keypoints is None:
        return 0.0
    scale = np.array([pair.sketch.shape[1] / verdict.width, pair.sketch.shape[0] / verdict.height])
    x0, y0, x1, y1 = box
    return pck(verdict.person.keypoints * scale, truth.keypoints, max(x1 - x0, y1 - y0))
