"""A class map in colours: ADE20K's colour where ADE20K has the class, else a colour of the class's own.

The seg ControlNet learned ADE20K's palette (Zhou et al. 2017; 150 classes, `ADE20K`). It has one class for all
animals and one for all food; here a cat and a dog differ, so those take the colours farthest from all others.
"""

from __future__ import annotations

import functools
import itertools

import cv2
import numpy as np

from lessonlib.world.canvas import CLASSES
from lessonlib.world.render import Rendered

Color = tuple[int, int, int]

# class of the world -> the colour of its class in ADE20K
ADE20K: dict[str, Color] = {
    "sky": (6, 230, 230),
    "ground": (120, 120, 70),  # earth
    "water": (61, 230, 250),
    "mountain": (143, 255, 140),
    "building": (180, 120, 120),
    "plant": (204, 255, 4),
    "wall": (120, 120, 120),
    "floor": (80, 50, 50),
    "road": (140, 140, 140),
    "column": (255, 8, 41),
    "curtain": (255, 51, 7),
    "rock": (255, 41, 10),
    "furniture": (224, 5, 255),  # cabinet
    "person": (150, 5, 61),
    "car": (0, 102, 200),
    "bus": (255, 0, 245),
    "truck": (255, 0, 20),
    "bicycle": (255, 245, 0),
    "motorcycle": (163, 0, 255),  # minibike
    "airplane": (0, 255, 61),
    "sailboat": (173, 255, 0),  # boat
    "house": (255, 9, 224),
    "tree": (4, 200, 3),
    "palm tree": (0, 82, 255),
    "tent": (112, 224, 255),
    "tulip": (255, 0, 0),  # flower
    "book": (255, 163, 0),
    "backpack": (70, 184, 160),  # bag
    "soccer ball": (184, 0, 255),  # ball
    "television": (0, 31, 255),
    "alarm clock": (102, 255, 0),  # clock
    "light bulb": (255, 173, 0),  # light
}


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return palette()[rendered.classes]


def from_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: the classes that the judge reads from an RGB picture uint8 [H, W, 3]."""
    from lessonlib.judge import judge

    verdict = judge(picture)[0]
    height, width = picture.shape[:2]
    there = np.unique(verdict.classes)
    logits = verdict.maps["classes"][there]
    finer = [cv2.resize(logit, (width, height), interpolation=cv2.INTER_LINEAR) for logit in logits]
    return palette()[there[np.argmax(finer, axis=0)]]


@functools.cache
def palette() -> np.ndarray:
    """uint8 [256, 3]: the colour of every index in `canvas.CLASSES`; further rows are black."""
    levels = np.array(list(itertools.product(range(5, 256, 50), repeat=3)))
    chosen = dict(ADE20K)
    distance = np.full(len(levels), np.inf)
    for color in ((0, 0, 0), *chosen.values()):
        distance = np.minimum(distance, np.linalg.norm(levels - color, axis=1))
    for name in CLASSES:
        if name not in chosen:
            farthest = levels[int(distance.argmax())]
            chosen[name] = tuple(int(c) for c in farthest)
            distance = np.minimum(distance, np.linalg.norm(levels - farthest, axis=1))
    table = np.zeros((256, 3), np.uint8)
    table[: len(CLASSES)] = [chosen[name] for name in CLASSES]
    return table
