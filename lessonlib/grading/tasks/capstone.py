"""The capstone: a design of ControlNet, IP-Adapter and LCM-LoRA that paints a person into a sketch, at a price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lessonlib.grading import design
from lessonlib.grading.experiment import Experiment, Goal, Settings
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from PIL.Image import Image

PAIRS = 16
BUDGET = 4

TEXT = r"""
A pencil sketch of a scene, a photo of a person, and a prompt for clothes, place and style: paint that person in that
scene, with ControlNet, IP-Adapter and LCM-LoRA, in **at most 4 UNet evaluations** a picture.

You write the *design*: a function that turns one sketch and one photo into what the pipeline is called with, and says
which parts it is built of. It is called for each of 16 pairs, and the course's own pipeline paints what it says: here on
pairs that you may look at, for a grade on others. The judge looks at every picture: are the sketch's key points in place
(**layout**), are hair, skin and glasses the photo's (**identity**), are clothes, place and style the prompt's
(**prompt**)?

Your score $s_i$ on pair $i$ is held against $r_i$, that of the course's own design, from the same noise. You reach a bar
if you are at most as much worse as chance explains,

$$\frac1n \sum_{i=1}^{n} (s_i - r_i) \;\ge\; -2.33\,\frac{\sigma}{\sqrt n}, \qquad n = 16,$$

where $\sigma$ is how much the course's design differs from itself, pair by pair, when the noise is another. Each bar is
worth a quarter of the points, and so is the price, which counts once the three bars are reached.

| argument | |
|---|---|
| `sketch` | uint8 `(128, 128, 3)`: dark pencil on white paper, drawn with somebody else in the person's place |
| `photo` | uint8 `(128, 128, 3)`: the person, in other clothes, elsewhere |
| `face` | `(left, top, right, bottom)` in pixels: where the face is in the photo |

| returned, in a dict | |
|---|---|
| `control` | uint8 `(128, 128, 3)`: the control map |
| `reference` | uint8 `(height, width, 3)`, sides of 8 to 256: what the adapter is shown |
| `controlnet` | `"controlnet-scribble"` or `"controlnet-canny"` |
| `weight_name` | `"ip-adapter_sd15.safetensors"` or `"ip-adapter-full-face_sd15.safetensors"` |
| `lora` | whether LCM-LoRA is loaded, a bool |
| `scheduler` | `"DDIMScheduler"`, `"EulerDiscreteScheduler"`, `"UniPCMultistepScheduler"` or `"LCMScheduler"` |
| `num_inference_steps` | an int from 1 to 8 |
| `guidance_scale` | from 1 to 15 |
| `controlnet_conditioning_scale`, `ip_adapter_scale` | from 0 to 2 |
| `control_guidance_start`, `control_guidance_end` | from 0 to 0.4, and from 0.5 to 1 |

The prompt is not yours to change. A check takes some seconds.
""".strip()

_SETTINGS: Settings = {
    "controlnet": "controlnet-scribble",
    "weight_name": "ip-adapter-full-face_sd15.safetensors",
    "lora": True,
    "scheduler": "LCMScheduler",
    "num_inference_steps": 4,
    "guidance_scale": 1.0,
    "controlnet_conditioning_scale": 1.0,
    "control_guidance_start": 0.0,
    "control_guidance_end": 1.0,
    "ip_adapter_scale": 1.0,
}


def inputs(seed: int) -> dict[str, Any]:
    """One pair, without its prompt."""
    pair = design.pair(seed)
    return {"sketch": pair.sketch, "photo": pair.photo, "face": list(pair.face)}


def reference(sketch: np.ndarray, photo: np.ndarray, face: Sequence[int]) -> Settings:
    left, top, right, bottom = face
    return _SETTINGS | {"control": 255 - sketch, "reference": photo[top:bottom, left:right]}


def measure(known: Sequence[Settings], seeds: Sequence[int]) -> dict[str, float]:
    """How far above its bar each measure lies, and the price."""
    found = design.against(known, _references(known), seeds)
    bars = {
        f"{name}, above its bar": found[name] + design.margin(name, len(seeds)) for name in design.MEASURES
    }
    return bars | {"evaluations": found["evaluations"]}


def show(known: Sequence[Settings], seeds: Sequence[int]) -> tuple[Image, str]:
    """Some pairs with the course's picture and the student's."""
    return design.sheet(known, _references(known), seeds)


def _references(known: Sequence[Settings]) -> list[Settings]:
    return [reference(one["sketch"], one["photo"], one["face"]) for one in known]


# --- Right answers in other styles --------------------------------------------------------------------------


def _with_pillow(sketch: np.ndarray, photo: np.ndarray, face: Sequence[int]) -> Settings:
    from PIL import Image, ImageOps

    left, top, right, bottom = face
    cropped = Image.fromarray(photo).crop((left, top, right, bottom))
    return _SETTINGS | {"control": ImageOps.invert(Image.fromarray(sketch)), "reference": cropped}


def _with_a_threshold(sketch: np.ndarray, photo: np.ndarray, face: Sequence[int]) -> Settings:
    """As a scanned drawing needs it: what is dark is a line."""
    dark = sketch.min(axis=2) < 127
    control = np.where(dark[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    return reference(sketch, photo, face) | {"control": control}


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _but(**changes: Any) -> Callable[..., Settings]:
    """The reference design with other settings; a function is called with the inputs."""

    def answer(sketch: np.ndarray, photo: np.ndarray, face: Sequence[int]) -> Settings:
        made = {
            name: value(sketch, photo, face) if callable(value) else value for name, value in changes.items()
        }
        return reference(sketch, photo, face) | made

    return answer


TASK = Task(
    id="capstone",
    title="The capstone",
    notebook="07_capstone",
    order=5,
    text=TEXT,
    points=24,
    minutes=45,
    difficulty="hard",
    inputs=inputs,
    cases=PAIRS,
    reference=reference,
    hints=(
        "Ask of every part what it was trained on: which lines on which ground, which part of a photo, how many steps "
        "with which scheduler. Give each part that, and leave the scales near 1 and 0.6.",
        "The scribble ControlNet knows white lines on black, the full-face adapter a cropped face, LCM-LoRA its own "
        "scheduler and hardly any guidance. Guidance above 1 doubles the price of every step.",
        '`control` is `255 - sketch`, `reference` is `photo[top:bottom, left:right]`. With the LoRA, `"LCMScheduler"` and '
        "`guidance_scale` 1.0, 4 steps are 4 evaluations.",
    ),
    misconceptions=(
        Misconception(
            "sketch as it is",
            "Your control map is mostly white. The ControlNet learned light lines on black: it takes your paper for "
            "lines.",
            _but(control=lambda sketch, photo, face: sketch),
            applies=lambda known: known["control"].mean() > 127,
        ),
        Misconception(
            "guidance twice",
            "LCM-LoRA has guidance in it already. Guided again at this scale the pictures are overdone, and every step "
            "costs two evaluations.",
            _but(guidance_scale=7.5),
            applies=lambda known: known["lora"] and known["guidance_scale"] > 2,
        ),
        Misconception(
            "an ordinary sampler",
            "Without the LoRA a picture takes many guided steps, and each costs two evaluations. The budget has 4.",
            _but(lora=False, scheduler="UniPCMultistepScheduler", num_inference_steps=8, guidance_scale=5.0),
            applies=lambda known: not known["lora"] and known["scheduler"] != "LCMScheduler",
        ),
        Misconception(
            "control too quiet",
            "At this scale the lines are hardly heard. Where the sketch must be followed, the ControlNet's scale is near 1.",
            _but(controlnet_conditioning_scale=0.2),
            applies=lambda known: known["controlnet_conditioning_scale"] < 0.5,
        ),
    ),
    alternatives=(_with_pillow, _with_a_threshold),
    experiment=Experiment(
        settings=design.SETTINGS,
        measure=measure,
        goals=(
            *(Goal(f"{name}, above its bar", at_least=0) for name in design.MEASURES),
            Goal("evaluations", at_most=BUDGET, last=True),
        ),
        partial=True,
        show=show,
    ),
)
