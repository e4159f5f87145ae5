"""What the pipeline makes of a control picture before the ControlNet sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TEXT = r"""
The ControlNet reads its picture as a tensor with values in $[0, 1]$ and the channels in front:

$$x_{b,c,i,j} = \frac{p_{i,j,c}}{255} .$$

The VAE's pictures are in $[-1, 1]$; this one is not. diffusers does all of it for a PIL picture. For a uint8 array it
skips the division without a word, and the ControlNet gets a signal that is 255 times too large.

| | shape | dtype |
|---|---|---|
| `picture` | `(H, W, 3)`, a NumPy array | uint8 |
| `batch_size` | an int: how many pictures are made from this one | |
| returned | `(batch_size, 3, H, W)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(seed)
    return {
        "picture": random.integers(0, 256, (6, 7, 3), dtype=np.uint8),
        "batch_size": int(random.integers(2, 5)),
    }


def _tensor(picture: np.ndarray, batch_size: int) -> Tensor:
    """(B, 3, H, W) in 0..255"""
    import torch

    return torch.from_numpy(picture).permute(2, 0, 1).double().repeat(batch_size, 1, 1, 1)


def reference(picture: np.ndarray, batch_size: int) -> Tensor:
    return (_tensor(picture, batch_size) / 255).float()


def magnitude(picture: np.ndarray, batch_size: int) -> Tensor:
    return _tensor(picture, batch_size) / 255


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _undivided(picture: np.ndarray, batch_size: int) -> Tensor:
    return _tensor(picture, batch_size)


def _for_the_vae(picture: np.ndarray, batch_size: int) -> Tensor:
    return _tensor(picture, batch_size) / 127.5 - 1


def _channels_last(picture: np.ndarray, batch_size: int) -> Tensor:
    return (_tensor(picture, batch_size) / 255).permute(0, 2, 3, 1)


def _reshaped(picture: np.ndarray, batch_size: int) -> Tensor:
    import torch

    height, width, _ = picture.shape
    pixels = torch.from_numpy(picture).double().reshape(1, 3, height, width)
    return pixels.repeat(batch_size, 1, 1, 1) / 255


def _transposed(picture: np.ndarray, batch_size: int) -> Tensor:
    return (_tensor(picture, batch_size) / 255).transpose(2, 3)


def _one_picture(picture: np.ndarray, batch_size: int) -> Tensor:
    return (_tensor(picture, batch_size) / 255)[0]


def _bgr(picture: np.ndarray, batch_size: int) -> Tensor:
    return (_tensor(picture, batch_size) / 255).flip(1)


# --- Right answers in other styles --------------------------------------------------------------------------


def _numpy(picture: np.ndarray, batch_size: int) -> Tensor:
    import numpy as np
    import torch

    array = (picture / 255.0).astype(np.float32).transpose(2, 0, 1)
    return torch.from_numpy(np.stack([array] * batch_size))


def _expanded(picture: np.ndarray, batch_size: int) -> Tensor:
    import torch

    return (torch.tensor(picture).float() * (1 / 255)).movedim(-1, 0)[None].expand(batch_size, -1, -1, -1)


def _by_channel(picture: np.ndarray, batch_size: int) -> Tensor:
    import torch

    channels = [torch.from_numpy(picture[:, :, c].copy()) / 255 for c in range(3)]
    return torch.stack([torch.stack(channels)] * batch_size)


TASK = Task(
    id="control_tensor",
    title="The control picture as a tensor",
    notebook="02_controlnet",
    order=2,
    text=TEXT,
    points=5,
    minutes=6,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=3,  # 1/255, a product, the conversion
    hints=(
        "Three things: divide, move the channels to the front, repeat for the batch.",
        "`torch.from_numpy(picture).permute(2, 0, 1)` moves the channels; division makes it float32.",
        "`(torch.from_numpy(picture).permute(2, 0, 1) / 255).repeat(batch_size, 1, 1, 1)`.",
    ),
    misconceptions=(
        Misconception(
            "not divided",
            "The values still go up to 255. No error would come, only wrong pictures: divide by 255.",
            _undivided,
        ),
        Misconception(
            "normalised for the VAE",
            "[-1, 1] is what the VAE reads. The ControlNet's picture stays in [0, 1], so that black is nothing.",
            _for_the_vae,
        ),
        Misconception(
            "channels last",
            "The channels are still last. Convolutions want `(batch, channels, height, width)`.",
            _channels_last,
        ),
        Misconception(
            "reshaped",
            "`reshape` only counts the numbers anew and mixes pixels with colours. Move the axis with `permute`.",
            _reshaped,
        ),
        Misconception(
            "height and width swapped",
            "Rows and columns have changed places: `permute(2, 0, 1)` keeps the height before the width.",
            _transposed,
        ),
        Misconception(
            "no batch", "The batch axis is missing: repeat the picture `batch_size` times.", _one_picture
        ),
        Misconception(
            "blue first",
            "You turned the colours round. That is right after `cv2.imread`, but this picture is RGB already.",
            _bgr,
        ),
    ),
    alternatives=(_numpy, _expanded, _by_channel),
    show=maps_beside,
)
