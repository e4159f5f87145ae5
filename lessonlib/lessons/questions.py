"""The questions of "predict, then run": kept here, so that the cell that asks does not show the answer.

In a notebook:

    from lessonlib.lessons import ask

    ask("06_optimisation.network")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from lessonlib.widgets.quizzes import Quiz


class Question(NamedTuple):
    """`answer` is the index of the right choice; `why` is told once the reader has chosen. Words in Markdown."""

    question: str
    choices: tuple[str, ...]
    answer: int
    why: str


QUESTIONS = {
    "06_optimisation.network": Question(
        "Which of the three networks holds the most **activations** at once?",
        ("the text encoder", "the UNet", "the VAE's decoder"),
        answer=2,
        why="It works on pixels: its maps have 64 times as many places as those of the UNet, which works on latents.",
    ),
    "06_optimisation.size": Question(
        "You double both sides of the picture. How many times the **activations** does the decoder hold at its peak?",
        ("the same", "2 times", "4 times", "16 times"),
        answer=2,
        why="Only the places change, and twice the height and twice the width make four times the places.",
    ),
    "06_optimisation.vae": Question(
        "You want **one** large picture. Which of the two lowers the peak?",
        ("slicing", "tiling", "both", "neither"),
        answer=1,
        why="Slicing cuts a batch into pictures, and a single picture is a batch of one: there is nothing to cut.",
    ),
    "06_optimisation.attention": Question(
        "On PyTorch 2, what does `pipe.enable_attention_slicing()` do to the UNet's peak for a large picture?",
        ("it becomes less than half", "it becomes a little less", "nothing", "it rises"),
        answer=3,
        why="It replaces SDPA, which stores no scores at all, by a loop that stores those of some heads.",
    ),
    "06_optimisation.offload": Question(
        "SDXL with model offload fits some card. You switch VAE tiling on **as well**. What happens to the peak?",
        ("it falls again: the two savings add up", "nothing", "it rises"),
        answer=1,
        why="With model offload the highest hump is the UNet's with its weights. The VAE's lies below it already.",
    ),
}


def ask(name: str) -> Quiz:
    """The question called `name`, as a widget that keeps the reader's choice and then tells why.

    Raises:
        LessonError: there is no such question.
    """
    from lessonlib.widgets import quiz

    if name not in QUESTIONS:
        raise LessonError(
            f"There is no question '{name}': lessonlib/lessons/questions.py lists those there are."
        )
    asked = QUESTIONS[name]
    return quiz(name, asked.question, list(asked.choices), asked.answer, asked.why)
