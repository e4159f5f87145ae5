"""One vector for the prompt: the state at the true end-of-text token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
CLIP says a whole prompt in one vector: its state at the end-of-text token (EOS), the only one that has seen
every word. With $e$ the position of the **first** EOS,

$$p = H_{e}, \qquad e = \min\{\,j : \texttt{input\_ids}_j = \texttt{eos\_token\_id}\,\}.$$

The first, because many tokenizers also pad with it. And by its id: OpenAI's own `input_ids.argmax(-1)` works
only as long as no token has a larger id, and a token added by textual inversion has.

| | shape | dtype |
|---|---|---|
| `last_hidden_state` | `(B, T, D)` | float32 |
| `input_ids` | `(B, T)` | int64 |
| `eos_token_id` | an int | |
| returned | `(B, D)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Prompts of several lengths, padded with EOS, each with an added token whose id is larger than EOS."""
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    batch, tokens, eos = 4, 11, integer(generator, 40, 45)
    input_ids = torch.full((batch, tokens), eos)
    for row in range(batch):
        end = integer(generator, 4, tokens - 3)
        input_ids[row, :end] = torch.randint(1, eos - 1, (end,), generator=generator)
        input_ids[row, 0] = eos - 1  # begin of text
        input_ids[row, integer(generator, 1, end - 2)] = eos + 1 + row
    return {
        "last_hidden_state": torch.randn(batch, tokens, 6, generator=generator),
        "input_ids": input_ids,
        "eos_token_id": eos,
    }


def _at(last_hidden_state: Tensor, positions: Tensor) -> Tensor:
    import torch

    return last_hidden_state[torch.arange(len(last_hidden_state)), positions]


def reference(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    from lessonlib.scratch.text import eos_positions

    return _at(last_hidden_state, eos_positions(input_ids, eos_token_id))


def magnitude(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    return reference(last_hidden_state, input_ids, eos_token_id)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _largest_id(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    return _at(last_hidden_state, input_ids.argmax(-1))


def _last_position(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    return last_hidden_state[:, -1]


def _first_position(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    return last_hidden_state[:, 0]


def _mean(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    return last_hidden_state.mean(1)


def _before(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    return _at(last_hidden_state, (input_ids == eos_token_id).int().argmax(-1) - 1)


def _all_eos(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    chosen = (input_ids == eos_token_id)[..., None]
    return (last_hidden_state * chosen).sum(1) / chosen.sum(1)


# --- Right answers in other styles --------------------------------------------------------------------------


def _gathered(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    first = input_ids.eq(eos_token_id).float().argmax(dim=1)
    return last_hidden_state.gather(1, first[:, None, None].expand(-1, 1, last_hidden_state.shape[-1]))[:, 0]


def _loop(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    import torch

    ends = [row.index(eos_token_id) for row in input_ids.tolist()]
    return torch.stack([states[end] for states, end in zip(last_hidden_state, ends, strict=True)])


def _one_hot(last_hidden_state: Tensor, input_ids: Tensor, eos_token_id: int) -> Tensor:
    found = input_ids == eos_token_id
    first = found & (found.cumsum(1) == 1)
    return (first.to(last_hidden_state.dtype)[:, None] @ last_hidden_state).squeeze(1)


TASK = Task(
    id="eos_pooling",
    title="Pooling at the true end",
    notebook="01_sdxl",
    order=7,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=12,  # a product with a one-hot row over T tokens
    hints=(
        "Where is `input_ids == eos_token_id`? Each row needs the first such place.",
        "`argmax` of a 0/1 tensor gives the first 1. Booleans have no argmax: `.int()` first.",
        "`last_hidden_state[torch.arange(len(input_ids)), (input_ids == eos_token_id).int().argmax(-1)]`.",
    ),
    misconceptions=(
        Misconception(
            "largest id",
            "You looked for the largest id. A token added to the vocabulary has a larger one than EOS, and you "
            "stopped there. Compare with `eos_token_id`.",
            _largest_id,
        ),
        Misconception(
            "last position",
            "The last position is padding for any prompt that is not full. Find where each prompt ends.",
            _last_position,
        ),
        Misconception(
            "first position",
            "Position 0 is begin-of-text. CLIP is causal: that state has seen no word at all.",
            _first_position,
        ),
        Misconception(
            "mean of all tokens",
            "You averaged all positions, padding too. CLIP was trained with the state at EOS alone.",
            _mean,
        ),
        Misconception(
            "one before the end",
            "You are one position early, at the last word. The state **at** EOS is the one that was trained.",
            _before,
        ),
        Misconception(
            "every end",
            "Padding repeats EOS, and you averaged over all of them. Take the first.",
            _all_eos,
        ),
    ),
    alternatives=(_gathered, _loop, _one_hot),
)
