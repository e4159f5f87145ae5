"""SDXL's text: the penultimate states of two encoders, channel beside channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

    States = list[Tensor]

TEXT = r"""
SDXL reads the prompt with CLIP ViT-L and OpenCLIP ViT-bigG. Both have the same 77 positions, so their states
can be put side by side, token by token. Of each encoder it takes the **penultimate** layer, before the final
layer norm:

$$c = \big[\,H^{\text{L}}_{n-1},\ H^{\text{G}}_{m-1}\,\big] \in \mathbb R^{77 \times (768 + 1280)}.$$

transformers returns `hidden_states` as a tuple: the embeddings first, then the state after each of the layers.

| | shape | dtype |
|---|---|---|
| `hidden_states_l` | a list of $n + 1$ tensors `(B, T, D1)` | float32 |
| `hidden_states_g` | a list of $m + 1$ tensors `(B, T, D2)` | float32 |
| returned | `(B, T, D1 + D2)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    layers = integer(generator, 4, 5)
    return {
        "hidden_states_l": [torch.randn(2, 5, 6, generator=generator) for _ in range(layers)],
        "hidden_states_g": [torch.randn(2, 5, 10, generator=generator) for _ in range(layers + 4)],
    }


def _beside(a: Tensor, b: Tensor) -> Tensor:
    import torch

    return torch.cat([a, b], dim=-1)


def reference(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    from lessonlib.scratch.text import TextStates, sdxl_prompt_embeds

    first, second = (
        TextStates(tuple(states), states[-1], states[-1][:, 0])
        for states in (hidden_states_l, hidden_states_g)
    )
    return sdxl_prompt_embeds(first, second)[0]


def magnitude(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return reference(hidden_states_l, hidden_states_g)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _last(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return _beside(hidden_states_l[-1], hidden_states_g[-1])


def _from_the_front(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return _beside(hidden_states_l[1], hidden_states_g[1])


def _embeddings(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return _beside(hidden_states_l[0], hidden_states_g[0])


def _third(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return _beside(hidden_states_l[-3], hidden_states_g[-3])


def _g_first(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return _beside(hidden_states_g[-2], hidden_states_l[-2])


def _mixed(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return _beside(hidden_states_l[-1], hidden_states_g[-2])


def _l_only(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    return hidden_states_l[-2]


# --- Right answers in other styles --------------------------------------------------------------------------


def _stacked(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    import torch

    return torch.dstack((hidden_states_l[-2], hidden_states_g[-2]))


def _filled(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    width = hidden_states_l[0].shape[-1]
    answer = hidden_states_l[0].new_empty(2, 5, width + hidden_states_g[0].shape[-1])
    answer[..., :width] = hidden_states_l[len(hidden_states_l) - 2]
    answer[..., width:] = hidden_states_g[len(hidden_states_g) - 2]
    return answer


def _loop(hidden_states_l: States, hidden_states_g: States) -> Tensor:
    import torch

    return torch.cat([states[-2] for states in (hidden_states_l, hidden_states_g)], dim=2)


TASK = Task(
    id="dual_encoder",
    title="Two encoders side by side",
    notebook="01_sdxl",
    order=6,
    text=TEXT,
    points=5,
    minutes=6,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=1,  # nothing is computed
    hints=(
        "Which entry of `hidden_states` is the last but one, counted from the end?",
        "`hidden_states[-2]` of each encoder; join them along the axis whose sizes differ.",
        "`torch.cat([hidden_states_l[-2], hidden_states_g[-2]], dim=-1)`.",
    ),
    misconceptions=(
        Misconception(
            "last layer",
            "This is the last layer of both encoders. Stable Diffusion 1.5 takes that one (after the final "
            "norm); SDXL takes the layer before it.",
            _last,
        ),
        Misconception(
            "counted from the front",
            "`hidden_states[1]` is the state after the **first** layer. Count from the end.",
            _from_the_front,
        ),
        Misconception(
            "embeddings",
            "`hidden_states[0]` are the token embeddings: no layer has read the sentence yet.",
            _embeddings,
        ),
        Misconception(
            "one too early",
            "You went back one layer too far: the penultimate is the last but one.",
            _third,
        ),
        Misconception(
            "bigG first",
            "The order matters to the weights that read it: CLIP ViT-L first, then bigG.",
            _g_first,
        ),
        Misconception(
            "two different layers",
            "You took the last layer of ViT-L and the penultimate one of bigG. It is the penultimate of both.",
            _mixed,
        ),
        Misconception(
            "one encoder only",
            "This is ViT-L alone. bigG's channels come after it.",
            _l_only,
        ),
    ),
    alternatives=(_stacked, _filled, _loop),
)
