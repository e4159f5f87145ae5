"""The picture's half of classifier-free guidance: what stands for "no picture"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Guidance needs a prediction without the prompt, and the picture is part of the prompt. In training the base adapter's
picture was dropped by setting its **embedding** to zero, before the projection. With guidance the UNet looks at
`[uncond; cond]` in one batch, so the embeddings are stacked the same way, every picture repeated for each of the
$m$ pictures to make of it:

$$[\,\underbrace{0, \dots, 0}_{N m},\ \underbrace{e_1, \dots, e_1}_{m},\ \dots,\ \underbrace{e_N, \dots, e_N}_{m}\,].$$

| | shape | dtype |
|---|---|---|
| `image_embeds` | `(N, E)` | float32 |
| `num_images_per_prompt` | an int, $m$ | |
| returned | `(2 * N * m, E)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    return {
        "image_embeds": torch.randn(2, 5, generator=generator),
        "num_images_per_prompt": integer(generator, 2, 3),
    }


def _stacked(image_embeds: Tensor, count: int, *, first: float = 0.0) -> Tensor:
    import torch

    repeated = image_embeds.repeat_interleave(count, dim=0)
    return torch.cat([first * repeated, repeated])


def reference(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    return _stacked(image_embeds, num_images_per_prompt)


def magnitude(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    return reference(image_embeds, num_images_per_prompt)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _cond_first(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    right = reference(image_embeds, num_images_per_prompt)
    return right.roll(len(right) // 2, dims=0)


def _both_picture(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    return _stacked(image_embeds, num_images_per_prompt, first=1.0)


def _not_stacked(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    return image_embeds.repeat_interleave(num_images_per_prompt, dim=0)


def _in_turns(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    import torch

    repeated = image_embeds.repeat(num_images_per_prompt, 1)
    return torch.cat([0 * repeated, repeated])


def _not_repeated(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    return _stacked(image_embeds, 1)


def _negated(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    return _stacked(image_embeds, num_images_per_prompt, first=-1.0)


# --- Right answers in other styles --------------------------------------------------------------------------


def _zeros_like(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    import torch

    image_embeds = torch.repeat_interleave(image_embeds, num_images_per_prompt, dim=0)
    return torch.vstack([torch.zeros_like(image_embeds), image_embeds])


def _expanded(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    rows = image_embeds[:, None].expand(-1, num_images_per_prompt, -1).flatten(0, 1)
    answer = rows.new_zeros(2 * len(rows), rows.shape[1])
    answer[-len(rows) :] = rows
    return answer


def _listed(image_embeds: Tensor, num_images_per_prompt: int) -> Tensor:
    import torch

    rows = [row for row in image_embeds for _ in range(num_images_per_prompt)]
    nothing = [torch.zeros_like(row) for row in rows]
    return torch.stack(nothing + rows)


TASK = Task(
    id="image_cfg",
    title="No picture",
    notebook="03_ip_adapter",
    order=2,
    text=TEXT,
    points=5,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=1,  # nothing is computed
    hints=(
        "Repeat first; then put a half of zeros on top.",
        "`image_embeds.repeat_interleave(m, dim=0)` repeats each row m times, one picture after the other.",
        "`torch.cat([torch.zeros_like(repeated), repeated])`.",
    ),
    misconceptions=(
        Misconception(
            "picture first",
            "Your halves have changed places: the UNet's batch is `[uncond; cond]`, nothing first.",
            _cond_first,
        ),
        Misconception(
            "picture in both halves",
            "The picture is in both halves, so guidance can't see the difference it makes. The first half is zero.",
            _both_picture,
        ),
        Misconception("one half", "The half without the picture is missing.", _not_stacked),
        Misconception(
            "repeated in turns",
            "Your rows are e1, e2, e1, e2. Each picture's copies belong together, as the prompts' copies do: "
            "`repeat_interleave`, not `repeat`.",
            _in_turns,
        ),
        Misconception(
            "not repeated",
            "`num_images_per_prompt` is not used: every row comes that many times.",
            _not_repeated,
        ),
        Misconception(
            "negative picture",
            "Minus the embedding is another picture, not none. The first half is zero.",
            _negated,
        ),
    ),
    alternatives=(_zeros_like, _expanded, _listed),
)
