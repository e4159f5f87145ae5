"""What joins SDXL's time embedding: the pooled text and the six embedded ids, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task
from lessonlib.grading.tasks import timestep_embedding

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
SDXL's UNet adds a second vector to its time embedding. It is made of the pooled text embedding $p$ and of the
six time ids, each through the sinusoidal embedding $\gamma$ of the exercise before, all side by side:

$$c = [\,p,\ \gamma(h_\text{orig}),\ \gamma(w_\text{orig}),\ \gamma(c_\text{top}),\ \gamma(c_\text{left}),\
\gamma(h_\text{target}),\ \gamma(w_\text{target})\,].$$

In the base model $p$ has 1280 numbers and each $\gamma$ has 256, so $c$ has $1280 + 6 \cdot 256 = 2816$. Use the
function you just wrote.

| | shape | dtype |
|---|---|---|
| `pooled` | `(B, P)` | float32 |
| `time_ids` | `(B, 6)` | float32 |
| `dim` | an even int, the length of each $\gamma$ | |
| returned | `(B, P + 6 * dim)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    return {
        "pooled": torch.randn(3, 7, generator=generator),
        "time_ids": torch.randint(1, 1024, (3, 6), generator=generator).float(),
        "dim": 2 * integer(generator, 4, 8),
    }


def _embedded(time_ids: Tensor, dim: int) -> Tensor:
    """(B, 6, dim)"""
    return timestep_embedding.reference(time_ids.flatten(), dim).reshape(*time_ids.shape, dim)


def reference(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    """lessonlib.scratch.embeddings.micro_conditioning, in the inputs' own precision."""
    import torch

    return torch.cat([pooled, _embedded(time_ids, dim).flatten(1)], dim=-1)


def magnitude(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    ids = timestep_embedding.magnitude(time_ids.flatten(), dim).reshape(len(time_ids), -1)
    return torch.cat([pooled.abs(), ids], dim=-1)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _text_last(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    return torch.cat([_embedded(time_ids, dim).flatten(1), pooled], dim=-1)


def _frequency_by_frequency(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    return torch.cat([pooled, _embedded(time_ids, dim).transpose(1, 2).flatten(1)], dim=-1)


def _rows_mixed(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    ids = timestep_embedding.reference(time_ids.T.flatten(), dim).reshape(len(time_ids), -1)
    return torch.cat([pooled, ids], dim=-1)


def _summed(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    return torch.cat([pooled, _embedded(time_ids, dim).sum(1)], dim=-1)


def _not_embedded(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    return torch.cat([pooled, time_ids], dim=-1)


# --- Right answers in other styles --------------------------------------------------------------------------


def _one_by_one(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    columns = [timestep_embedding.reference(ids, dim) for ids in time_ids.unbind(1)]
    return torch.cat([pooled, *columns], dim=1)


def _by_rows(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    rows = [
        torch.hstack([text, timestep_embedding.reference(ids, dim).flatten()])
        for text, ids in zip(pooled, time_ids, strict=True)
    ]
    return torch.stack(rows)


def _filled(pooled: Tensor, time_ids: Tensor, dim: int) -> Tensor:
    import torch

    answer = torch.empty(len(pooled), pooled.shape[1] + 6 * dim)
    answer[:, : pooled.shape[1]] = pooled
    answer[:, pooled.shape[1] :] = _embedded(time_ids.double(), dim).view(len(pooled), -1)
    return answer


TASK = Task(
    id="add_embedding",
    title="The vector beside the time embedding",
    notebook="01_sdxl",
    order=5,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=8,  # those of the sinusoidal embedding
    hints=(
        "Your sinusoidal embedding takes one axis of numbers. Give it all ids of all pictures at once.",
        "`timestep_embedding(time_ids.flatten(), dim)` has the shape `(B * 6, dim)`; bring each picture's six "
        "rows back into one row.",
        "`.reshape(len(time_ids), -1)`, then `torch.cat([pooled, ids], dim=-1)`.",
    ),
    misconceptions=(
        Misconception(
            "text last", "The pooled text stands **before** the embedded ids, not after them.", _text_last
        ),
        Misconception(
            "frequency by frequency",
            "Your ids are woven into each other: first every id's first feature, then every id's second. Each "
            "id's whole embedding stays together.",
            _frequency_by_frequency,
        ),
        Misconception(
            "pictures mixed",
            "The ids of different pictures got into one row. Flatten `time_ids` row by row, not column by "
            "column. With one picture nobody would notice.",
            _rows_mixed,
        ),
        Misconception(
            "summed ids",
            "You added the six embeddings up, so a height can't be told from a width. They stand side by side.",
            _summed,
        ),
        Misconception(
            "raw ids",
            "You put the ids in as plain numbers. Each goes through the sinusoidal embedding first.",
            _not_embedded,
        ),
    ),
    alternatives=(_one_by_one, _by_rows, _filled),
)
