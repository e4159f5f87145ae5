"""A pencil drawing, turned into what a scribble ControlNet was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    import numpy as np

TEXT = r"""
A pencil draws dark lines on white paper. The scribble ControlNet was trained on **white lines on black**: a pixel is
drawn if its darkest colour is below the threshold,

$$s_{i,j} = \begin{cases} 255 & \text{if } \min_c\, p_{i,j,c} < t \\ 0 & \text{otherwise.} \end{cases}$$

The minimum over the colours, so that a red or a blue pencil counts too. Handed over as it is, the drawing would tell
the ControlNet that the whole paper is line.

| | shape | dtype |
|---|---|---|
| `drawing` | `(H, W, 3)`, a NumPy array | uint8 |
| `threshold` | an int, $t$ | |
| returned | `(H, W)`, a NumPy array, 0 or 255 | uint8 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Paper that is not quite white, with pencil strokes in black and in colours."""
    import numpy as np

    random = np.random.default_rng(seed)
    height, width = 14, 17
    drawing = random.integers(200, 256, (height, width, 3), dtype=np.uint8)
    for _ in range(4):
        colour = random.choice([[20, 20, 20], [240, 150, 60], [90, 170, 230], [110, 110, 110]])
        row, column = random.integers(0, height), random.integers(0, width)
        drawing[row, random.integers(0, 4) :] = colour
        drawing[random.integers(0, 4) :, column] = colour + random.integers(-15, 15, 3)
    drawing[0, 0] = [240, 150, 60]  # bright on average, dark in one colour
    drawing[0, 1] = [220, 60, 50]  # bright in one colour, dark on average
    threshold = int(random.integers(115, 140))
    drawing[1, 1] = threshold  # just not below it
    return {"drawing": drawing, "threshold": threshold}


def _where(drawn: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.where(drawn, 255, 0).astype(np.uint8)


def reference(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return _where(drawing.min(axis=2) < threshold)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _not_inverted(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return _where(drawing.min(axis=2) >= threshold)


def _no_threshold(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return 255 - drawing.min(axis=2)


def _mean(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return _where(drawing.mean(axis=2) < threshold)


def _brightest(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return _where(drawing.max(axis=2) < threshold)


def _or_equal(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return _where(drawing.min(axis=2) <= threshold)


def _ones(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return reference(drawing, threshold) // 255


def _three_channels(drawing: np.ndarray, threshold: int) -> np.ndarray:
    return _where(drawing < threshold)


# --- Right answers in other styles --------------------------------------------------------------------------


def _assigned(drawing: np.ndarray, threshold: int) -> np.ndarray:
    import numpy as np

    scribble = np.zeros(drawing.shape[:2], dtype=np.uint8)
    scribble[np.min(drawing, axis=2) < threshold] = 255
    return scribble


def _any(drawing: np.ndarray, threshold: int) -> np.ndarray:
    import numpy as np

    drawn = np.any(drawing < threshold, axis=-1, keepdims=True)[..., 0]
    return drawn.astype(np.uint8) * np.uint8(255)


def _loop(drawing: np.ndarray, threshold: int) -> np.ndarray:
    import numpy as np

    rows = [[255 if min(pixel) < threshold else 0 for pixel in row] for row in drawing.tolist()]
    return np.array(rows, dtype=np.uint8)


def _product(drawing: np.ndarray, threshold: int) -> np.ndarray:
    import numpy as np

    red, green, blue = (drawing[..., c] >= threshold for c in range(3))
    return np.where(red & green & blue, np.uint8(0), np.uint8(255))


TASK = Task(
    id="scribble",
    title="White lines on black",
    notebook="02_controlnet",
    order=3,
    text=TEXT,
    points=5,
    minutes=6,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    hints=(
        "First one number a pixel, its darkest colour; then compare; then 255 where it is true.",
        "`drawing.min(axis=2) < threshold` is True where the pencil was.",
        "`np.where(drawing.min(axis=2) < threshold, 255, 0).astype(np.uint8)`.",
    ),
    misconceptions=(
        Misconception(
            "black on white",
            "Your lines are black on white, as on paper. The ControlNet wants them the other way round.",
            _not_inverted,
        ),
        Misconception(
            "no threshold",
            "You inverted the drawing but kept its greys. Paper that is not quite white becomes a grey veil; "
            "decide with the threshold.",
            _no_threshold,
        ),
        Misconception(
            "mean of the colours",
            "You averaged the colours. A red pencil is bright on average: look at the darkest colour.",
            _mean,
        ),
        Misconception(
            "brightest colour",
            "You compared the brightest colour, so only grey and black pencils count. Take the minimum.",
            _brightest,
        ),
        Misconception(
            "at the threshold too",
            "A pixel exactly at the threshold is not drawn: the comparison is `<`.",
            _or_equal,
        ),
        Misconception("zero or one", "Drawn pixels are 1 here. White is 255 in a uint8 picture.", _ones),
        Misconception(
            "each colour by itself",
            "You compared each colour by itself and kept three channels. A pixel is drawn or not: take the minimum "
            "over the colours first.",
            _three_channels,
        ),
    ),
    alternatives=(_assigned, _any, _loop, _product),
)
