"""What a picture as a prompt is, in numbers and in words."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.answers import Prose
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
Predict first, then explain. The predictions are checked; your words are not: once the predictions are right, a
model answer appears beside them.

- `tokens`: how many tokens does the attention of a **base** adapter read, given two pictures, `[[a, b]]`?
- `at_zero`: `set_ip_adapter_scale(0.0)`. Compared with the UNet before the adapter was loaded, is the output
  `"the same"`, `"nearly the same"` or `"without text"`?
- `face`: a photo of a whole person in front of a house goes into a face adapter. What should be done first:
  `"crop the face"`, `"raise the scale"` or `"nothing"`?
- `why`: in your own words, why two softmaxes and not one over text and picture together? Two or three sentences.
""".strip()

MODEL = Prose(
    "A softmax shares out one unit of attention. In one softmax the picture's tokens would take weight away from the "
    "words, more of it the more pictures there are, and the trained text attention would change even for a weak "
    "picture. With a softmax of its own the text's part stays exactly what was trained; the picture's part is added "
    "and has a volume knob, the scale, that goes down to exactly nothing. Only the new keys, values and the "
    "projection have to be trained, about 22 million numbers, and they fit every model fine-tuned from the same base."
)


def inputs(seed: int) -> dict[str, Any]:
    return {}


def _answer(tokens: int = 8, at_zero: str = "the same", face: str = "crop the face") -> dict:
    return {"tokens": tokens, "at_zero": at_zero, "face": face, "why": MODEL}


def reference() -> dict:
    return _answer()


def _in_my_own_words() -> dict:
    return _answer() | {"why": "Text keeps its own unit of attention; the picture is added with a knob."}


TASK = Task(
    id="explain_ip_adapter",
    title="Why two softmaxes",
    notebook="03_ip_adapter",
    order=6,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    hints=(
        "A base adapter makes a fixed number of tokens of each picture, whatever its size.",
        "Four tokens a picture. Look at the equation with $\\lambda = 0$. And what does CLIP see of a large photo?",
        "2 · 4 tokens; zero times the picture's answer is nothing; CLIP shrinks the photo to 224 pixels, and the "
        "face to a few of them.",
    ),
    misconceptions=(
        Misconception(
            "one picture's tokens",
            "That is one picture. Both pictures' tokens stand in the softmax.",
            lambda: _answer(tokens=4),
        ),
        Misconception(
            "one token a picture",
            "CLIP's embedding is one vector a picture, but the projection makes several tokens of it.",
            lambda: _answer(tokens=2),
        ),
        Misconception(
            "the plus adapter's",
            "16 tokens a picture, 32 for two, are the **plus** adapter's resampler. The base adapter makes fewer.",
            lambda: _answer(tokens=32),
        ),
        Misconception(
            "nearly",
            "The picture's answer is multiplied by 0 and added: not nearly, but exactly nothing changes.",
            lambda: _answer(at_zero="nearly the same"),
        ),
        Misconception(
            "text switched off",
            "The scale belongs to the picture. The text keeps its full weight at every scale, even at 1.",
            lambda: _answer(at_zero="without text"),
        ),
        Misconception(
            "louder",
            "A higher scale repeats louder what the adapter saw, and it saw a house with a tiny face.",
            lambda: _answer(face="raise the scale"),
        ),
        Misconception(
            "as it is",
            "CLIP shrinks the whole photo to a small square. Of the face, little is left: give it more of that square.",
            lambda: _answer(face="nothing"),
        ),
    ),
    alternatives=(_in_my_own_words,),
    rubric=(
        "One softmax shares out a fixed amount: pictures would take attention from words.",
        "The text's attention stays as it was trained.",
        "The picture's part can be scaled down to exactly nothing.",
        "Only the new keys, values and projection are trained.",
    ),
)
