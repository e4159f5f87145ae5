"""What a reader does in a notebook besides running cells: predict, draw, and play with the settings.

    quiz(id, question, choices, answer, why)    "predict, then run": the reader's choice is kept, then the answer told
    guess(id, question, low, high, unit)        a number that later cells read as `.value`
    scribble(size, example)                     a canvas, white strokes on black, read as `.image`
    live(make, **controls)                      a picture that is made anew as its sliders move

They work in JupyterLab, VS Code and Colab, without a network of their own. Where no kernel runs, a notebook keeps in
words what they showed (`fallback`). Importing this package is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

# public name -> the module that defines it
_EXPORTS = {
    "guess": "lessonlib.widgets.guesses",
    "live": "lessonlib.widgets.redrawing",
    "quiz": "lessonlib.widgets.quizzes",
    "scribble": "lessonlib.widgets.canvas",
}

if TYPE_CHECKING:
    from lessonlib.widgets.canvas import scribble as scribble
    from lessonlib.widgets.guesses import guess as guess
    from lessonlib.widgets.quizzes import quiz as quiz
    from lessonlib.widgets.redrawing import live as live


__getattr__, __dir__ = lazy(__name__, _EXPORTS)
