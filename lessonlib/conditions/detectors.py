"""The full tier's detectors, for what no filter can see in a picture: controlnet_aux's and a segmentation network.

controlnet_aux needs torchvision, which must be built for the installed torch: one that is not breaks diffusers too, so
it is found here before anything imports it. Weights come from the hub on first use.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.models import machine

_ANNOTATORS = "lllyasviel/Annotators"
_SEGMENTER = "openmmlab/upernet-convnext-small"  # trained on ADE20K


def detect(name: str, picture: Image.Image) -> Image.Image:
    """The control map of an RGB picture, at about the picture's size.

    Args:
        name: one of `DETECTORS`.

    Raises:
        LessonError: controlnet_aux is not installed, torchvision is missing or built for another torch, the weights
            cannot be had.
    """
    side = min(picture.size)
    return DETECTORS[name](picture, side)


def controlnet_aux() -> Any:
    """The package, imported.

    Raises:
        LessonError: it is not installed; torchvision is missing or built for another torch.
    """
    check_torchvision()
    try:
        return importlib.import_module("controlnet_aux")
    except ModuleNotFoundError as error:
        raise LessonError(
            f"The detectors need the package {error.name}: install them with `pip install 'lessonlib[detectors]'`."
        ) from None


def check_torchvision() -> None:
    """Find a torchvision that was built for another torch, which would break diffusers and transformers as well.

    Raises:
        LessonError: it was.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except (RuntimeError, ImportError, OSError) as error:
        raise LessonError(
            f"torchvision {version('torchvision')} was not built for the installed torch {version('torch')} "
            f"({str(error).splitlines()[0]}): install the torchvision that belongs to it, or uninstall torchvision."
        ) from error


@functools.cache
def _loaded(detector: str, repository: str) -> Any:
    """A detector of controlnet_aux on this machine's device, kept."""
    return getattr(controlnet_aux(), detector).from_pretrained(repository).to(machine.device())


def _depth(picture: Image.Image, side: int) -> Image.Image:
    return _loaded("MidasDetector", _ANNOTATORS)(picture, detect_resolution=side, image_resolution=side)


def _normal(picture: Image.Image, side: int) -> Image.Image:
    midas = _loaded("MidasDetector", _ANNOTATORS)
    _, normal = midas(picture, depth_and_normal=True, detect_resolution=side, image_resolution=side)
    return Image.fromarray(np.asarray(normal)[..., ::-1])  # it comes as (z, y, x)


def _pose(picture: Image.Image, side: int) -> Image.Image:
    detector = _loaded("OpenposeDetector", "lllyasviel/ControlNet")
    return detector(picture, detect_resolution=side, image_resolution=side)


def _scribble(picture: Image.Image, side: int) -> Image.Image:
    hed = _loaded("HEDdetector", _ANNOTATORS)
    return hed(picture, scribble=True, detect_resolution=side, image_resolution=side)


def _lineart(picture: Image.Image, side: int) -> Image.Image:
    detector = _loaded("LineartDetector", _ANNOTATORS)
    return detector(picture, detect_resolution=side, image_resolution=side)


DETECTORS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "depth": _depth,
    "normal": _normal,
    "pose": _pose,
    "scribble": _scribble,
    "lineart": _lineart,
}
