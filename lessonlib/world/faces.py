"""Where a person's head is, from the key points: what a face adapter is shown."""

from __future__ import annotations

import numpy as np

from lessonlib.world.people import KEYPOINTS

_EARS = [KEYPOINTS.index(name) for name in ("right_ear", "left_ear")]
_EYES = [KEYPOINTS.index(name) for name in ("right_eye", "left_eye")]
_HALF = 0.9  # half a head's side, in distances from ear to ear


def face_box(keypoints: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """A square around the head, (x0, y0, x1, y1) in pixels, as far as the picture of `height` x `width` holds one.

    Args:
        keypoints: [18, 2] in pixels, COCO-18 order, as `Rendered.keypoints` or the judge gives them.
    """
    center = keypoints[_EYES].mean(axis=0)
    ear_to_ear = float(np.linalg.norm(keypoints[_EARS[0]] - keypoints[_EARS[1]]))
    side = int(np.clip(round(2 * _HALF * ear_to_ear), 8, min(height, width)))
    x0, y0 = np.clip(np.round(center - side / 2).astype(int), 0, (width - side, height - side)).tolist()
    return x0, y0, x0 + side, y0 + side


def face_of(picture: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The square of a picture uint8 [H, W, 3] that shows the head: uint8 [S, S, 3], not resized."""
    x0, y0, x1, y1 = face_box(keypoints, *picture.shape[:2])
    return picture[y0:y1, x0:x1]
