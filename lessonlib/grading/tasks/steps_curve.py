"""Reading a steps/quality curve: which setting is good enough, and is the difference real?"""

from __future__ import annotations

from typing import Any

from lessonlib.grading.draw import integer
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
You have painted the same scenes from the same noise at several settings, and the judge has scored every picture.
More evaluations score better on average, up to a point; beyond it the differences are chance. Find that point.

The scores are **paired**: entry $i$ of every setting is the same scene from the same noise. So compare scene by
scene. With $d_i$ the best setting's score minus this one's, over $n$ scenes, a setting is *as good as the best* if
its mean loss is within two standard errors of zero,

$$\bar d \;\le\; 2\,\frac{s}{\sqrt n}, \qquad s^2 = \frac{1}{n - 1}\sum_i \big(d_i - \bar d\big)^2,$$

where the best setting is the one with the highest mean. Return the name of the **cheapest** setting that is as good
as the best. (The best itself always qualifies. No two settings here cost the same.)

| argument | |
|---|---|
| `curve` | a list of dicts, in no order: `name` (str), `evaluations` (int), `scores` (a list of n floats) |
| returned | a dict: `best` (the best setting's name), `cheapest` (the name asked for), `saved` (evaluations saved, an int) |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Scenes of very different difficulty: unpaired errors hide a loss that pairing shows. Of three curves, one
    has nothing cheaper that is as good as the best."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    scenes = 24
    difficulty = torch.linspace(0, 1, scenes, dtype=torch.float64)[
        torch.randperm(scenes, generator=generator)
    ]

    def noise(size: float) -> Any:
        """Noise of exactly this deviation and mean 0: the verdicts do not hang on a lucky draw."""
        values = torch.randn(scenes, generator=generator, dtype=torch.float64)
        values = values - values.mean()
        return size * values / values.std()

    kinds = [  # (evaluations, mean loss to the ceiling, deviation of the loss)
        (2, 0.35, 0.05),  # plainly worse
        (4, 0.2, 0.12),  # worse, though within two deviations of one scene
        (8, 0.0128, 0.025),  # worse, by two and a half errors, which only pairs show
        (15, 0.012, 0.05),  # as good
        (25, 0.008, 0.05),
        (50, 0.0, 0.005),  # the best
        (100, 0.002, 0.02),
    ]
    if integer(generator, 1, 3) == 1:
        del kinds[3:5]
    ceiling = 0.45 + 0.3 * difficulty
    names = [f"setting {letter}" for letter in "ABCDEFG"]
    order = torch.randperm(len(kinds), generator=generator).tolist()
    cost = 1 + int(torch.randint(3, (), generator=generator))
    curve = []
    for name, kind in zip(names, order, strict=False):
        evaluations, loss, size = kinds[kind]
        scores = (ceiling - loss + noise(size)).tolist()
        curve.append(
            {"name": name, "evaluations": cost * evaluations, "scores": [round(s, 4) for s in scores]}
        )
    return {"curve": curve}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: list[float]) -> float:
    mean = _mean(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def _answer(curve: list[dict], best: dict, cheapest: dict) -> dict[str, Any]:
    saved = best["evaluations"] - cheapest["evaluations"]
    return {"best": best["name"], "cheapest": cheapest["name"], "saved": saved}


def _best(curve: list[dict]) -> dict:
    return max(curve, key=lambda setting: _mean(setting["scores"]))


def reference(curve: list[dict]) -> dict[str, Any]:
    return _within(curve, 2 / len(curve[0]["scores"]) ** 0.5)


def _within(curve: list[dict], errors: float) -> dict[str, Any]:
    """As good: a mean loss of at most so many deviations of the loss."""
    best = _best(curve)
    good = []
    for setting in curve:
        loss = [b - s for b, s in zip(best["scores"], setting["scores"], strict=True)]
        if _mean(loss) <= errors * _deviation(loss):
            good.append(setting)
    return _answer(curve, best, min(good, key=lambda setting: setting["evaluations"]))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _highest_mean(curve: list[dict]) -> dict[str, Any]:
    return _answer(curve, _best(curve), _best(curve))


def _unpaired(curve: list[dict]) -> dict[str, Any]:
    best = _best(curve)
    good = []
    for setting in curve:
        error = (_deviation(best["scores"]) ** 2 + _deviation(setting["scores"]) ** 2) ** 0.5
        if _mean(best["scores"]) - _mean(setting["scores"]) <= 2 * error / len(best["scores"]) ** 0.5:
            good.append(setting)
    return _answer(curve, best, min(good, key=lambda setting: setting["evaluations"]))


def _deviation_for_error(curve: list[dict]) -> dict[str, Any]:
    return _within(curve, 2.0)


def _cheapest_of_all(curve: list[dict]) -> dict[str, Any]:
    return _answer(curve, _best(curve), min(curve, key=lambda setting: setting["evaluations"]))


def _most_expensive_is_best(curve: list[dict]) -> dict[str, Any]:
    best = max(curve, key=lambda setting: setting["evaluations"])
    return reference(curve) | {"best": best["name"]}


def _price_for_saving(curve: list[dict]) -> dict[str, Any]:
    right = reference(curve)
    cost = next(s["evaluations"] for s in curve if s["name"] == right["cheapest"])
    return right | {"saved": cost}


# --- Right answers in other styles --------------------------------------------------------------------------


def _with_torch(curve: list[dict]) -> dict[str, Any]:
    import torch

    scores = torch.tensor([setting["scores"] for setting in curve], dtype=torch.float64)
    best = int(scores.mean(1).argmax())
    loss = scores[best] - scores
    good = loss.mean(1) <= 2 * loss.std(1) / scores.shape[1] ** 0.5
    costs = torch.tensor([setting["evaluations"] for setting in curve])
    cheapest = int(torch.where(good, costs, costs.max() + 1).argmin())
    saved = int(costs[best] - costs[cheapest])
    return {"best": curve[best]["name"], "cheapest": curve[cheapest]["name"], "saved": saved}


def _with_statistics(curve: list[dict]) -> dict[str, Any]:
    from statistics import fmean, stdev

    best = sorted(curve, key=lambda s: fmean(s["scores"]))[-1]
    for setting in sorted(curve, key=lambda s: s["evaluations"]):
        loss = [b - s for b, s in zip(best["scores"], setting["scores"], strict=True)]
        if fmean(loss) <= 2 * stdev(loss) / len(loss) ** 0.5:
            return {
                "saved": best["evaluations"] - setting["evaluations"],
                "cheapest": setting["name"],
                "best": best["name"],
            }
    raise AssertionError("the best setting is as good as itself")


def _with_numpy(curve: list[dict]) -> dict[str, Any]:
    import numpy as np

    table = {s["name"]: np.array(s["scores"]) for s in curve}
    cost = {s["name"]: s["evaluations"] for s in curve}
    best = max(table, key=lambda name: table[name].mean())
    good = []
    for name, scores in table.items():
        loss = table[best] - scores
        if loss.mean() <= 2 * loss.std(ddof=1) / np.sqrt(loss.size):
            good.append(name)
    cheapest = min(good, key=cost.__getitem__)
    return {"best": best, "cheapest": cheapest, "saved": cost[best] - cost[cheapest]}


TASK = Task(
    id="steps_curve",
    title="Reading the steps/quality curve",
    notebook="07_capstone",
    order=2,
    text=TEXT,
    points=12,
    minutes=20,
    difficulty="medium",
    inputs=inputs,
    cases=8,  # both sorts of curve are among them
    reference=reference,
    hints=(
        "Find the best setting first. Then subtract every setting's scores from the best's, scene by scene.",
        "`s / n ** 0.5` is the standard error of the mean loss. A loss within two of them may be chance.",
        "Go through the settings by rising `evaluations` and return the first with `mean(loss) <= 2 * stdev(loss) / "
        "n ** 0.5`; `saved` is the best's evaluations minus its own.",
    ),
    misconceptions=(
        Misconception(
            "highest mean",
            "You return the best setting itself. Something cheaper may be as good: the difference can be chance.",
            _highest_mean,
        ),
        Misconception(
            "unpaired",
            "You compare two clouds of scores. Scenes differ far more than settings do, and that hides a real loss: "
            "subtract scene by scene first.",
            _unpaired,
        ),
        Misconception(
            "deviation for error",
            "You allow two deviations of a single scene. The mean over n scenes is surer than that: divide by the "
            "root of n.",
            _deviation_for_error,
        ),
        Misconception(
            "cheapest of all",
            "You return the cheapest setting, however bad. It must also be as good as the best.",
            _cheapest_of_all,
        ),
        Misconception(
            "most expensive is best",
            "The best setting is the one with the highest mean, which need not be the most expensive.",
            _most_expensive_is_best,
        ),
        Misconception(
            "price for saving",
            "`saved` is how many evaluations the cheapest good setting saves against the best, not what it costs.",
            _price_for_saving,
        ),
    ),
    alternatives=(_with_torch, _with_statistics, _with_numpy),
)
