"""People: a rigged figure with an emoji head. Joints come from a pose by forward kinematics; clothes hang on the joints."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lessonlib.world.atlas import CELL, sprite
from lessonlib.world.scene import Person

PATCH = 160  # pixels a side of the square that a figure is drawn in

# OpenPose's COCO-18 order; "right" is the person's own right, at the picture's left when they face us
KEYPOINTS: tuple[str, ...] = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip

# angles from hanging straight down, outwards positive (degrees):
# right upper arm, right forearm, left upper arm, left forearm, right thigh, right shin, left thigh, left shin
_ANGLES: dict[str, tuple[float, ...]] = {
    "standing": (14, 6, 14, 6, 6, 2, 6, 2),
    "waving": (118, 172, 14, 6, 6, 2, 6, 2),
    "arms raised": (152, 166, 152, 166, 9, 3, 9, 3),
    "running": (48, -52, 56, 128, 42, -38, -6, 64),
    "sitting": (24, -12, 24, -12, 74, 2, 74, 2),
    "jumping": (122, 138, 122, 138, 46, -16, 46, -16),
    "pointing": (90, 90, 14, 6, 8, 2, 8, 2),
    "hands on hips": (52, -50, 52, -50, 12, 2, 12, 2),
}
_ARM, _FOREARM, _THIGH, _SHIN = 0.135, 0.125, 0.165, 0.165
_SHOULDER, _HIP = 0.088, 0.052  # half widths
_NECK, _HIPS = (0.5, 0.365), 0.585
_HEAD = 0.36  # side of the head's sprite
_HEAD_CENTER = 0.205

Color = tuple[int, int, int]
_SKIN: dict[str, Color] = {"light": (250, 212, 178), "medium": (206, 152, 108), "dark": (124, 82, 62)}


def keypoints(person: Person) -> np.ndarray:
    """The 18 key points in the figure's box, float64 [18, 2] as (x, y) fractions."""
    angles = np.radians(np.array(_ANGLES[person.pose]) + np.array(person.joints))
    drop = 0.11 if person.pose == "sitting" else -0.04 if person.pose == "jumping" else 0.0
    points = np.zeros((18, 2))
    neck = np.array([_NECK[0], _NECK[1] + drop])
    points[1] = neck
    limbs = (  # side, shoulder index, half width, drop from the neck, lengths, the two angles
        (-1, 2, _SHOULDER, 0.02, (_ARM, _FOREARM), angles[0:2]),
        (+1, 5, _SHOULDER, 0.02, (_ARM, _FOREARM), angles[2:4]),
        (-1, 8, _HIP, _HIPS - _NECK[1], (_THIGH, _SHIN), angles[4:6]),
        (+1, 11, _HIP, _HIPS - _NECK[1], (_THIGH, _SHIN), angles[6:8]),
    )
    for side, start, half, below, lengths, bend in limbs:
        points[start] = neck + (side * half, below)
        for step in range(2):
            direction = np.array([side * np.sin(bend[step]), np.cos(bend[step])])
            points[start + step + 1] = points[start + step] + lengths[step] * direction
    head = np.array([0.5, _HEAD_CENTER + drop])
    points[0] = head + (0, 0.045)
    points[14], points[15] = head + (-0.045, 0.012), head + (0.045, 0.012)
    points[16], points[17] = head + (-0.112, 0.035), head + (0.112, 0.035)
    if person.mirrored:  # the picture is mirrored, so left and right change their names too
        points[:, 0] = 1 - points[:, 0]
        points = points[[0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]]
    return points


class _Figure:
    """A transparent square of PATCH pixels to draw a person in, in one art set's manner."""

    def __init__(self, art_set: str) -> None:
        self.art_set = art_set
        self.color = np.zeros((PATCH, PATCH, 3), np.uint8)
        self.alpha = np.zeros((PATCH, PATCH), np.uint8)

    def _tone(self, color: Color) -> Color:
        if self.art_set == "ink":  # paper and grey washes instead of paint
            gray = int(0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2])
            gray = 255 if gray > 150 else 214 if gray > 90 else 120 if gray > 45 else 60
            return (gray, gray, gray)
        return color

    def strokes(self, points: Sequence[np.ndarray], width: float, color: Color) -> None:
        """A round-ended limb through the points; `width` is a fraction of the patch."""
        line = [np.round(np.asarray(points) * PATCH * 16).astype(np.int32).reshape(-1, 1, 2)]
        thick = max(1, round(width * PATCH))
        color = self._tone(color)
        if self.art_set == "ink":
            cv2.polylines(self.color, line, False, (26, 24, 30), thick + 5, cv2.LINE_AA, 4)
            cv2.polylines(self.alpha, line, False, 255, thick + 5, cv2.LINE_AA, 4)
        cv2.polylines(self.alpha, line, False, 255, thick, cv2.LINE_AA, 4)
        cv2.polylines(self.color, line, False, color, thick, cv2.LINE_AA, 4)
        if self.art_set in ("3d", "soft"):  # light from the upper left
            lit = tuple(int(c + 0.30 * (255 - c)) for c in color)
            shifted = [line[0] - np.int32(16 * 0.2 * thick)]
            cv2.polylines(self.color, shifted, False, lit, max(1, round(0.35 * thick)), cv2.LINE_AA, 4)

    def fill(self, points: Sequence[Sequence[float] | np.ndarray], color: Color, soft: float = 0.03) -> None:
        """A filled shape with rounded corners of radius `soft`."""
        corners = [np.round(np.asarray(points) * PATCH * 16).astype(np.int32).reshape(-1, 1, 2)]
        round_off = max(1, round(soft * PATCH))
        color = self._tone(color)
        if self.art_set == "ink":
            cv2.polylines(self.color, corners, True, (26, 24, 30), round_off + 5, cv2.LINE_AA, 4)
            cv2.polylines(self.alpha, corners, True, 255, round_off + 5, cv2.LINE_AA, 4)
        for layer, paint in ((self.alpha, 255), (self.color, color)):
            cv2.fillPoly(layer, corners, paint, cv2.LINE_AA, 4)
            cv2.polylines(layer, corners, True, paint, round_off, cv2.LINE_AA, 4)
        if self.art_set in ("3d", "soft"):
            lit = tuple(int(c + 0.22 * (255 - c)) for c in color)
            inner = np.asarray(points)
            center = inner.mean(axis=0) + (-0.02, -0.02)
            core = [
                np.round((center + 0.45 * (inner - center)) * PATCH * 16).astype(np.int32).reshape(-1, 1, 2)
            ]
            cv2.fillPoly(self.color, core, lit, cv2.LINE_AA, 4)

    def dot(self, point: Sequence[float] | np.ndarray, radius: float, color: Color) -> None:
        """A disc on the figure."""
        center = (round(float(point[0]) * PATCH * 16), round(float(point[1]) * PATCH * 16))
        r = round(radius * PATCH * 16)
        cv2.circle(self.alpha, center, r, 255, -1, cv2.LINE_AA, 4)
        cv2.circle(self.color, center, r, self._tone(color), -1, cv2.LINE_AA, 4)

    def paste(self, cell: np.ndarray, center: np.ndarray, side: float) -> None:
        """A premultiplied sprite over the figure."""
        scale = side * PATCH / CELL
        matrix = np.array(
            [
                [scale, 0, center[0] * PATCH - scale * CELL / 2],
                [0, scale, center[1] * PATCH - scale * CELL / 2],
            ]
        )
        warped = cv2.warpAffine(cell, matrix, (PATCH, PATCH), flags=cv2.INTER_LINEAR)
        cover = 255 - warped[..., 3:].astype(np.uint16)
        self.color[:] = warped[..., :3] + ((self.color * cover + 127) // 255).astype(np.uint8)
        self.alpha[:] = warped[..., 3] + ((self.alpha * cover[..., 0] + 127) // 255).astype(np.uint8)


def _trousers(figure: _Figure, p: np.ndarray, color: Color, shoe: Color, width: float = 0.072) -> None:
    for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        figure.strokes([p[hip], p[knee], p[ankle]], width, color)
        figure.strokes([p[ankle], p[ankle] + (0, 0.012)], width * 1.05, shoe)


def _sleeves(figure: _Figure, p: np.ndarray, color: Color, hand: Color, width: float = 0.06) -> None:
    for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
        figure.strokes([p[wrist], p[wrist]], width * 1.05, hand)
        figure.strokes([p[shoulder], p[elbow], p[elbow] + 0.8 * (p[wrist] - p[elbow])], width, color)


def _bare_arms(figure: _Figure, p: np.ndarray, skin: Color, sleeve: Color) -> None:
    for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
        figure.strokes([p[shoulder], p[elbow], p[wrist]], 0.05, skin)
        figure.strokes([p[shoulder], p[shoulder] + 0.6 * (p[elbow] - p[shoulder])], 0.064, sleeve)


def _torso(p: np.ndarray, flare: float = 0.0, length: float = 0.0) -> list[np.ndarray]:
    inward = np.array([0.012, 0.0])
    return [
        p[2] + inward, p[5] - inward, p[11] + (flare, 0.012 + length), p[8] - (flare, -0.012 - length),
    ]  # fmt: skip


def _at(p: np.ndarray, x: float, y: float) -> np.ndarray:
    """A point of the torso: x from -1 (picture left) to 1 at the shoulders, y from 0 (neck) to 1 (hips)."""
    return p[1] + (x * _SHOULDER, y * (_HIPS - _NECK[1]))


def _suit(f: _Figure, p: np.ndarray, skin: Color) -> None:
    navy, shirt, tie = (46, 54, 84), (250, 250, 252), (206, 44, 54)
    _trousers(f, p, (38, 44, 70), (22, 22, 28))
    f.fill(_torso(p), navy)
    f.fill([_at(p, -0.38, -0.02), _at(p, 0.38, -0.02), _at(p, 0, 0.56)], shirt, 0.008)
    f.fill(
        [_at(p, -0.1, 0.04), _at(p, 0.1, 0.04), _at(p, 0.13, 0.42), _at(p, 0, 0.54), _at(p, -0.13, 0.42)],
        tie,
        0.006,
    )
    _sleeves(f, p, navy, skin)


def _superhero(f: _Figure, p: np.ndarray, skin: Color) -> None:
    blue, red, gold = (40, 92, 206), (220, 34, 48), (252, 206, 60)
    _trousers(f, p, blue, red, 0.066)
    f.fill(_torso(p), blue)
    f.fill([p[8], p[11], (p[8] + p[11]) / 2 + (0, 0.06)], red, 0.02)
    f.strokes([_at(p, -0.6, 0.9), _at(p, 0.6, 0.9)], 0.03, gold)
    f.fill([_at(p, -0.5, 0.2), _at(p, 0.5, 0.2), _at(p, 0, 0.62)], gold, 0.012)
    _sleeves(f, p, blue, red, 0.056)


def _cape(f: _Figure, p: np.ndarray) -> None:
    f.fill(
        [p[2] + (0.01, -0.01), p[5] + (-0.01, -0.01), p[5] + (0.09, 0.42), p[2] + (-0.09, 0.42)],
        (196, 24, 40),
        0.03,
    )


def _toga(f: _Figure, p: np.ndarray, skin: Color) -> None:
    linen, stripe = (246, 240, 226), (150, 44, 96)
    for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        f.strokes([p[hip], p[knee], p[ankle]], 0.05, skin)
        f.strokes([p[ankle], p[ankle] + (0, 0.012)], 0.056, (134, 88, 50))
    f.fill([*_torso(p)[:2], p[12] + (0.035, -0.02), p[9] + (-0.035, -0.02)], linen)
    for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
        f.strokes([p[shoulder], p[elbow], p[wrist]], 0.05, skin)
    f.strokes([_at(p, 0.85, 0.02), _at(p, -0.1, 0.6), _at(p, -0.75, 1.1)], 0.045, stripe)
    f.strokes([_at(p, 0.8, 0.5), _at(p, 0.55, 1.4)], 0.014, (214, 202, 180))


def _jeans(f: _Figure, p: np.ndarray, skin: Color) -> None:
    _trousers(f, p, (66, 110, 178), (246, 246, 246))
    f.fill(_torso(p), (74, 176, 98))
    _bare_arms(f, p, skin, (74, 176, 98))


def _dress(f: _Figure, p: np.ndarray, skin: Color) -> None:
    red = (222, 38, 62)
    for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        f.strokes([p[hip], p[knee], p[ankle]], 0.05, skin)
        f.strokes([p[ankle], p[ankle] + (0, 0.012)], 0.054, red)
    f.fill([*_torso(p)[:2], p[12] + (0.05, -0.02), p[9] + (-0.05, -0.02)], red)
    f.strokes([_at(p, -0.55, 0.78), _at(p, 0.55, 0.78)], 0.026, (250, 212, 84))
    _bare_arms(f, p, skin, red)


def _raincoat(f: _Figure, p: np.ndarray, skin: Color) -> None:
    yellow, boot = (252, 208, 48), (60, 140, 78)
    _trousers(f, p, (70, 84, 110), boot)
    f.fill(_torso(p, 0.035, 0.1), yellow)
    for y in (0.2, 0.55, 0.9):
        f.dot(_at(p, 0, y), 0.011, (120, 84, 30))
    _sleeves(f, p, yellow, skin, 0.066)


def _space_suit(f: _Figure, p: np.ndarray, skin: Color) -> None:
    white, gray = (240, 242, 248), (150, 158, 176)
    _trousers(f, p, white, gray, 0.084)
    f.fill(_torso(p, 0.012), white)
    _sleeves(f, p, white, gray, 0.074)
    f.fill(
        [_at(p, -0.5, 0.3), _at(p, 0.5, 0.3), _at(p, 0.5, 0.72), _at(p, -0.5, 0.72)], (86, 110, 160), 0.012
    )
    f.dot(_at(p, -0.22, 0.5), 0.017, (236, 66, 60))
    f.dot(_at(p, 0.22, 0.5), 0.017, (90, 214, 120))


def _wizard(f: _Figure, p: np.ndarray, skin: Color) -> None:
    violet, gold = (98, 60, 168), (252, 212, 90)
    _trousers(f, p, (70, 42, 120), (60, 44, 40))
    hem = np.array([0.0, 0.05])
    f.fill([*_torso(p)[:2], p[12] + (0.05, 0) + hem, p[9] + (-0.05, 0) + hem], violet)
    _sleeves(f, p, violet, skin, 0.074)
    f.strokes([_at(p, -0.6, 0.85), _at(p, 0.6, 0.85)], 0.024, gold)
    for x, y in ((-0.3, 0.35), (0.35, 0.5), (-0.2, 1.4), (0.4, 1.7)):
        f.dot(_at(p, x, y), 0.016, gold)


def _wizard_hat(f: _Figure, p: np.ndarray) -> None:
    top = (p[14] + p[15]) / 2
    f.fill([top + (-0.15, -0.085), top + (0.15, -0.085), top + (0.02, -0.235)], (98, 60, 168), 0.02)
    f.strokes([top + (-0.17, -0.08), top + (0.17, -0.08)], 0.036, (80, 46, 146))
    f.dot(top + (0.0, -0.15), 0.02, (252, 212, 90))


_CLOTHES = {
    "business suit": _suit,
    "superhero": _superhero,
    "toga": _toga,
    "jeans": _jeans,
    "dress": _dress,
    "raincoat": _raincoat,
    "space suit": _space_suit,
    "wizard": _wizard,
}


def draw(person: Person, art_set: str) -> np.ndarray:
    """The figure as premultiplied uint8 RGBA [PATCH, PATCH, 4]."""
    points = keypoints(person)
    skin = _SKIN[person.identity.skin]
    figure = _Figure(art_set)
    if person.outfit == "superhero":
        _cape(figure, points)
    figure.strokes([points[1] + (0, -0.05), points[1]], 0.06, skin)
    _CLOTHES[person.outfit](figure, points, skin)
    head = (points[14] + points[15]) / 2 - (0, 0.012)
    figure.paste(sprite(f"head/{person.identity.hair}/{person.identity.skin}", art_set), head, _HEAD)
    if person.identity.glasses:
        figure.paste(sprite("glasses", art_set), head + (0, 0.022), 0.24)
    if person.outfit == "wizard":
        _wizard_hat(figure, points)
    premultiplied = (figure.color.astype(np.uint16) * figure.alpha[..., None] + 127) // 255
    return np.dstack([premultiplied.astype(np.uint8), figure.alpha])
