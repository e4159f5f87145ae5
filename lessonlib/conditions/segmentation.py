"""A class map in colours: ADE20K's colour where ADE20K has the class, else a colour of the class's own.

The seg ControlNet learned ADE20K's palette (Zhou et al. 2017; 150 classes). It has one class for all
animals and one for all food; here a cat and a dog differ, so those take the colours farthest from all others.
"""

from __future__ import annotations

import functools
import itertools

import cv2
import numpy as np

from lessonlib.world.canvas import CLASSES
from lessonlib.world.render import Rendered

# class of the world -> index of its class in ADE20K
ADE20K: dict[str, int] = {
    "sky": 2,
    "ground": 13,  # earth
    "water": 21,
    "mountain": 16,
    "building": 1,
    "plant": 17,
    "wall": 0,
    "floor": 3,
    "road": 6,
    "column": 42,
    "curtain": 18,
    "rock": 34,
    "furniture": 10,  # cabinet
    "person": 12,
    "car": 20,
    "bus": 80,
    "truck": 83,
    "bicycle": 127,
    "motorcycle": 116,  # minibike
    "airplane": 90,
    "sailboat": 76,  # boat
    "house": 25,
    "tree": 4,
    "palm tree": 72,
    "tent": 114,
    "tulip": 66,  # flower
    "book": 67,
    "backpack": 115,  # bag
    "soccer ball": 119,  # ball
    "television": 89,
    "alarm clock": 148,  # clock
    "light bulb": 82,  # light
}

# ADE20K's colours in the order of its classes, as red, green and blue in hexadecimal
_COLORS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
    ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
    08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
    eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
    0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
    0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
    00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
    8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
    ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
    00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""


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
def ade20k_palette() -> np.ndarray:
    """uint8 [150, 3]: the colour of every ADE20K class."""
    return np.array([list(bytes.fromhex(color)) for color in _COLORS.split()], np.uint8)


@functools.cache
def palette() -> np.ndarray:
    """uint8 [256, 3]: the colour of every index in `canvas.CLASSES`; further rows are black."""
    levels = np.array(list(itertools.product(range(5, 256, 50), repeat=3)))
    chosen = {name: ade20k_palette()[index].astype(int) for name, index in ADE20K.items()}
    distance = np.full(len(levels), np.inf)
    for color in (np.zeros(3), *chosen.values()):
        distance = np.minimum(distance, np.linalg.norm(levels - color, axis=1))
    for name in CLASSES:
        if name not in chosen:
            chosen[name] = levels[int(distance.argmax())]
            distance = np.minimum(distance, np.linalg.norm(levels - chosen[name], axis=1))
    table = np.zeros((256, 3), np.uint8)
    table[: len(CLASSES)] = [chosen[name] for name in CLASSES]
    return table
