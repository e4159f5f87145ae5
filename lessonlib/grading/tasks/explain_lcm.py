"""The lesson's third question: what four steps cost, and why an LCM-LoRA takes little guidance."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.answers import Prose
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
Predict first, then explain. The predictions are checked; your words are not: once the predictions are right, a model
answer appears beside them.

- `standard`: UNet evaluations of Stable Diffusion 1.5 at 50 steps and `guidance_scale=7.5`;
- `lora`: of the same model with LCM-LoRA at 4 steps and `guidance_scale=1.5`;
- `lora_at_1`: of the same at `guidance_scale=1.0`;
- `full_lcm`: of a full LCM (`LCM_Dreamshaper_v7`) at 4 steps and `guidance_scale=8.0`;
- `reason`: why is LCM-LoRA run at 1.0 to 2.0 when the full LCM is run at 8.0?
  `"a"`: its steps are so large that strong guidance overshoots. `"b"`: guidance is in its weights already, and
  `guidance_scale` above 1 guides a second time; for the full LCM the number is an input. `"c"`: a LoRA changes only
  the attention layers, which do not see the prompt.
- `why`: in your own words, when would you use four steps, and when fifty? Name what is lost. Two or three sentences.
""".strip()

MODEL = Prose(
    "Four steps where someone waits or many candidates are wanted: previews, interactive work, trying prompts; a "
    "picture costs 4 to 8 evaluations instead of 100. The price: guidance was fixed in training, so the scale is no "
    "longer a free choice, at 1.0 a negative prompt does nothing, fine detail and variety tend to suffer, and more "
    "steps hardly help, because the model was trained to jump. Fifty guided steps where one final picture matters, "
    "or where negative prompts and the scale are needed. How much is lost on your pictures you measure: same "
    "prompts, same seeds, both settings."
)

_RIGHT = {"standard": 100, "lora": 8, "lora_at_1": 4, "full_lcm": 4, "reason": "b", "why": MODEL}


def inputs(seed: int) -> dict[str, Any]:
    return {}


def reference() -> dict:
    return dict(_RIGHT)


def _in_my_own_words() -> dict:
    return _RIGHT | {"why": "Four for drafts, fifty for the print; I would compare both on my own prompts."}


TASK = Task(
    id="explain_lcm",
    title="Four steps or fifty",
    notebook="04_fast_sampling",
    order=8,
    text=TEXT,
    points=10,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    hints=(
        "For the four numbers, use what you wrote for the exercise on counting.",
        "Only a scale above 1 that is not embedded makes a step cost two. What was the target that distillation "
        "trained on: the plain prediction, or the guided one?",
        "The target was the guided one: the LoRA has learnt to give guided answers. The full LCM has learnt it for "
        "every scale, and is told which.",
    ),
    misconceptions=(
        Misconception(
            "steps counted",
            "You counted steps. With guidance each takes two evaluations.",
            lambda: _RIGHT | {"standard": 50, "lora": 4},
        ),
        Misconception(
            "full LCM guided",
            "A full LCM reads its scale as an input, beside the time. It evaluates the UNet once a step at any scale.",
            lambda: _RIGHT | {"full_lcm": 8},
        ),
        Misconception(
            "guided at 1",
            "At 1.0 guidance is off: one evaluation a step, and a negative prompt has no effect.",
            lambda: _RIGHT | {"lora_at_1": 8},
        ),
        Misconception(
            "unguided at 1.5",
            "1.5 is above 1, so diffusers guides, however little: two evaluations a step.",
            lambda: _RIGHT | {"lora": 4},
        ),
        Misconception(
            "large steps overshoot",
            "That is what the source lesson says. But the full LCM takes steps just as large, at 8.0. What has "
            "distillation already put into the weights?",
            lambda: _RIGHT | {"reason": "a"},
        ),
        Misconception(
            "attention does not see the prompt",
            "The prompt enters **through** attention. Think of what the LoRA was trained to imitate.",
            lambda: _RIGHT | {"reason": "c"},
        ),
    ),
    alternatives=(_in_my_own_words,),
    rubric=(
        "Says who gains from few steps (waiting people, many candidates), with the cost in evaluations.",
        "Names a loss: fixed guidance, no negative prompt at 1.0, detail or variety.",
        "Does not claim that LCMs in general need low guidance.",
        "Proposes to measure it: same prompts and seeds, both settings.",
    ),
)
