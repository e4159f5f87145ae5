"""The judge's network: one small convolutional net that reads a picture of the emoji world in one pass.

    stride   2    4    8    16
    width   32 > 32 > 96 > 128 --- pooled ---> presence, background, style, identity, outfit, pose; features
                 |    |     |
                 +----+-----+----> dense maps at stride 4: classes, key points, colours, depth, normals

It shares no weights, no seed and no code with the models that it measures. Residual blocks: He et al. 2016;
the way down and up again with sums: Lin et al. 2017 (feature pyramids).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lessonlib.world.canvas import CLASSES
from lessonlib.world.people import KEYPOINTS
from lessonlib.world.vocabulary import BACKGROUNDS, COLORS, HAIR, OBJECTS, OUTFITS, POSES, SKINS, STYLES

SIZE = 128  # the shorter side it was trained at
STRIDE = 4  # pixels a side of a cell of the dense maps
FEATURES = 192

# what the pooled features answer: question -> the words it chooses from
QUESTIONS: dict[str, tuple[str, ...]] = {
    "presence": (*OBJECTS, "person"),  # any number of these
    "background": tuple(BACKGROUNDS),  # one of these, and so below
    "style": tuple(STYLES),
    "hair": tuple(HAIR),
    "skin": SKINS,
    "glasses": ("no glasses", "glasses"),
    "outfit": tuple(OUTFITS),
    "pose": tuple(POSES),
}
_THINGS = [CLASSES.index(name) for name in QUESTIONS["presence"]]  # their channels in the map of classes
# what every cell answers, and with how many channels
MAPS: dict[str, int] = {
    "classes": len(CLASSES),
    "keypoints": len(KEYPOINTS),
    "colors": len(COLORS),
    "depth": 1,
    "normals": 3,
}


class Reading(NamedTuple):
    """The network's raw answers for B pictures of H x W pixels.

    Attributes:
        answers: question of `QUESTIONS` -> logits, float [B, words].
        maps: name of `MAPS` -> float [B, channels, H/4, W/4]. Classes, key points and colours are logits (key
            points over the cells of one channel); depth is 0 near to 1 far; normals are unit vectors (x
            right, y up, z towards the camera).
        features: float [B, FEATURES], not negative: what KID and diversity compare.
    """

    answers: dict[str, Tensor]
    maps: dict[str, Tensor]
    features: Tensor


def _convolution(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """x + f(x), then ReLU; f is two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = _convolution(width, width)[:2]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class JudgeNetwork(nn.Module):
    """0.8M parameters; any picture whose sides are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, 32, kernel=4, stride=2)
        self.fine = nn.Sequential(_convolution(32, 32, stride=2), _Residual(32))
        self.middle = nn.Sequential(_convolution(32, 96, stride=2), _Residual(96))
        self.coarse = nn.Sequential(_convolution(96, 128, stride=2), _Residual(128))

        # means say how much there is of something, maxima whether there is any; fine means and spreads are
        # texture
        self.pooled = nn.Sequential(
            nn.Linear(2 * 128 + 2 * 32, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU()
        )
        self.answer = nn.Linear(FEATURES, sum(map(len, QUESTIONS.values())))
        # a thing is there about once in a hundred pictures: log(1/100)
        nn.init.constant_(self.answer.bias[: len(QUESTIONS["presence"])], -4.6)

        self.from_coarse = nn.Conv2d(128, 64, 1)
        self.from_middle = nn.Conv2d(96, 64, 1)
        self.from_fine = nn.Conv2d(32, 64, 1)
        self.join_middle = _convolution(64, 64)
        self.join_fine = _convolution(64, 64)
        self.map = nn.Conv2d(64, sum(MAPS.values()), 1)
        # how much the map's cells count in the belief that a thing is there
        self.evidence = nn.Parameter(torch.zeros(()))

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Reading:
        """Read pictures in -1..1."""
        fine = self.fine(self.stem(pixels))
        middle = self.middle(fine)
        coarse = self.coarse(middle)

        deviation = fine.float().var((2, 3)).add(1e-5).sqrt()
        pooled = [coarse.mean((2, 3)), coarse.amax((2, 3)), fine.mean((2, 3)), deviation]
        features = self.pooled(torch.cat([part.float() for part in pooled], 1))
        sizes = [len(words) for words in QUESTIONS.values()]
        answers = dict(zip(QUESTIONS, self.answer(features).float().split(sizes, 1), strict=True))

        joined = self.join_middle(
            self.from_middle(middle) + F.interpolate(self.from_coarse(coarse), scale_factor=2)
        )
        joined = self.join_fine(self.from_fine(fine) + F.interpolate(joined, scale_factor=2))
        maps = dict(zip(MAPS, self.map(joined).float().split(list(MAPS.values()), 1), strict=True))
        maps["normals"] = F.normalize(maps["normals"], dim=1)
        shares = maps["classes"].softmax(1)[:, _THINGS].mean((2, 3))  # of the picture, one a thing
        answers["presence"] = answers["presence"] + self.evidence * (shares + 1e-4).log()
        return Reading(answers, maps, features.float())
