"""The judge, ready to use: its weights are read on the first call, checked, and kept."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load, save

from lessonlib.errors import LessonError
from lessonlib.files import sha256, write_bytes, write_text
from lessonlib.judge.network import SIZE, JudgeNetwork
from lessonlib.judge.verdict import Verdict, read

WEIGHTS = "weights.safetensors"  # float16
CARD = "weights.json"  # what WEIGHTS must hash to
_BATCH = 32
_ROUND = 16  # the network's coarsest stride


class Judge:
    """A trained judge: `judge` names what is in pictures, `features` are for KID and diversity."""

    def __init__(self, network: JudgeNetwork) -> None:
        network.eval().requires_grad_(False)
        self.network: JudgeNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def judge(self, images: Any) -> list[Verdict]:
        """A verdict for each picture.

        Args:
            images: a picture or several: PIL, uint8 arrays [H, W, 3], or float arrays in 0..1 (what
                diffusers' pipelines return with output_type="pil" or "np"). They may differ in size.

        Raises:
            LessonError: something that is no RGB picture, or smaller than 16 pixels.
        """
        pictures = as_pictures(images)
        verdicts: list[Verdict | None] = [None] * len(pictures)
        fitted = [_fit(picture) for picture in pictures]
        device = next(self.network.parameters()).device
        for group in _of_one_shape(fitted):
            pixels = torch.from_numpy(np.stack([fitted[index] for index in group])).to(device)
            with torch.inference_mode():
                reading = self.network(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
            answers = {name: value.cpu().numpy() for name, value in reading.answers.items()}
            maps = {name: value.cpu().numpy() for name, value in reading.maps.items()}
            features = reading.features.cpu().numpy()
            for row, index in enumerate(group):
                height, width = pictures[index].shape[:2]
                verdicts[index] = read(
                    {name: value[row] for name, value in answers.items()},
                    {name: value[row] for name, value in maps.items()},
                    features[row],
                    width,
                    height,
                )
        return [verdict for verdict in verdicts if verdict is not None]

    def features(self, images: Any) -> np.ndarray:
        """float32 [N, 192]."""
        return np.stack([verdict.features for verdict in self.judge(images)])


def load_judge(folder: str | os.PathLike[str] | None = None) -> Judge:
    """The judge whose weights are in `folder` (by default the package's own), loaded once.

    Raises:
        LessonError: the weights are missing, altered, or not this network's.
    """
    return _load(Path(folder or Path(__file__).parent).resolve())


def judge(images: Any) -> list[Verdict]:
    """`Judge.judge` of the package's own judge."""
    return load_judge().judge(images)


def save_judge(network: JudgeNetwork, folder: str | os.PathLike[str] | None = None) -> Path:
    """Store a trained network as float16, with its checksum beside it; returns the folder."""
    target = Path(folder or Path(__file__).parent)
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    write_bytes(target / WEIGHTS, save(state))
    card = {"sha256": sha256(target / WEIGHTS), "bytes": (target / WEIGHTS).stat().st_size}
    write_text(target / CARD, json.dumps(card, indent=1) + "\n")
    return target


@functools.cache
def _load(folder: Path) -> Judge:
    weights, card = folder / WEIGHTS, folder / CARD
    repair = "restore it with `git checkout` or install lessonlib again"
    for path in (weights, card):
        if not path.is_file():
            raise LessonError(f"The judge's {path} is missing: {repair}.")
    try:
        wanted = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise LessonError(f"The judge's {card} is damaged: {repair}.") from error
    if sha256(weights) != wanted:
        raise LessonError(
            f"The judge's weights {weights} are not those of {CARD} (SHA-256 differs): {repair}."
        )
    network = JudgeNetwork()
    state = load(weights.read_bytes())
    try:
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        )
    except RuntimeError as error:
        raise LessonError(
            f"The weights in {weights} belong to another network than this judge: {repair}."
        ) from error
    return Judge(network)


def as_pictures(images: Any) -> list[np.ndarray]:
    """Anything a pipeline returns as a list of uint8 RGB arrays [H, W, 3]."""
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        images = [images]
    if not isinstance(images, Iterable):
        raise LessonError(f"The judge needs pictures (PIL or arrays [H, W, 3]), not {type(images).__name__}.")
    return [_as_picture(image, index) for index, image in enumerate(images)]


def _as_picture(image: Any, index: int) -> np.ndarray:
    if isinstance(image, Image.Image):
        array = np.array(image.convert("RGB"))
    elif isinstance(image, np.ndarray):
        array = image
    else:
        raise LessonError(
            f"Picture {index} is a {type(image).__name__}: the judge needs PIL or arrays [H, W, 3]."
        )
    if array.ndim != 3 or array.shape[2] != 3 or min(array.shape[:2]) < _ROUND:
        raise LessonError(
            f"Picture {index} has shape {array.shape}: the judge needs [H, W, 3], 16 pixels a side or more."
        )
    if array.dtype == np.uint8:
        return array
    if (
        not np.issubdtype(array.dtype, np.floating)
        or not np.isfinite(array).all()
        or array.min() < 0
        or array.max() > 1
    ):
        raise LessonError(
            f"Picture {index} is {array.dtype}: the judge needs uint8, or finite floats from 0 to 1."
        )
    return (255 * array).round().astype(np.uint8)


def _fit(picture: np.ndarray) -> np.ndarray:
    """Resize: the shorter side to what the judge was trained at, both to multiples of its coarsest stride."""
    height, width = picture.shape[:2]
    scale = SIZE / min(height, width)
    size = tuple(max(SIZE, _ROUND * round(side * scale / _ROUND)) for side in (width, height))
    if size == (width, height):
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _of_one_shape(pictures: list[np.ndarray]) -> Iterable[list[int]]:
    """Indices in batches of pictures of the same shape."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        shapes.setdefault(picture.shape, []).append(index)
    for group in shapes.values():
        for start in range(0, len(group), _BATCH):
            yield group[start : start + _BATCH]
