"""One entry for every control map."""

from __future__ import annotations

import difflib
import importlib
import os
from types import ModuleType

import numpy as np
from PIL import Image

from lessonlib.conditions import detectors
from lessonlib.conditions.pictures import checked_size, fitted, rgb
from lessonlib.errors import LessonError
from lessonlib.models import machine
from lessonlib.world.render import SIZE, Rendered, render
from lessonlib.world.scene import Scene

# condition -> the catalogue's name of the ControlNet that reads it; the condition's file has the condition's name
CONTROLNETS: dict[str, str] = {
    "canny": "controlnet-canny",
    "depth": "controlnet-depth",
    "pose": "controlnet-openpose",
    "scribble": "controlnet-scribble",
    "segmentation": "controlnet-seg",
    "normal": "controlnet-normal",
    "lineart": "controlnet-lineart",
}
NAMES: tuple[str, ...] = tuple(CONTROLNETS)


def from_truth(name: str, rendered: Rendered) -> np.ndarray:
    """The control map of a rendered scene, from its exact ground truth; uint8 [H, W, 3].

    A pose map of a scene without a person is black.

    Raises:
        LessonError: there is no such condition.
    """
    return _file(name).from_truth(rendered)


def condition(
    name: str,
    picture: Image.Image | str | os.PathLike[str] | Scene | Rendered,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """The control map of a picture or of a scene of the emoji world, as an RGB PIL picture.

    A scene gives its ground truth, drawn at the asked size. A picture is cut and scaled to the size first; what
    no filter can see in it (depth, normals, pose, classes) a network reads: the judge in the tiny tier, which
    knows the emoji world only, and controlnet_aux's detectors in the full one.

    Args:
        name: one of `NAMES`.
        size: (width, height), multiples of 8; by default the picture's own, or 128 x 128 for a scene.

    Raises:
        LessonError: no such condition, a size that cannot be, something that is no picture (see `pictures.rgb`),
            a pose of a picture or a scene without a person, detectors that cannot be used.
    """
    file = _file(name)
    if isinstance(picture, Scene | Rendered):
        return Image.fromarray(file.from_truth(_rendered(name, picture, size)))
    picture = rgb(picture, f"The picture for the {name} map")
    size = checked_size(size or picture.size, "The asked size" if size else "The picture's size")
    picture = fitted(picture, size)
    if machine.tier() == "full" and name in detectors.DETECTORS:
        return fitted(detectors.detect(name, picture), size)
    return Image.fromarray(file.from_picture(np.asarray(picture)))


def _rendered(name: str, scene: Scene | Rendered, size: tuple[int, int] | None) -> Rendered:
    """The scene drawn at the asked size."""
    if isinstance(scene, Rendered) and (size is None or scene.image.shape[1::-1] == tuple(size)):
        rendered = scene
    else:
        width, height = checked_size(size or (SIZE, SIZE), "The asked size")
        rendered = render(scene.scene if isinstance(scene, Rendered) else scene, height, width)
    if name == "pose" and rendered.keypoints is None:
        raise LessonError("The scene has no person, so it has no pose: give one that has.")
    return rendered


def _file(name: str) -> ModuleType:
    if name not in CONTROLNETS:
        close = difflib.get_close_matches(str(name).lower(), NAMES, n=1, cutoff=0.4)
        hint = f"Did you mean '{close[0]}'?" if close else f"It is one of {', '.join(NAMES)}."
        raise LessonError(f"There is no condition called '{name}'. {hint}")
    return importlib.import_module(f"lessonlib.conditions.{name}")
