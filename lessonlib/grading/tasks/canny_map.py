"""A control picture out of a photograph: Canny's edges, in the form that the pipeline takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from PIL.Image import Image

TEXT = r"""
A canny ControlNet was trained on white edges on black. Make such a picture out of an RGB one: a pixel is an edge
if its gradient is a maximum across the edge and

$$|d_x| + |d_y| > t_\text{high}, \quad\text{or}\quad |d_x| + |d_y| > t_\text{low}
\ \text{ and it is connected to such a pixel.}$$

`cv2.Canny(array, low_threshold, high_threshold)` finds them in a uint8 array, in all three colours at once, and
returns `(H, W)`, 0 or 255. The pipeline wants a **PIL picture in RGB**: an `(H, W, 3)` array crashes it, because it
takes the height for the number of pictures.

| | |
|---|---|
| `image` | a PIL picture, RGB |
| `low_threshold`, `high_threshold` | ints |
| returned | a PIL picture, RGB, of the same size |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Coloured discs on a slope, with noise: strong edges and faint ones, and edges between colours.

    Last a bar whose contrast grows along its length: the faint part of its edge counts only because it hangs on the strong
    part, so that the lower threshold always matters.
    """
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    height, width = 40, 52
    rows, columns = np.mgrid[:height, :width]
    array = np.stack([90 + rows, 60 + columns, 150 - rows], axis=-1).astype(float)
    for _ in range(5):
        y, x, radius = random.uniform((4, 4, 4), (36, 48, 11))
        array[np.hypot(rows - y, columns - x) < radius] += random.uniform(-70, 70, 3)
    array[16:24] = 60 + np.linspace(5, 90, width)[None, :, None]
    array[13:16] = array[24:27] = 60
    array += random.normal(0, 4, array.shape)
    return {
        "image": Image.fromarray(array.clip(0, 255).round().astype(np.uint8)),
        "low_threshold": int(random.integers(60, 90)),
        "high_threshold": int(random.integers(150, 200)),
    }


def _edges(array: Any, low: int, high: int) -> Any:
    from lessonlib.scratch.canny import canny

    return canny(array, low, high)


def _picture(edges: Any) -> Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.stack([edges] * 3, axis=-1))


def reference(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import numpy as np

    return _picture(_edges(np.asarray(image), low_threshold, high_threshold))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _array(image: Image, low_threshold: int, high_threshold: int) -> Any:
    import numpy as np

    return np.asarray(reference(image, low_threshold, high_threshold))


def _grey_picture(image: Image, low_threshold: int, high_threshold: int) -> Image:
    return reference(image, low_threshold, high_threshold).convert("L")


def _black_on_white(image: Image, low_threshold: int, high_threshold: int) -> Image:
    from PIL import ImageOps

    return ImageOps.invert(reference(image, low_threshold, high_threshold))


def _grey_first(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import numpy as np

    return _picture(_edges(np.asarray(image.convert("L")), low_threshold, high_threshold))


def _one_threshold(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import numpy as np

    return _picture(_edges(np.asarray(image), high_threshold, high_threshold))


def _zero_or_one(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import numpy as np

    return _picture(_edges(np.asarray(image), low_threshold, high_threshold) // 255)


# --- Right answers in other styles --------------------------------------------------------------------------


def _opencv(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import cv2
    import numpy as np
    from PIL import Image

    edges = cv2.Canny(np.array(image), low_threshold, high_threshold)
    return Image.fromarray(np.concatenate([edges[:, :, None]] * 3, axis=2))


def _converted(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import cv2
    import numpy as np
    from PIL import Image

    return Image.fromarray(cv2.Canny(np.asarray(image), low_threshold, high_threshold)).convert("RGB")


def _merged(image: Image, low_threshold: int, high_threshold: int) -> Image:
    import cv2
    import numpy as np
    from PIL import Image

    edges = cv2.Canny(np.asarray(image), low_threshold, high_threshold, L2gradient=False)
    return Image.fromarray(cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB), "RGB")


TASK = Task(
    id="canny_map",
    title="A canny map the pipeline takes",
    notebook="02_controlnet",
    order=1,
    text=TEXT,
    points=5,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    hints=(
        "Three steps: picture to array, array to edges, edges to picture. The last one needs three channels.",
        "`np.asarray(image)` and `cv2.Canny` make the edges; `np.stack([edges] * 3, axis=-1)` repeats them.",
        "`Image.fromarray(np.stack([edges] * 3, axis=-1))` is the control picture.",
    ),
    misconceptions=(
        Misconception(
            "an array",
            "This is a NumPy array. The pipeline takes its first axis for a batch and refuses: make a PIL picture "
            "of it with `Image.fromarray`.",
            _array,
        ),
        Misconception(
            "one channel",
            "The edges are right, but the picture has one channel. The ControlNet's first convolution reads three.",
            _grey_picture,
        ),
        Misconception(
            "black on white",
            "Your edges are black on white. The ControlNet was trained on white edges on black.",
            _black_on_white,
        ),
        Misconception(
            "grey first",
            "You made the picture grey before looking for edges. Where two colours are equally bright, the edge is "
            "lost: give `cv2.Canny` all three channels.",
            _grey_first,
        ),
        Misconception(
            "one threshold",
            "You used the high threshold for both. The low one keeps faint edges that continue strong ones.",
            _one_threshold,
        ),
        Misconception(
            "zero or one",
            "Your edges have the value 1 of 255, which is almost black. White is 255 in a uint8 picture.",
            _zero_or_one,
        ),
    ),
    alternatives=(_opencv, _converted, _merged),
)
