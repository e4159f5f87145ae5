"""The lesson's fourth question: a pipeline of a sketch, a face and four steps."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.answers import Prose
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
You have a pencil sketch of a scene and a photo of a person, and want that person in that scene, in four steps:
ControlNet (scribble) + IP-Adapter (full face) + LCM-LoRA on Stable Diffusion 1.5. Predict first; the predictions are
checked, your words are not.

- `sketch`: what does the scribble ControlNet want? `"as it is"`, `"inverted"` (white lines on black) or `"in color"`;
- `photo`: what does the face adapter want? `"the whole photo"`, `"the cropped face"` or `"its edges"`;
- `unet`: how many UNet evaluations at 4 steps and `guidance_scale=1.5`? `controlnet`: how many of the ControlNet?
- `order`: IP-Adapter loaded before the LoRA, or after it: is the picture the `"same"` or `"another"`?
- `dtype`: the pipeline is float16 and the ControlNet was loaded without a dtype. `"works"`, `"warns"` or `"crashes"`?
- `why`: in your own words, what does each of the three contribute, what decides about what neither sketch nor photo
  say, and which two scales would you turn first if the face is right and the scene wrong? Three or four sentences.
""".strip()

MODEL = Prose(
    "The ControlNet brings the layout: its residuals enter the UNet's skips and middle, so lines of the sketch become "
    "edges of the picture. The IP-Adapter brings the person: image tokens in a second cross-attention beside the "
    "text's. LCM-LoRA brings the speed: a change of the weights and another scheduler, with guidance already in it. "
    "The prompt and the noise decide the rest: style, colours, background. If the face is right and the scene wrong, "
    "raise controlnet_conditioning_scale and lower the IP-Adapter's scale, one at a time, on fixed seeds."
)

_RIGHT = {
    "sketch": "inverted",
    "photo": "the cropped face",
    "unet": 8,
    "controlnet": 8,
    "order": "same",
    "dtype": "crashes",
    "why": MODEL,
}


def inputs(seed: int) -> dict[str, Any]:
    return {}


def reference() -> dict:
    return dict(_RIGHT)


def _in_my_own_words() -> dict:
    return _RIGHT | {
        "why": "Lines from the sketch, a face from the photo, speed from the LoRA, the rest from words."
    }


TASK = Task(
    id="explain_design",
    title="A sketch, a face and four steps",
    notebook="07_capstone",
    order=3,
    text=TEXT,
    points=10,
    minutes=20,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    hints=(
        "Two of the answers are in the bug hunt, and two in the exercise on counting.",
        "The ControlNet runs with the UNet, on the same batch. A LoRA changes weights, an adapter adds others: do "
        "they meet?",
        "Guidance 1.5 doubles 4 steps, for both networks. The sum does not depend on which was loaded first; and "
        "weights of two dtypes do not multiply.",
    ),
    misconceptions=(
        Misconception(
            "sketch as it is",
            "Pencil is dark on white paper; the scribble ControlNet was trained on white lines on black.",
            lambda: _RIGHT | {"sketch": "as it is"},
        ),
        Misconception(
            "whole photo",
            "The face adapter looks at the whole picture it gets, shrunk to 224 x 224. Crop the face, or it is a few "
            "pixels of it.",
            lambda: _RIGHT | {"photo": "the whole photo"},
        ),
        Misconception(
            "unguided",
            "1.5 is above 1: every step is guided, and costs two evaluations.",
            lambda: _RIGHT | {"unet": 4, "controlnet": 4},
        ),
        Misconception(
            "ControlNet once",
            "The ControlNet sees the noisy latents and the time as well as the sketch, so it runs anew with every "
            "evaluation of the UNet.",
            lambda: _RIGHT | {"controlnet": 1},
        ),
        Misconception(
            "order matters",
            "The LoRA changes weights that are there, the adapter adds a second cross-attention: neither touches what "
            "the other brings. Both orders give the same picture.",
            lambda: _RIGHT | {"order": "another"},
        ),
        Misconception(
            "dtypes mix",
            "Without a dtype the ControlNet is float32, and its first product with a float16 tensor is an error. Load "
            "it with the pipeline's dtype.",
            lambda: _RIGHT | {"dtype": "works"},
        ),
    ),
    alternatives=(_in_my_own_words,),
    rubric=(
        "ControlNet: layout, through residuals on skips and middle.",
        "IP-Adapter: the person, through a second cross-attention of image tokens.",
        "LCM-LoRA: fewer steps, with guidance distilled in; it needs its scheduler.",
        "The prompt (and the noise) decide what neither sketch nor photo say.",
        "Turns the control scale up or the adapter's scale down, one at a time, on fixed seeds.",
    ),
)
