"""The full tier's detectors, for what no filter can see in a picture: controlnet_aux's and a segmentation network.

controlnet_aux needs torchvision, which must be built for the installed torch: one that is not breaks diffusers too, so
it is found here before anything imports it. Weights come from the hub on first use.
"""

# transformers annotates its networks' `to` wrongly:
# pyright: reportArgumentType=false

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image

from lessonlib.conditions import pose, segmentation
from lessonlib.errors import LessonError
from lessonlib.models import downloads, machine
from lessonlib.models.catalogue import Model

_ANNOTATORS, _OPENPOSE = "lllyasviel/Annotators", "lllyasviel/ControlNet"
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


def keypoints(picture: Image.Image) -> list[pose.Point | None]:
    """The 18 key points (x, y) in pixels of the person OpenPose is surest of, None where one was not found.

    Raises:
        LessonError: nobody was found; what `detect` says.
    """
    found = _loaded("OpenposeDetector", _OPENPOSE).detect_poses(np.asarray(picture))
    if not found:
        raise LessonError(pose.NOBODY)
    surest = max(found, key=lambda person: person.body.total_score)
    width, height = picture.size
    return [point and (point.x * width, point.y * height) for point in surest.body.keypoints]


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
    kind = getattr(controlnet_aux(), detector)
    with _clear_errors(repository):
        return kind.from_pretrained(repository).to(machine.device())


@functools.cache
def _segmenter(repository: str) -> tuple[Any, Any]:
    """(processor, network), kept."""
    check_torchvision()
    from transformers import AutoImageProcessor, UperNetForSemanticSegmentation

    with _clear_errors(repository):
        processor = AutoImageProcessor.from_pretrained(repository)
        network = UperNetForSemanticSegmentation.from_pretrained(repository).to(machine.device())
    return processor, network


@contextmanager
def _clear_errors(repository: str) -> Iterator[None]:
    """What the hub says, in one sentence about the detector's weights."""
    row = Model(name="a detector", kind="pipeline", hub=repository, components=(), licence="", tiny="")
    with downloads.clear_errors(row):
        yield


def _depth(picture: Image.Image, side: int) -> Image.Image:
    return _loaded("MidasDetector", _ANNOTATORS)(picture, detect_resolution=side, image_resolution=side)


def _normal(picture: Image.Image, side: int) -> Image.Image:
    midas = _loaded("MidasDetector", _ANNOTATORS)
    _, normal = midas(picture, depth_and_normal=True, detect_resolution=side, image_resolution=side)
    return Image.fromarray(np.ascontiguousarray(np.asarray(normal)[..., ::-1]))  # it comes as (z, y, x)


def _pose(picture: Image.Image, side: int) -> Image.Image:
    drawn = _loaded("OpenposeDetector", _OPENPOSE)(picture, detect_resolution=side, image_resolution=side)
    if not np.asarray(drawn).any():
        raise LessonError(pose.NOBODY)
    return drawn


def _scribble(picture: Image.Image, side: int) -> Image.Image:
    hed = _loaded("HEDdetector", _ANNOTATORS)
    return hed(picture, scribble=True, detect_resolution=side, image_resolution=side)


def _lineart(picture: Image.Image, side: int) -> Image.Image:
    return _loaded("LineartDetector", _ANNOTATORS)(picture, detect_resolution=side, image_resolution=side)


def _segmentation(picture: Image.Image, side: int) -> Image.Image:
    import torch

    processor, network = _segmenter(_SEGMENTER)
    pixels = processor(picture, return_tensors="pt")["pixel_values"].to(network.device)
    with torch.inference_mode():
        found = network(pixels)
    classes = processor.post_process_semantic_segmentation(found, target_sizes=[picture.size[::-1]])[0]
    return Image.fromarray(segmentation.ade20k_palette()[classes.cpu().numpy()])


DETECTORS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "depth": _depth,
    "normal": _normal,
    "pose": _pose,
    "scribble": _scribble,
    "lineart": _lineart,
    "segmentation": _segmentation,
}
