"""Draw a scene, and know every pixel of it.

The picture and its ground truth come from the same strokes, so a claim such as "the edges are where the control map says"
can be measured instead of believed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from lessonlib.errors import LessonError
from lessonlib.world import styles
from lessonlib.world.atlas import ART_SET, CELL, half_sprite, sprite
from lessonlib.world.backgrounds import PAINTERS, PAPER, WARM_WHITE
from lessonlib.world.canvas import CLASS_INDEX, Canvas
from lessonlib.world.people import draw, keypoints
from lessonlib.world.scene import Person, Scene, Thing

SIZE = 128

# surfaces that lie flat; everything else in a background faces the camera
_FLAT = frozenset(CLASS_INDEX[name] for name in ("ground", "water", "floor", "road"))
_THICKNESS = 0.08  # how far an object's middle bulges towards the camera, in units of depth


@dataclass(frozen=True)
class Rendered:
    """A picture with its ground truth.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        classes: uint8 [H, W], index in `canvas.CLASSES`.
        instances: uint8 [H, W], 0 for the background, then 1.. in the order of `scene.things` (a person is 1).
        plane_depth: float32 [H, W], depth of the surface or of the object's flat plane; 0 near, 1 far.
        boxes: for each instance (x0, y0, x1, y1) in pixels of what is visible, or None if nothing is.
        keypoints: float64 [18, 2] in pixels (x, y), COCO-18 order, or None if nobody is there.
    """

    scene: Scene
    image: np.ndarray
    classes: np.ndarray
    instances: np.ndarray
    plane_depth: np.ndarray
    boxes: tuple[tuple[int, int, int, int] | None, ...]
    keypoints: np.ndarray | None

    @functools.cached_property
    def relief(self) -> np.ndarray:
        """float32 [H, W], how far the surface bulges out of its plane: an ellipse's profile over each object's mask."""
        bulge = np.zeros(self.instances.shape, np.float32)
        for index in range(1, len(self.boxes) + 1):
            mask = (self.instances == index).astype(np.uint8)
            inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
            if inside.max() > 0:
                bulge += np.sqrt(np.clip(1 - (1 - inside / inside.max()) ** 2, 0, 1)) * (mask > 0)
        return bulge

    @functools.cached_property
    def depth(self) -> np.ndarray:
        """float32 [H, W] in 0 (near) to 1 (far), objects being round."""
        return np.clip(self.plane_depth - _THICKNESS * self.relief, 0.0, 1.0)

    @functools.cached_property
    def normals(self) -> np.ndarray:
        """float32 [H, W, 3], unit vectors: x right, y up, z towards the camera."""
        height, width = self.classes.shape
        smooth = cv2.GaussianBlur(self.relief, (0, 0), 1.0) * 0.22 * min(height, width)
        slope_x, slope_y = cv2.Sobel(smooth, -1, 1, 0, scale=1 / 8), cv2.Sobel(smooth, -1, 0, 1, scale=1 / 8)
        things, flat = self.instances > 0, np.isin(self.classes, list(_FLAT), kind="table")
        lying, leaning = np.float32(0.94), np.float32(0.34)
        x = np.where(things, -slope_x, np.float32(0))
        y = np.where(things, slope_y, flat * lying)
        z = np.where(things | ~flat, np.float32(1), leaning)
        length = np.sqrt(x * x + y * y + z * z)
        return cv2.merge([x / length, y / length, z / length])

    @functools.cached_property
    def edges(self) -> np.ndarray:
        """uint8 [H, W] in {0, 255}: Canny's edges of the picture (thresholds 100, 200), as a canny control map has them."""
        return cv2.Canny(cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY), 100, 200)

    @functools.cached_property
    def outlines(self) -> np.ndarray:
        """uint8 [H, W] in {0, 255}: where one instance or one kind of background meets another."""
        label = self.classes + 256 * self.instances.astype(np.int32)
        border = np.zeros(label.shape, bool)
        border[:, 1:] |= label[:, 1:] != label[:, :-1]
        border[1:] |= label[1:] != label[:-1]
        return border.astype(np.uint8) * 255

    def mask(self, index: int) -> np.ndarray:
        """bool [H, W]: the visible pixels of an instance (0 is the first thing, or the person)."""
        return self.instances == index + 1


def _place(
    cell: np.ndarray,
    center: tuple[float, float],
    side: float,
    angle: float,
    flip: bool,
    shape: tuple[int, int],
) -> np.ndarray:
    """Warp a square premultiplied sprite to `side` pixels around `center`; RGBA of the canvas's shape."""
    scale = side / cell.shape[0]
    turn = np.radians(angle)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    mirror = -1.0 if flip else 1.0
    middle = (cell.shape[0] - 1) / 2
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    offset = np.asarray(center) - 0.5 - linear @ (middle, middle)
    return cv2.warpAffine(
        cell, np.column_stack([linear, offset]), (shape[1], shape[0]), flags=cv2.INTER_LINEAR
    )


def _shadow(canvas: Canvas, x: float, bottom: float, width: float) -> None:
    """A soft dark ellipse under something that stands on the floor."""
    floor = min(canvas.height - 1, max(0, round(bottom * canvas.height)))
    column = min(canvas.width - 1, max(0, round(x * canvas.width)))
    if canvas.finish == "banded" or canvas.classes[floor, column] not in _FLAT:
        return
    rows, columns = np.ogrid[: canvas.height, : canvas.width]
    distance = ((columns - x * canvas.width) / (0.55 * width)) ** 2 + (
        (rows - bottom * canvas.height) / (0.14 * width)
    ) ** 2
    dark = (1 - 0.34 * np.exp(-1.6 * distance)).astype(np.float32)[..., None]
    canvas.color[:] = (canvas.color * dark).astype(np.uint8)


def _stand(bottom: float) -> float:
    """Depth of something whose foot is at this height of the picture: lower is nearer."""
    return float(np.clip(0.80 - 0.6 * bottom, 0.12, 0.75))


def _backdrop(scene: Scene, height: int, width: int) -> Canvas:
    canvas = Canvas(height, width, "banded" if ART_SET[scene.style] == "flat" else "smooth")
    PAINTERS[scene.background](canvas, np.random.default_rng(scene.seed))
    if scene.style == "soft":
        canvas.color = styles.pastel(canvas.color)
    elif scene.style == "ink":
        canvas.color = styles.ink_wash(canvas.color, PAPER.get(scene.background, WARM_WHITE))
    return canvas


def _layer(canvas: Canvas, item: Thing | Person, art_set: str) -> tuple[np.ndarray, int, float]:
    """(warped premultiplied RGBA, class index, depth) of a thing or a person."""
    shape = (canvas.height, canvas.width)
    center, side = (item.x * canvas.width, item.y * canvas.height), item.size * canvas.side
    if isinstance(item, Person):
        warped = _place(draw(item, art_set), center, side, 0.0, False, shape)
        return warped, CLASS_INDEX["person"], _stand(item.y + 0.46 * side / canvas.height)
    pick = half_sprite if side <= CELL * 0.55 else sprite
    # a sprite's ink fills its cell but for a margin of 4 %
    warped = _place(pick(item.name, art_set, item.color), center, side * 1.09, item.angle, item.flip, shape)
    return warped, CLASS_INDEX[item.name], _stand(item.y + 0.5 * side / canvas.height)


def render(scene: Scene, height: int = SIZE, width: int = SIZE) -> Rendered:
    """Draw a scene.

    Args:
        height, width: pixels, multiples of 8.

    Raises:
        LessonError: a size that is no positive multiple of 8.
    """
    if height < 8 or width < 8 or height % 8 or width % 8:
        raise LessonError(f"A picture's sides must be positive multiples of 8, not {height} x {width}.")
    art_set = ART_SET[scene.style]
    canvas = _backdrop(scene, height, width)
    instances = np.zeros((height, width), np.uint8)
    items: list[Thing | Person] = [scene.person] if scene.person else list(scene.things)
    layers = [_layer(canvas, item, art_set) for item in items]
    order = sorted(range(len(items)), key=lambda index: -layers[index][2])
    if scene.relation == "wearing":
        order = [1, 0]  # a hat sits on its wearer
    for index in order:
        warped, class_index, depth = layers[index]
        item = items[index]
        if art_set != "ink" and scene.relation != "wearing":
            _shadow(canvas, item.x, item.y + 0.49 * item.size * canvas.side / height, item.size * canvas.side)
        alpha = warped[..., 3:]
        canvas.color[:] = cv2.add(
            warped[..., :3], cv2.multiply(canvas.color, cv2.merge([255 - alpha] * 3), scale=1 / 255)
        )
        solid = alpha[..., 0] > 127
        canvas.classes[solid] = class_index
        instances[solid] = index + 1
        if scene.relation == "wearing" and index == 0:
            depth = min(depth, layers[1][2] - 0.02)
        canvas.depth[solid] = depth
    image = canvas.color
    if scene.style == "oil painting":
        image = styles.oil(image)
    elif scene.style == "pixel art":
        image = styles.pixels(image)
    return Rendered(
        scene=scene,
        image=image,
        classes=canvas.classes,
        instances=instances,
        plane_depth=canvas.depth,
        boxes=tuple(_box(instances == index + 1) for index in range(len(items))),
        keypoints=_keypoints_in_pixels(scene.person, canvas) if scene.person else None,
    )


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (x, y, x + width, y + height) if width else None


def _keypoints_in_pixels(person: Person, canvas: Canvas) -> np.ndarray:
    side = person.size * canvas.side
    return (keypoints(person) - 0.5) * side + (person.x * canvas.width, person.y * canvas.height)
