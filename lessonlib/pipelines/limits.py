"""Numbers that cannot work are said before any model runs."""

from __future__ import annotations

import math

from lessonlib.errors import LessonError
from lessonlib.pipelines.generate import LARGEST, MOST_GUIDANCE, SMALLEST


def check_steps(steps: int, most: int = 999, why: str = "the noise schedule has 1000 levels") -> None:
    """
    Raises:
        LessonError: fewer than 1 or more than `most` steps.
    """
    if not 1 <= steps <= most:
        raise LessonError(f"steps is {steps}: choose 1 to {most} ({why}).")


def check_guidance(guidance: float) -> None:
    """
    Raises:
        LessonError: not a number from 0 to MOST_GUIDANCE.
    """
    if not (math.isfinite(guidance) and 0 <= guidance <= MOST_GUIDANCE):
        raise LessonError(f"guidance is {guidance:g}: choose a number from 0 to {MOST_GUIDANCE:g}.")


def check_negative(negative_prompt: str | None, guidance: float) -> None:
    """
    Raises:
        LessonError: a negative prompt that would be ignored, because guidance is off.
    """
    if negative_prompt and guidance <= 1:
        raise LessonError(
            f"guidance {guidance:g} is off (it starts above 1), so the negative prompt would be ignored: "
            "raise the guidance or leave the negative prompt out."
        )


def check_size(size: tuple[int, int]) -> None:
    """
    Raises:
        LessonError: `size` (width, height) is not in multiples of 8 between SMALLEST and LARGEST pixels.
    """
    if any(side % 8 or not SMALLEST <= side <= LARGEST for side in size):
        raise LessonError(
            f"The size is {size[0]}x{size[1]} pixels: a latent stands for 8x8 of them, so choose multiples of 8 "
            f"between {SMALLEST} and {LARGEST}."
        )


def check_strength(strength: float, steps: int) -> int:
    """How many of `steps` are run when a picture is noised by `strength` and denoised again: int(steps strength).

    Raises:
        LessonError: `strength` is not from 0 to 1, or no step is left.
    """
    if not 0 <= strength <= 1:
        raise LessonError(f"strength is {strength:g}: choose 0 (keep the picture) to 1 (forget it).")
    if not int(steps * strength):
        raise LessonError(
            f"{steps} steps at strength {strength:g} leave int({steps * strength:g}) = 0 steps to run: raise the "
            f"strength to {1 / steps:.3g} or more, or use more steps."
        )
    return int(steps * strength)
