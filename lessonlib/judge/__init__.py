"""Measuring pictures of the emoji world, by a network that shares nothing with the models that made them.

    judge(images)           what each picture shows: objects and where they are, background, style, the person
    score(images, asked)    how much of what was asked is there, with 95 % intervals

and one file for each measure that needs no network: `sharpness`, `edges`, `places`, `diversity`, `kid`,
`depth`, `normals`, `segmentation`, `pose`, `intervals`. Importing this package is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

# public name -> the module that defines it
_EXPORTS = {
    "Asked": "lessonlib.judge.scoring",
    "Judge": "lessonlib.judge.loading",
    "Score": "lessonlib.judge.scoring",
    "Verdict": "lessonlib.judge.verdict",
    "evaluate_real": "lessonlib.judge.evaluate",
    "judge": "lessonlib.judge.loading",
    "load_judge": "lessonlib.judge.loading",
    "score": "lessonlib.judge.scoring",
}

if TYPE_CHECKING:
    from lessonlib.judge.evaluate import evaluate_real as evaluate_real
    from lessonlib.judge.loading import Judge as Judge
    from lessonlib.judge.loading import judge as judge
    from lessonlib.judge.loading import load_judge as load_judge
    from lessonlib.judge.scoring import Asked as Asked
    from lessonlib.judge.scoring import Score as Score
    from lessonlib.judge.scoring import score as score
    from lessonlib.judge.verdict import Verdict as Verdict


__getattr__, __dir__ = lazy(__name__, _EXPORTS)
