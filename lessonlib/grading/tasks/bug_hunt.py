"""The bug hunt: a small pipeline with five faults from the source lesson, to be mended."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
`broken`, below, repaints a part of a photo after a pencil sketch, in a few steps of a latent consistency model. It
runs, and its pictures are wrong: **five** faults are in it. Every one is taken from real code, and none raises an
error. Write `mended`, the same function without them. The parts above it (`encode`, `decode`, `unet`) are right,
and so are these lines of the loop:

$$\hat x_0 = \frac{x - \sqrt{1 - \bar\alpha}\;\epsilon}{\sqrt{\bar\alpha}}, \qquad
x \leftarrow \sqrt{\bar\alpha_\text{next}}\;\hat x_0 + \sqrt{1 - \bar\alpha_\text{next}}\;z .$$

What is known of the inputs and the models:

| | |
|---|---|
| `photo` | `(H, W, 3)` uint8, as `cv2.imread` gives it |
| `sketch` | `(H, W)` uint8: dark pencil on white paper |
| `mask` | `(1, H, W)` float64: 1 is repainted, everything else must come back pixel for pixel |
| `text`, `empty` | `(3,)` float64: the prompt's embedding and the empty prompt's |
| `guidance_scale` | a float; guidance was distilled into the model, and its `unet` takes $w$ = `guidance_scale` - 1 |
| `unet`'s `control` | `(1, H, W)` from 0 to 1; the ControlNet was trained on white lines on black |
| `noises`, `alphas` | the fresh noise and the $\bar\alpha$ of every step |
| returned | `(3, H, W)` float64, RGB |
""".strip()

SCALING = 0.18215
FAULTS = {
    "BGR": "the photo's channels: OpenCV reads blue first, so the picture comes out with red and blue exchanged",
    "range": "the sketch's range: the ControlNet reads 0 to 1, and nothing divides a uint8 tensor by 255 for you",
    "polarity": "the sketch's polarity: the ControlNet was trained on white lines on black, not on pencil on paper",
    "guidance": "guidance: it is distilled into this model, so mixing in the empty prompt applies it a second time",
    "overlay": "what the mask keeps: a way through the VAE does not bring pixels back exactly, so put the photo's own "
    "over the result",
}


def inputs(seed: int) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    photo = torch.randint(0, 256, (8, 12, 3), generator=generator, dtype=torch.uint8)
    paper = torch.randint(225, 256, (8, 12), generator=generator, dtype=torch.uint8)
    pencil = torch.rand(8, 12, generator=generator) < 0.3
    mask = torch.zeros(1, 8, 12, dtype=torch.float64)
    mask[:, 2:7, 3:10] = 1
    text, empty = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    return {
        "photo": photo,
        "sketch": torch.where(pencil, paper - 200, paper),
        "mask": mask,
        "text": 1 + text,
        "empty": -empty,
        "guidance_scale": uniform(generator, 6.0, 9.0),
        "noises": torch.randn(3, 3, 4, 6, generator=generator, dtype=torch.float64),
        "alphas": [0.2, 0.5, 0.8],
    }


def _encode(image: Tensor) -> Tensor:
    import torch

    return SCALING * torch.nn.functional.avg_pool2d(2 * image - 1, 2)


def _decode(latents: Tensor) -> Tensor:
    import torch

    picture = torch.nn.functional.interpolate(latents[None] / SCALING, scale_factor=2)[0]
    return (picture + 1) / 2


def _unet(latents: Tensor, text: Tensor, control: Tensor, w: float) -> Tensor:
    import torch

    hint = torch.nn.functional.avg_pool2d(control, 2)
    return 0.5 * latents + text.view(3, 1, 1) * (0.2 * hint - 0.1) + 0.01 * w


def _generate(
    faults: tuple[str, ...],
    photo: Tensor,
    sketch: Tensor,
    mask: Tensor,
    text: Tensor,
    empty: Tensor,
    guidance_scale: float,
    noises: Tensor,
    alphas: list[float],
) -> Tensor:
    """The pipeline with these faults in it."""
    picture = photo.permute(2, 0, 1).double() / 255
    picture = picture if "BGR" in faults else picture.flip(0)
    control = sketch[None].double()
    control = control if "polarity" in faults else 255 - control
    control = control if "range" in faults else control / 255
    w = guidance_scale - 1
    latents = alphas[0] ** 0.5 * _encode(picture) + (1 - alphas[0]) ** 0.5 * noises[0]
    for step, alpha in enumerate(alphas):
        noise_pred = _unet(latents, text, control, w)
        if "guidance" in faults:
            uncond = _unet(latents, empty, control, w)
            noise_pred = uncond + guidance_scale * (noise_pred - uncond)
        latents = (latents - (1 - alpha) ** 0.5 * noise_pred) / alpha**0.5
        if step + 1 < len(alphas):
            following = alphas[step + 1]
            latents = following**0.5 * latents + (1 - following) ** 0.5 * noises[step + 1]
    painted = _decode(latents)
    return painted if "overlay" in faults else (1 - mask) * picture + mask * painted


def reference(*given: Any) -> Tensor:
    return _generate((), *given)


def magnitude(photo: Tensor, *given: Any) -> Tensor:
    """A bound for all pixels: the signal's largest value, times what three steps and the decoder make of it."""
    import torch

    _, mask, text, _, guidance_scale, noises, alphas = given
    largest = 1 + float(noises.abs().max())
    for alpha in alphas:
        noise_pred = 0.5 * largest + 0.3 * float(text.abs().max()) + 0.01 * guidance_scale
        largest = (largest + noise_pred) / alpha**0.5 + float(noises.abs().max())
    return torch.full((3, *mask.shape[1:]), 1 + largest / SCALING, dtype=torch.float64)


# --- Wrong answers: one fault left, two left, all left ------------------------------------------------------


def _left(faults: tuple[str, ...]) -> Misconception:
    areas = "; ".join(FAULTS[fault] for fault in faults)
    count = ("One fault is", "Two faults are")[len(faults) - 1]
    return Misconception(
        f"left: {', '.join(faults)}", f"{count} left. Look at {areas}.", partial(_generate, faults)
    )


# --- Right answers in other styles --------------------------------------------------------------------------


def _as_functions(photo, sketch, mask, text, empty, guidance_scale, noises, alphas) -> Tensor:
    """Inverted after the division, the levels in pairs, blended with torch.where."""
    import torch

    rgb = photo[..., [2, 1, 0]].permute(2, 0, 1).double().div(255)
    lines = 1 - sketch.double()[None] / 255
    x = alphas[0] ** 0.5 * _encode(rgb) + (1 - alphas[0]) ** 0.5 * noises[0]
    for alpha, following, noise in zip(alphas, [*alphas[1:], 1.0], [*noises[1:], 0 * noises[0]], strict=True):
        x_0 = (x - (1 - alpha) ** 0.5 * _unet(x, text, lines, guidance_scale - 1)) / alpha**0.5
        x = following**0.5 * x_0 + (1 - following) ** 0.5 * noise
    return torch.where(mask.bool(), _decode(x), rgb)


def _without_unused(photo, sketch, mask, text, empty, guidance_scale, noises, alphas) -> Tensor:
    return _generate((), photo, sketch, mask, text, text, guidance_scale, noises, alphas)


def _in_place(photo, sketch, mask, text, empty, guidance_scale, noises, alphas) -> Tensor:
    photo = photo.flip(-1).movedim(-1, 0).double().mul_(1 / 255)
    control = (255.0 - sketch.double()).unsqueeze(0).div_(255)
    latents = _encode(photo).mul_(alphas[0] ** 0.5).add_(noises[0], alpha=(1 - alphas[0]) ** 0.5)
    for step in range(len(alphas)):
        noise_pred = _unet(latents, text, control, guidance_scale - 1)
        latents.sub_((1 - alphas[step]) ** 0.5 * noise_pred).div_(alphas[step] ** 0.5)
        if step < len(alphas) - 1:
            latents.mul_(alphas[step + 1] ** 0.5).add_((1 - alphas[step + 1]) ** 0.5 * noises[step + 1])
    return photo.lerp_(_decode(latents), mask)


TASK = Task(
    id="bug_hunt",
    title="The bug hunt",
    notebook="07_capstone",
    order=1,
    text=TEXT,
    points=20,
    minutes=30,
    difficulty="hard",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=60,  # 14 for each of three steps, the way in and the way out
    hints=(
        "Go through the table line by line and ask of each line where the code honours it.",
        "Two faults are in the lines that prepare the sketch, one in the line that reads the photo, one in the loop, "
        "and one after it.",
        "Flip the photo's channels; `(255 - sketch) / 255`; one call of `unet` a step, with the prompt; and at the end "
        "`(1 - mask) * photo + mask * picture`.",
    ),
    misconceptions=(
        *(_left((fault,)) for fault in FAULTS),
        *(_left(pair) for pair in combinations(FAULTS, 2)),
        Misconception(
            "nothing mended",
            "All five faults are still there. Begin with the table: it says in which order `cv2.imread` gives the "
            "channels, and which sketches the ControlNet knows.",
            partial(_generate, tuple(FAULTS)),
        ),
    ),
    alternatives=(_as_functions, _without_unused, _in_place),
)
