"""Take one of the two encoders away and measure how much the UNet's keys miss it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
What does each encoder contribute? Set its **channels** to zero in `prompt_embeds` $c$ (its first `width_l`
channels are ViT-L's, the others bigG's), and measure how far the keys of a cross-attention layer move:

$$r = \frac{\lVert W c - W c' \rVert}{\lVert W c \rVert},$$

with the Euclidean norm over all numbers of a tensor. $c'$ is $c$ with the channels of `dropped` at zero.

| | shape | dtype |
|---|---|---|
| `prompt_embeds` | `(B, T, D)` | float32 |
| `to_k` | `(K, D)`, the layer's weight $W$ | float32 |
| `width_l` | an int below `D` | |
| `dropped` | `"l"` or `"g"` | |
| returned | a 0-dimensional tensor | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer, pick

    generator = torch.Generator().manual_seed(seed)
    prompt_embeds = torch.randn(2, 5, 9, generator=generator)
    prompt_embeds[..., 0] += 3  # a few channels are large, as in CLIP
    return {
        "prompt_embeds": prompt_embeds,
        "to_k": torch.randn(4, 9, generator=generator),
        "width_l": integer(generator, 2, 4),
        "dropped": pick(generator, ["l", "g"]),
    }


def _without(prompt_embeds: Tensor, width_l: int, dropped: str) -> Tensor:
    kept = prompt_embeds.clone()
    kept[..., slice(0, width_l) if dropped == "l" else slice(width_l, None)] = 0
    return kept


def reference(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    keys = prompt_embeds @ to_k.T
    moved = keys - _without(prompt_embeds, width_l, dropped) @ to_k.T
    return moved.norm() / keys.norm()


def magnitude(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    """Every key is rounded relative to |W||c|, and so is the difference; the ratio takes both errors over."""
    keys = (prompt_embeds @ to_k.T).norm()
    bound = (prompt_embeds.abs() @ to_k.abs().T).norm()
    return (2 * bound + reference(prompt_embeds, to_k, width_l, dropped) * bound) / keys


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _the_other(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    return reference(prompt_embeds, to_k, width_l, "g" if dropped == "l" else "l")


def _tokens(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    kept = prompt_embeds.clone()
    kept[:, slice(0, width_l) if dropped == "l" else slice(width_l, None)] = 0
    keys = prompt_embeds @ to_k.T
    return (keys - kept @ to_k.T).norm() / keys.norm()


def _absolute(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    return ((prompt_embeds - _without(prompt_embeds, width_l, dropped)) @ to_k.T).norm()


def _relative_to_new(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    kept = _without(prompt_embeds, width_l, dropped)
    return ((prompt_embeds - kept) @ to_k.T).norm() / (kept @ to_k.T).norm()


def _squared(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    return reference(prompt_embeds, to_k, width_l, dropped) ** 2


def _embeddings(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    moved = prompt_embeds - _without(prompt_embeds, width_l, dropped)
    return moved.norm() / prompt_embeds.norm()


def _difference_of_norms(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    keys = prompt_embeds @ to_k.T
    return 1 - (_without(prompt_embeds, width_l, dropped) @ to_k.T).norm() / keys.norm()


# --- Right answers in other styles --------------------------------------------------------------------------


def _linear(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    """W c - W c' is W times the dropped channels alone."""
    import torch

    part = slice(width_l) if dropped == "l" else slice(width_l, None)
    lost = prompt_embeds[..., part] @ to_k[:, part].T
    return torch.linalg.vector_norm(lost) / torch.linalg.vector_norm(prompt_embeds @ to_k.T)


def _masked(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    import torch

    is_l = torch.arange(prompt_embeds.shape[-1]) < width_l
    kept = torch.where(is_l if dropped == "l" else ~is_l, 0.0, prompt_embeds)
    keys, fewer = (torch.nn.functional.linear(x, to_k) for x in (prompt_embeds, kept))
    return torch.dist(keys, fewer) / keys.square().sum().sqrt()


def _double_inside(prompt_embeds: Tensor, to_k: Tensor, width_l: int, dropped: str) -> Tensor:
    return reference(prompt_embeds.double(), to_k.double(), width_l, dropped).float()


TASK = Task(
    id="drop_encoder",
    title="Drop an encoder and measure",
    notebook="01_sdxl",
    order=8,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=32,  # products over 9 channels, a norm's sum over 40 squares (pairwise), root, quotient
    hints=(
        "Copy `prompt_embeds` first, so that you still have the original to compare with.",
        "`kept[..., :width_l] = 0` drops ViT-L, `kept[..., width_l:] = 0` drops bigG; keys are `x @ to_k.T`.",
        "`(keys - kept @ to_k.T).norm() / keys.norm()` with `keys = prompt_embeds @ to_k.T`.",
    ),
    misconceptions=(
        Misconception(
            "dropped the other",
            "You dropped the encoder that should stay: the first `width_l` channels are ViT-L's.",
            _the_other,
        ),
        Misconception(
            "tokens for channels",
            "You set tokens to zero (axis 1). An encoder is a range of **channels**, the last axis, in every "
            "token.",
            _tokens,
        ),
        Misconception(
            "not relative",
            "This is how far the keys move, but not relative to how long they were: divide by their norm.",
            _absolute,
        ),
        Misconception(
            "relative to the new keys",
            "You divided by the norm of what is left. The formula divides by the norm of the full keys.",
            _relative_to_new,
        ),
        Misconception("squared", "This is the square of the answer: the norm has a root.", _squared),
        Misconception(
            "embeddings, not keys",
            "You measured the embeddings themselves. What counts is what the layer makes of them: multiply by "
            "`to_k` first.",
            _embeddings,
        ),
        Misconception(
            "difference of norms",
            "You compared the lengths of the keys. Keys can turn without growing shorter: take the norm of the "
            "difference.",
            _difference_of_norms,
        ),
    ),
    alternatives=(_linear, _masked, _double_inside),
)
