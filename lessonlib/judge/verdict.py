"""What the judge says of one picture, and how it is read out of the network's maps."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import cv2
import numpy as np

from lessonlib.judge.network import QUESTIONS
from lessonlib.world.canvas import CLASS_INDEX, STUFF
from lessonlib.world.vocabulary import COLORS

THERE = 0.5  # from this presence on, a thing is named

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """A thing (or the person) and where it is.

    Attributes:
        score: the judge's belief that it is there, 0..1.
        centroid: (x, y) of its visible pixels, in pixels.
        box: (x0, y0, x1, y1) in pixels, of what is visible.
        color: the word of `COLORS` nearest to its paint; means something for paintable objects only.
    """

    name: str
    score: float
    centroid: tuple[float, float]
    box: Box
    color: str


@dataclass(frozen=True)
class PersonRead:
    """What the judge takes the person for: `keypoints` float64 [18, 2] in pixels, `confidence` [18]."""

    hair: str
    skin: str
    glasses: bool
    outfit: str
    pose: str
    keypoints: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """One picture, judged.

    Attributes:
        width, height: of the picture, in pixels.
        presence: every object and "person" -> belief that it is there, 0..1.
        objects: the objects that are there, the surest first; the person is not among them.
        person: None if nobody is there.
        features: float32 [192], for KID and diversity.
        maps: the network's dense answers, one cell for 4 x 4 pixels of the picture at 128 pixels' shorter
            side: class logits [136, h, w], key points [18, h, w], colours [6, h, w], depth [1, h, w] and
            normals [3, h, w].
    """

    width: int
    height: int
    presence: dict[str, float]
    objects: tuple[Found, ...]
    background: str
    background_score: float
    style: str
    style_score: float
    person: PersonRead | None
    person_found: Found | None
    features: np.ndarray = field(repr=False)
    maps: dict[str, np.ndarray] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The objects' names, the surest first."""
        return tuple(found.name for found in self.objects)

    def find(self, name: str) -> Found | None:
        """The object of this name (or "person"), if it is there."""
        if name == "person":
            return self.person_found
        return next((found for found in self.objects if found.name == name), None)

    def surest(self, count: int) -> tuple[str, ...]:
        """The `count` objects believed in most, whether or not the belief is strong."""
        objects = [name for name in self.presence if name != "person"]
        return tuple(sorted(objects, key=lambda name: -self.presence[name])[:count])

    @functools.cached_property
    def classes(self) -> np.ndarray:
        """uint8 [h, w]: index in `canvas.CLASSES` of every cell; only things that are there own cells."""
        allowed = [*range(len(STUFF)), *(CLASS_INDEX[name] for name in self.names)]
        if self.person is not None:
            allowed.append(CLASS_INDEX["person"])
        return np.array(allowed, np.uint8)[self.maps["classes"][allowed].argmax(0)]

    @property
    def depth(self) -> np.ndarray:
        """float32 [h, w], 0 near to 1 far."""
        return self.maps["depth"][0]

    @property
    def normals(self) -> np.ndarray:
        """float32 [h, w, 3], unit vectors: x right, y up, z towards the camera."""
        return self.maps["normals"].transpose(1, 2, 0)


def read(
    answers: dict[str, np.ndarray], maps: dict[str, np.ndarray], features: np.ndarray, width: int, height: int
) -> Verdict:
    """Turn one picture's logits and maps into a verdict about a picture of `width` x `height` pixels."""
    belief = 1 / (1 + np.exp(-answers["presence"].astype(np.float64)))
    presence = dict(zip(QUESTIONS["presence"], belief.tolist(), strict=True))
    there = [name for name in sorted(presence, key=lambda name: -presence[name]) if presence[name] >= THERE]
    found = _locate(there, presence, maps, width, height)
    chosen = {question: _softmax(answers[question]) for question in QUESTIONS if question != "presence"}
    words = {question: QUESTIONS[question][int(share.argmax())] for question, share in chosen.items()}
    person = None
    if "person" in there:
        keypoints, confidence = _keypoints(maps["keypoints"], width, height)
        glasses = words["glasses"] == "glasses"
        person = PersonRead(
            words["hair"], words["skin"], glasses, words["outfit"], words["pose"], keypoints, confidence
        )
    return Verdict(
        width=width,
        height=height,
        presence=presence,
        objects=tuple(thing for thing in found if thing.name != "person"),
        background=words["background"],
        background_score=float(chosen["background"].max()),
        style=words["style"],
        style_score=float(chosen["style"].max()),
        person=person,
        person_found=next((thing for thing in found if thing.name == "person"), None),
        features=features,
        maps=maps,
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(0))
    return shifted / shifted.sum(0)


def _locate(
    names: list[str], presence: dict[str, float], maps: dict[str, np.ndarray], width: int, height: int
) -> list[Found]:
    """Share the cells out among the background and the named things: a thing is where its share is."""
    if not names:
        return []
    things = [CLASS_INDEX[name] for name in names]
    share = _softmax(maps["classes"][[*range(len(STUFF)), *things]])[len(STUFF) :]
    colors = _softmax(maps["colors"])
    rows, columns = share.shape[1:]
    cell = np.array([width / columns, height / rows])
    found = []
    for name, part in zip(names, share, strict=True):
        mask = _largest_piece(part)
        ys, xs = np.nonzero(mask)
        weight = part[ys, xs]
        centroid = np.array([(xs + 0.5) @ weight, (ys + 0.5) @ weight]) / weight.sum() * cell
        near = part * cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        (x0, x1), (y0, y1) = _extent(near.max(0)), _extent(near.max(1))
        box = (x0 * float(cell[0]), y0 * float(cell[1]), x1 * float(cell[0]), y1 * float(cell[1]))
        color = list(COLORS)[int((colors[:, ys, xs] * weight).sum(1).argmax())]
        x, y = centroid.tolist()
        found.append(Found(name, presence[name], (x, y), box, color))
    return found


def _extent(profile: np.ndarray) -> tuple[float, float]:
    """Where a row of cells begins and ends to be full: a cell's share is how much of it is covered."""
    profile = profile / profile.max()  # some cell is full, however unsure the judge is
    full = np.flatnonzero(profile >= 0.5)
    first, last = int(full[0]), int(full[-1])
    before = profile[first - 1] if first > 0 else 0.0
    after = profile[last + 1] if last + 1 < len(profile) else 0.0
    return float(first + 1 - profile[first] - before), float(last + profile[last] + after)


def _largest_piece(share: np.ndarray) -> np.ndarray:
    """bool [h, w]: the connected cells that mostly belong to the thing; its likeliest cell if none does."""
    mostly = (share > 0.5).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mostly, connectivity=8)
    if count == 1:
        return share == share.max()
    return labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _keypoints(logits: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """([18, 2] pixels, [18] confidence): the mean place of the probability around each map's peak.

    The peak's 3 x 3 cells hold what training put there (a point's weight on its four nearest cells).
    """
    count, rows, columns = logits.shape
    share = _softmax(logits.reshape(count, -1).T).T.reshape(count, rows, columns)
    points, confidence = np.empty((count, 2)), np.empty(count)
    for index, part in enumerate(share):
        row, column = np.unravel_index(int(part.argmax()), part.shape)
        top, left = max(row - 1, 0), max(column - 1, 0)
        peak = part[top : row + 2, left : column + 2]
        ys, xs = np.mgrid[top : top + peak.shape[0], left : left + peak.shape[1]]
        confidence[index] = peak.sum()
        points[index] = ((xs + 0.5) * peak).sum() / peak.sum(), ((ys + 0.5) * peak).sum() / peak.sum()
    return points * (width / columns, height / rows), confidence
