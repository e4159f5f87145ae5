"""The lesson's first question: two encoders, their numbers, and what the sizes and crops are for."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.answers import Prose
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
Predict first, then explain. The predictions are checked; your words are not: once the predictions are right, a
model answer appears beside them.

- `channels`: how many channels does each of the 77 text states have that SDXL's UNet attends to?
- `add_embedding`: how many numbers does the vector have that joins the time embedding (bigG's pooled vector and
  six ids of 256)?
- `uncropped`: which argument asks for a subject that is not cut off: `"original_size"`,
  `"crops_coords_top_left"` or `"target_size"`?
- `why`: in your own words, why two encoders, and why does telling the network sizes and crops help, though a
  prompt never mentions them? Two or three sentences.
""".strip()

MODEL = Prose(
    "The encoders were trained by different people on different data (ViT-L on OpenAI's 400 million pairs, bigG "
    "on the English part of LAION with 2 billion), and the UNet may attend to whatever either of them noticed: "
    "768 + 1280 channels a token. bigG's pooled vector says the whole prompt once more, beside the time. Sizes "
    "and crops are accidents of the training pictures. Without them one would have to throw away every small "
    "picture, or let the network learn that enlarged, blurred and cut-off pictures are normal. Told what happened "
    "to each picture, it can tell the accident from the content, and at inference one asks for a large original "
    "and a crop that starts at (0, 0)."
)


def inputs(seed: int) -> dict[str, Any]:
    return {}


def _answer(
    channels: int = 2048, add_embedding: int = 2816, uncropped: str = "crops_coords_top_left"
) -> dict:
    return {"channels": channels, "add_embedding": add_embedding, "uncropped": uncropped, "why": MODEL}


def reference() -> dict:
    return _answer()


def _in_my_own_words() -> dict:
    return _answer() | {"why": "Two readers notice more than one; ids keep accidents out of the content."}


TASK = Task(
    id="explain_sdxl",
    title="Why two encoders, why micro-conditioning",
    notebook="01_sdxl",
    order=10,
    text=TEXT,
    points=10,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    hints=(
        "The states of the two encoders are put side by side, token by token.",
        "ViT-L has 768 channels; bigG has 1280, and so has its pooled vector.",
        "768 + 1280 channels; 1280 + 6 · 256 numbers; and a subject is cut off where a crop began.",
    ),
    misconceptions=(
        Misconception(
            "ViT-L alone",
            "768 channels are ViT-L's alone, what Stable Diffusion 1.5 attends to. SDXL has a second encoder.",
            lambda: _answer(channels=768),
        ),
        Misconception(
            "bigG alone",
            "1280 channels are bigG's alone, what the refiner attends to. The base model reads both encoders.",
            lambda: _answer(channels=1280),
        ),
        Misconception(
            "five ids",
            "2560 is the refiner's vector: five ids, the last an aesthetic score. The base model has six.",
            lambda: _answer(add_embedding=2560),
        ),
        Misconception(
            "ids without text",
            "1536 is 6 · 256, the ids alone. The pooled text stands before them.",
            lambda: _answer(add_embedding=1536),
        ),
        Misconception(
            "original size against cropping",
            "`original_size` says how large the picture was before resizing: it controls apparent resolution. "
            "Which number says where the crop began?",
            lambda: _answer(uncropped="original_size"),
        ),
        Misconception(
            "target size against cropping",
            "`target_size` is the bucket, the size of the picture to make. Which number says where the crop began?",
            lambda: _answer(uncropped="target_size"),
        ),
    ),
    alternatives=(_in_my_own_words,),
    rubric=(
        "The encoders differ in training data and width, so the UNet can use what either noticed.",
        "States are joined token by token in the channels; bigG's pooled vector is used separately.",
        "Sizes and crops describe accidents of training pictures; knowing them separates accident from content.",
        "No picture has to be thrown away for being small.",
    ),
)
