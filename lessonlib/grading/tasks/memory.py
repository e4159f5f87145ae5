"""Memory arithmetic: what a model and its attention maps weigh."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.draw import integer, pick
from lessonlib.grading.task import Misconception, Task

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}

TEXT = r"""
Before anything is downloaded, arithmetic says what fits. The weights of a model take a fixed number of bytes
each: 4 in float32, 2 in float16 and bfloat16. Plain attention, which stores its scores, needs one number for
every picture of the batch, every head and every pair of tokens; in self-attention over a latent of $h \times w$
that is $hw$ tokens against $hw$ tokens:

$$M_\text{weights} = P\,b, \qquad M_\text{scores} = B\,n_\text{heads}\,(hw)^2\,b .$$

Here every step is guided, with both predictions made in one call: the batch $B$ is twice the number of pictures.
A latent has one place for every $8 \times 8$ pixels.

| argument | |
|---|---|
| `parameters` ($P$), `pictures`, `heads`, `height`, `width` | ints; height and width of the **picture**, in pixels |
| `dtype` | `"float32"`, `"float16"` or `"bfloat16"` |
| returned | a dict of ints, in bytes: `weights`, `scores` |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Sizes of the course's models; the picture is no square."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    height, width = pick(generator, [(512, 768), (1024, 768), (832, 1216), (640, 512)])
    return {
        "parameters": pick(generator, [859_520_964, 2_567_463_684, 361_279_120, 83_653_863]),
        "pictures": integer(generator, 2, 4),
        "heads": pick(generator, [5, 8, 10]),
        "height": height,
        "width": width,
        "dtype": pick(generator, list(BYTES)),
    }


def _needed(
    parameters: int,
    pictures: int,
    heads: int,
    tokens: int,
    each: int,
    twice: int = 2,
) -> dict[str, int]:
    return {"weights": parameters * each, "scores": twice * pictures * heads * tokens**2 * each}


def reference(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    tokens = (height // 8) * (width // 8)
    return _needed(parameters, pictures, heads, tokens, BYTES[dtype])


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _bits(parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str) -> dict[str, int]:
    return _needed(parameters, pictures, heads, height * width // 64, 8 * BYTES[dtype])


def _linear(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    tokens = height * width // 64
    return _needed(parameters, pictures, heads, 1, BYTES[dtype]) | {
        "scores": 2 * pictures * heads * tokens * BYTES[dtype]
    }


def _pixels(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    return _needed(parameters, pictures, heads, height * width, BYTES[dtype])


def _one_side(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    return _needed(parameters, pictures, heads, height * width // 8, BYTES[dtype])


def _not_doubled(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    return _needed(parameters, pictures, heads, height * width // 64, BYTES[dtype], 1)


def _one_head(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    return _needed(parameters, pictures, 1, height * width // 64, BYTES[dtype])


def _weights_doubled(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    right = reference(parameters, pictures, heads, height, width, dtype)
    return right | {"weights": 2 * right["weights"]}


# --- Right answers in other styles --------------------------------------------------------------------------


def _by_torch(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    import torch

    each = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    batch = 2 * pictures
    h, w = height // 8, width // 8
    return {"weights": parameters * each, "scores": batch * heads * h * w * h * w * each}


def _on_the_meta_device(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    """Ask tensors that hold nothing."""
    import torch

    kind, tokens = getattr(torch, dtype), height * width // 64
    weights = torch.empty(parameters, dtype=kind, device="meta")
    batch = 2 * pictures
    scores = torch.empty(batch, heads, tokens, tokens, dtype=kind, device="meta")
    return {"scores": scores.nbytes, "weights": weights.nbytes}


def _sixteen(
    parameters: int, pictures: int, heads: int, height: int, width: int, dtype: str
) -> dict[str, int]:
    each = 2 if dtype.endswith("16") else 4
    tokens = height * width // 8**2
    scores = pictures * heads * tokens * tokens * each
    return {"weights": each * parameters, "scores": 2 * scores}


TASK = Task(
    id="memory",
    title="Memory arithmetic",
    notebook="06_optimisation",
    order=3,
    text=TEXT,
    points=8,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    hints=(
        "Count the numbers first, then multiply by the bytes of one.",
        "`tokens = (height // 8) * (width // 8)`. Every token has a score for every token.",
        "`batch = 2 * pictures`, `scores = batch * heads * tokens**2 * bytes`; the weights are "
        "there once, whatever the batch.",
    ),
    misconceptions=(
        Misconception(
            "bits for bytes",
            "Your numbers are 8 times too large: float16 has 16 **bits**, which are 2 bytes.",
            _bits,
        ),
        Misconception(
            "tokens not squared",
            "Each token attends to every token, so the scores grow with the **square** of their number. That is why "
            "twice the side costs 16 times the memory.",
            _linear,
        ),
        Misconception(
            "tokens are pixels",
            "You count pixels as tokens. The UNet works on latents: one place for 8x8 pixels.",
            _pixels,
        ),
        Misconception(
            "one side divided",
            "A latent is 8 times smaller on **each** side, so it has 64 times fewer places.",
            _one_side,
        ),
        Misconception(
            "guidance forgotten",
            "A guided step runs the prompt and the empty prompt in one batch, which is twice as large.",
            _not_doubled,
        ),
        Misconception(
            "one head",
            "Each head has scores of its own.",
            _one_head,
        ),
        Misconception(
            "weights doubled",
            "You count the weights twice. Guidance doubles the batch; the network is there once.",
            _weights_doubled,
        ),
    ),
    alternatives=(_by_torch, _on_the_meta_device, _sixteen),
)
