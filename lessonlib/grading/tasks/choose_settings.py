"""Experiment: settings that are nearly as good as the best, at the least price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lessonlib.grading import measured
from lessonlib.grading.experiment import Choice, Experiment, Goal, Settings
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
Find settings for the course's sd15 that give pictures nearly as good as its best ones at a small price. Every setting
below was used to paint the same scenes from the same noise, and the judge said how much of each prompt is in the
picture; you get its verdict on scenes you do not choose, and a grade is given on others.

Your settings must reach, on the scenes drawn,

$$\frac{\text{fidelity of your settings}}{\text{fidelity of the best setting of the grid}} \ge 0.97
\qquad\text{with at most 8 UNet evaluations a picture.}$$

Return a dict with `sampler` (`"ddim"`, `"euler"` or `"unipc"`), `steps` (2, 4, 8 or 16) and `guidance_scale` (1.0, 2.5 or
5.0). Remember what a guided step costs. The check tells you how near you came: experiment.
""".strip()

SHARE, BUDGET = 0.97, 8


def inputs(seed: int) -> dict[str, Any]:
    return {}


def measure(known: Sequence[Settings], seeds: Sequence[int]) -> dict[str, float]:
    """Look the settings up, on the scenes that the seed draws."""
    (settings,), (seed,) = known, seeds
    scenes = measured.drawn(seed)
    best = max(measured.fidelity(*cell, scenes) for cell in measured.cells())
    cell = settings["sampler"], settings["steps"], settings["guidance_scale"]
    return {
        "share of the best": measured.fidelity(*cell, scenes) / best,
        "evaluations": float(measured.evaluations(settings["steps"], settings["guidance_scale"])),
    }


def _settings(sampler: str, steps: int, guidance_scale: float) -> Settings:
    return {"sampler": sampler, "steps": steps, "guidance_scale": guidance_scale}


def reference() -> Settings:
    return _settings("unipc", 4, 2.5)


def _in_another_order() -> Settings:
    return {"steps": BUDGET // 2, "guidance_scale": 5 / 2, "sampler": "unipc"}


def _evaluations(settings: Settings) -> int:
    return measured.evaluations(settings["steps"], settings["guidance_scale"])


TASK = Task(
    id="choose_settings",
    title="Nearly the best, for less",
    notebook="07_capstone",
    order=4,
    text=TEXT,
    points=15,
    minutes=20,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    hints=(
        "List the settings that the budget allows before you try any: what may a guided step number at most?",
        "Guidance is worth its price here: half as many guided steps beat twice as many unguided ones.",
        "Four guided steps cost 8 evaluations. Try the scales, and then the samplers.",
    ),
    misconceptions=(
        Misconception(
            "price of guidance forgotten",
            "Too expensive: a guided step costs two evaluations, so 8 guided steps cost 16.",
            lambda: _settings("unipc", 8, 2.5),
            applies=lambda s: s["guidance_scale"] > 1 and s["steps"] <= BUDGET < _evaluations(s),
        ),
        Misconception(
            "guidance saved",
            "Without guidance a step is cheap, but the prompt has no more than its natural weight. At this price, "
            "spend the evaluations on guidance.",
            lambda: _settings("unipc", 8, 1.0),
            applies=lambda s: s["guidance_scale"] == 1,
        ),
        Misconception(
            "too few steps",
            "So few steps are too few for a model that was not distilled: the budget allows more.",
            lambda: _settings("unipc", 2, 2.5),
            applies=lambda s: s["guidance_scale"] > 1 and _evaluations(s) < BUDGET,
        ),
        Misconception(
            "more guidance is better",
            "At this scale the few steps overshoot: compare scales at the same steps and with the same sampler.",
            lambda: _settings("unipc", 4, 5.0),
            applies=lambda s: s["guidance_scale"] == 5 and _evaluations(s) == BUDGET,
        ),
        Misconception(
            "any sampler will do",
            "Steps and scale are good. With so few steps this sampler's straight pieces miss the curve: compare samplers, "
            "one of which extrapolates from earlier steps.",
            lambda: _settings("ddim", 4, 2.5),
            applies=lambda s: (
                s["sampler"] != "unipc" and s["guidance_scale"] == 2.5 and _evaluations(s) == BUDGET
            ),
        ),
    ),
    alternatives=(_in_another_order,),
    experiment=Experiment(
        settings={
            "sampler": Choice(tuple(measured.SAMPLERS)),
            "steps": Choice(measured.STEPS),
            "guidance_scale": Choice(measured.GUIDANCE),
        },
        measure=measure,
        goals=(Goal("share of the best", at_least=SHARE), Goal("evaluations", at_most=BUDGET)),
    ),
)
