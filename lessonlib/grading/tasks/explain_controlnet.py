"""The lesson's second question: what zero convolutions protect, and where a ControlNet enters."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.answers import Prose
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
Predict first, then explain. The predictions are checked; your words are not: once the predictions are right, a
model answer appears beside them.

- `residuals`: Stable Diffusion 1.5's UNet has 12 skip connections. How many zero convolutions does its ControlNet
  have at its outputs?
- `first_changed`: give the zero convolutions random weights. Which part of the **frozen** UNet is the first whose
  output changes: `"down_blocks"`, `"mid_block"` or `"up_blocks"`?
- `encoder_learns`: training starts from zero convolutions. In which step, counted from 1, does the copied encoder get
  its first gradient that is not zero?
- `why`: in your own words, why are the convolutions zero and the encoder a copy, and not the other way round? Two or
  three sentences.
""".strip()

MODEL = Prose(
    "With zero convolutions the first step sees exactly the UNet that was trained: nothing has to be repaired, and "
    "the loss starts where it was. They are not stuck: the gradient of w in w·x + b is x, so they move in the first "
    "step, and from the second on the error reaches the encoder behind them. The encoder is a copy of the trained "
    "way down, because it has to understand pictures from the start; what would be random is the convolutions, and "
    "random ones would pour noise into every skip from the first step on. The residuals enter at the skips and after "
    "the middle, so the frozen way down and the middle compute what they always did; only the way up sees a change."
)


def inputs(seed: int) -> dict[str, Any]:
    return {}


def _answer(residuals: int = 13, first_changed: str = "up_blocks", encoder_learns: int = 2) -> dict:
    return {
        "residuals": residuals,
        "first_changed": first_changed,
        "encoder_learns": encoder_learns,
        "why": MODEL,
    }


def reference() -> dict:
    return _answer()


def _in_my_own_words() -> dict:
    return _answer() | {"why": "The UNet must not be shaken, and the copy must already see."}


TASK = Task(
    id="explain_controlnet",
    title="Why zeros, why a copy",
    notebook="02_controlnet",
    order=8,
    text=TEXT,
    points=10,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    hints=(
        "Look at your two last exercises: where were residuals added, and which gradient was zero at first?",
        "There is a residual for every skip, and one more. Skips are read by the way up.",
        "12 + 1 residuals; the way down and the middle run before anything is added to what they gave; the encoder "
        "waits until the zero convolution has moved once.",
    ),
    misconceptions=(
        Misconception(
            "no middle",
            "Twelve are for the skips. The middle has a zero convolution too.",
            lambda: _answer(residuals=12),
        ),
        Misconception(
            "injected on the way down",
            "The residuals are added to the **skips**, after the way down has computed its own next input. Its "
            "outputs don't change.",
            lambda: _answer(first_changed="down_blocks"),
        ),
        Misconception(
            "injected into the middle",
            "The middle's residual is added **after** it: what the middle block itself gives stays the same.",
            lambda: _answer(first_changed="mid_block"),
        ),
        Misconception(
            "encoder learns at once",
            "In step 1 the error has to pass through weights that are zero, and nothing arrives. Only the zero "
            "convolutions themselves get a gradient then.",
            lambda: _answer(encoder_learns=1),
        ),
        Misconception(
            "counted from the hint encoder",
            "Step 3 is when the error reaches the inside of the **hint** encoder, which ends in another zero "
            "convolution. The copied encoder is one step earlier.",
            lambda: _answer(encoder_learns=3),
        ),
    ),
    alternatives=(_in_my_own_words,),
    rubric=(
        "At the start the UNet's output is exactly what it was.",
        "Zero weights still learn: their gradient is the input, which is not zero.",
        "The encoder is a copy because it must understand pictures from the start.",
        "Residuals enter at skips and after the middle; only the way up changes.",
    ),
)
