"""Answers of every kind are decided: groups, numbers, texts, modules, words to explain, experiments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib.grading import practice, references, tasks
from lessonlib.grading.answers import Output, Prose, read
from lessonlib.grading.calling import call_all
from lessonlib.grading.deciding import decide
from lessonlib.grading.experiment import Choice, Experiment, Goal, Pixels, Range
from lessonlib.grading.task import Misconception, Task, cases


def task(reference, inputs=lambda seed: {}, **rest) -> Task:
    rest = {"misconceptions": (), "alternatives": (), "magnitude": None, "operations": 0, "show": None} | rest
    return replace(tasks.get("cfg"), id="toy", reference=reference, inputs=inputs, **rest)


def verdict_of(toy: Task, function):
    on = cases(toy)
    return decide(toy, on, call_all(function, (one.inputs for one in on)))


def drawn(seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {"parts": [torch.randn(3, generator=generator) for _ in range(2)], "count": seed % 97}


def both(parts, count):
    return {"sum": parts[0] + parts[1], "count": count + 1, "name": "both"}


BOTH = task(
    both,
    drawn,
    magnitude=lambda parts, count: {"sum": parts[0].abs() + parts[1].abs()},
    operations=1,
    misconceptions=(
        Misconception("minus", "Add.", lambda parts, count: both([parts[0], -parts[1]], count)),
        Misconception("off by one", "Count on.", lambda parts, count: both(parts, count - 1)),
        Misconception("alone", "More is asked.", lambda parts, count: parts[0] + parts[1]),
    ),
)


def test_a_group_passes_when_every_part_is_right() -> None:
    assert verdict_of(BOTH, both).passed
    for misconception in BOTH.misconceptions:
        assert verdict_of(BOTH, misconception.answer).misconception == misconception.name


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("object", lambda d: tuple(d.values())),
        ("object", lambda d: {k: v for k, v in d.items() if k != "count"}),
        ("object", lambda d: d | {"more": 1}),
        ("object", lambda d: d | {"count": torch.tensor(d["count"])}),
        ("dtype", lambda d: d | {"count": float(d["count"])}),
        ("dtype", lambda d: d | {"sum": d["sum"].double()}),
        ("shape", lambda d: d | {"sum": d["sum"][None]}),
        ("nonfinite", lambda d: d | {"sum": d["sum"] * torch.nan}),
        ("values", lambda d: d | {"sum": d["sum"] + 1e-3}),
        ("values", lambda d: d | {"count": 0}),
        ("values", lambda d: d | {"name": "Both"}),
        ("object", lambda d: d | {"name": 1}),
    ],
)
def test_what_is_wrong_with_a_part_is_said(kind: str, spoil) -> None:
    verdict = verdict_of(BOTH, lambda parts, count: spoil(both(parts, count)))
    assert verdict.kind == kind
    assert verdict.sentence


def test_a_changed_input_stays_a_copy() -> None:
    def spoil(parts, count):
        answer = both(parts, count)
        parts[0].zero_()
        parts.clear()
        return answer

    on = cases(BOTH)
    assert decide(BOTH, on, call_all(spoil, (one.inputs for one in on))).passed
    assert len(on[0].inputs["parts"]) == 2
    assert on[0].inputs["parts"][0].any()


def test_pictures_and_modules_are_compared() -> None:
    picture = task(lambda: Image.new("RGB", (3, 2), (9, 8, 7)))
    assert verdict_of(picture, lambda: Image.new("RGB", (3, 2), (9, 8, 7))).passed
    assert verdict_of(picture, lambda: Image.new("RGB", (3, 2), (9, 8, 6))).kind == "values"
    assert verdict_of(picture, lambda: np.array(Image.new("RGB", (3, 2), (9, 8, 7)))).kind == "object"

    module = task(
        lambda: torch.nn.Linear(2, 2), magnitude=lambda: torch.nn.Linear(2, 2), operations=1
    )  # random weights, but the same for everybody
    assert verdict_of(module, lambda: torch.nn.Linear(2, 2)).passed
    assert verdict_of(module, lambda: torch.nn.Linear(2, 2, bias=False)).kind == "object"
    assert verdict_of(module, lambda: dict(torch.nn.Linear(2, 2).state_dict())).kind == "object"


def test_a_python_float_is_compared_within_rounding() -> None:
    sums = task(lambda: 0.1 + 0.2, magnitude=lambda: 0.3, operations=2)
    assert verdict_of(sums, lambda: 0.3).passed
    assert verdict_of(sums, lambda: 0.3 + 1e-12).kind == "values"
    whole = task(lambda: 2.0, magnitude=lambda: 2.0, operations=1)
    assert verdict_of(whole, lambda: 2).passed
    assert verdict_of(whole, lambda: True).kind in ("dtype", "values")


EXPLAIN = task(
    lambda: {"number": 3, "why": Prose("Because three.")},
    rubric=("says three",),
    misconceptions=(Misconception("two", "Count again.", lambda: {"number": 2, "why": Prose("")}),),
)


def test_words_are_shown_beside_a_model_answer_and_never_judged() -> None:
    verdict = verdict_of(EXPLAIN, lambda: {"number": 3, "why": "No idea <b>"})
    assert verdict.passed
    assert verdict.words == (("No idea <b>", "Because three."),)
    text = practice.verdict_card(verdict)._repr_html_()
    assert "No idea &lt;b&gt;" in text
    assert "Because three." in text
    assert "says three" in text


@pytest.mark.parametrize("words", ["", "  ", "..."])
def test_words_are_asked_for(words: str) -> None:
    verdict = verdict_of(EXPLAIN, lambda: {"number": 3, "why": words})
    assert verdict.kind == "values"
    assert "own words" in verdict.sentence
    assert "Because three." not in str(practice.verdict_card(verdict))


def test_a_wrong_prediction_earns_its_hint_and_no_model_answer() -> None:
    verdict = verdict_of(EXPLAIN, lambda: {"number": 2, "why": "I guess"})
    assert verdict.misconception == "two"
    assert not verdict.words


EXPERIMENT = task(
    lambda: {"steps": 4, "sampler": "lcm"},
    experiment=Experiment(
        settings={"steps": Range(1, 50, whole=True), "sampler": Choice(("lcm", "ddim"))},
        measure=lambda known, seeds: {
            "quality": 0.9 if known[0]["sampler"] == "lcm" else known[0]["steps"] / 50,
            "evaluations": 2.0 * known[0]["steps"],
        },
        goals=(Goal("quality", at_least=0.8), Goal("evaluations", at_most=10)),
    ),
    misconceptions=(
        Misconception(
            "many steps",
            "Fewer.",
            lambda: {"steps": 50, "sampler": "ddim"},
            lambda settings: settings["steps"] > 5,
        ),
    ),
)


def test_an_experiment_is_measured() -> None:
    verdict = verdict_of(EXPERIMENT, EXPERIMENT.reference)
    assert verdict.passed
    assert verdict.details == {"quality": "0.9 (at least 0.8)", "evaluations": "8 (at most 10)"}
    assert verdict_of(EXPERIMENT, lambda: {"steps": 5, "sampler": "ddim"}).sentence == "Not reached: quality."
    assert verdict_of(EXPERIMENT, EXPERIMENT.misconceptions[0].answer).misconception == "many steps"


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 4},
        {"steps": 4, "sampler": "lcm", "seed": 3},
        {"steps": 4.5, "sampler": "lcm"},
        {"steps": True, "sampler": "lcm"},
        {"steps": 0, "sampler": "lcm"},
        {"steps": 4, "sampler": "pndm"},
        {"steps": torch.tensor(4), "sampler": "lcm"},
        (4, "lcm"),
        4,
        {},
    ],
)
def test_settings_are_checked_before_anything_runs(settings) -> None:
    verdict = verdict_of(EXPERIMENT, lambda: settings)
    assert verdict.kind == "settings"
    assert verdict.sentence.endswith(".")


PICTURE = np.full((16, 24, 3), 200, np.uint8)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (PICTURE, True),
        (Image.fromarray(PICTURE), True),
        (PICTURE[..., :1], False),
        (PICTURE[..., 0], False),
        (PICTURE / 255, False),
        (PICTURE.astype(np.int64), False),
        (PICTURE[:4], False),
        (PICTURE.repeat(9, 0), False),
        (Image.fromarray(PICTURE).convert("RGBA"), False),
        (torch.from_numpy(PICTURE), False),
        (3, False),
    ],
)
def test_a_picture_may_be_a_setting(value, taken: bool) -> None:
    experiment = Experiment({"map": Pixels(8, 128)}, lambda known, seeds: {}, ())
    settings, complaint = experiment.settings_of(read({"map": value}))
    assert bool(complaint) != taken
    if taken:
        assert np.array_equal(settings["map"], PICTURE)
        assert settings["map"].dtype == np.uint8
    else:
        assert "it must be a uint8 array (height, width, 3) with sides of 8 to 128" in complaint


def test_values_that_claim_to_be_eight_bits_are_looked_at() -> None:
    experiment = Experiment({"map": Pixels(1, 128)}, lambda known, seeds: {}, ())
    for values in (np.full((2, 2, 3), 256), np.full((2, 2, 3), -1), np.full((2, 2, 3), np.nan)):
        forged = Output("array", shape=values.shape, dtype="uint8", values=values)
        assert experiment.settings_of(Output("group", "dict", parts={"['map']": forged}))[1]


GOALS = (Goal("a", at_least=0), Goal("b", at_least=0), Goal("price", at_most=4, last=True))


@pytest.mark.parametrize(
    ("a", "b", "price", "share"),
    [(1, 1, 4, 1), (1, 1, 5, 2 / 3), (1, -1, 4, 1 / 3), (-1, -1, 1, 0), (-1, 1, 9, 1 / 3)],
)
def test_goals_earn_their_share_and_the_price_only_with_the_others(a, b, price, share) -> None:
    measures = {"a": a, "b": b, "price": price}
    assert Experiment({}, lambda known, seeds: {}, GOALS, partial=True).share(measures) == pytest.approx(
        share
    )
    assert Experiment({}, lambda known, seeds: {}, GOALS).share(measures) == (share == 1)


def test_an_experiment_is_tried_on_every_case_and_paid_in_part() -> None:
    toy = task(
        lambda x: {"y": x},
        lambda seed: {"x": float(seed % 7)},
        experiment=Experiment(
            settings={"y": Range(-10, 10)},
            measure=lambda known, seeds: {
                "off": max(abs(one["x"] - one["y"]) for one in known),
                "cases": float(len(set(seeds))),
            },
            goals=(Goal("off", at_most=0), Goal("cases", at_least=3)),
            partial=True,
            show=lambda known, seeds: (Image.new("RGB", (8, 8)), f"{len(known)} cases"),
        ),
        misconceptions=(Misconception("zero", "No.", lambda x: {"y": 0.0}, lambda known: known["y"] == 0),),
        points=9,
    )
    right, wrong = verdict_of(toy, toy.reference), verdict_of(toy, lambda x: {"y": x + 1})
    assert right.passed
    assert (right.points, wrong.points) == (9, 4)
    assert wrong.sentence == "Not reached: off."
    assert wrong.caption == "3 cases"
    assert "(4 of 9 points)" in str(practice.verdict_card(wrong))
    assert verdict_of(toy, lambda x: {"y": 11.0}).kind == "settings"
    assert verdict_of(toy, lambda x: {"y": 0.0}).misconception == "zero"


def test_nan_reaches_no_goal() -> None:
    assert not Goal("x", at_least=0).met(float("nan"))


@pytest.mark.parametrize("toy", [BOTH, EXPLAIN, EXPERIMENT], ids=["group", "explain", "experiment"])
def test_references_come_back_from_their_file(
    toy: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    assert not references.is_current(toy)
    references.write(toy)
    assert references.is_current(toy)
    stored = references.load(toy)
    function = toy.reference if toy is not EXPLAIN else lambda: {"number": 3, "why": "mine"}
    assert decide(toy, stored, call_all(function, (one.inputs for one in stored))).passed
    assert [one.seed for one in stored] == [one.seed for one in cases(toy)]


def test_inputs_of_every_kind_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "array": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "picture": Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)),
        "nested": ({"a": [torch.ones(2), 3]}, "text"),
        "value": None,
    }
    toy = task(lambda *inputs: 1, lambda seed: given)
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    references.write(toy)
    assert references.is_current(toy)
    (back, *_) = references.load(toy)
    assert np.array_equal(back.inputs["array"], given["array"])
    assert np.array_equal(np.asarray(back.inputs["picture"]), np.asarray(given["picture"]))
    assert torch.equal(back.inputs["nested"][0]["a"][0], torch.ones(2))
    assert back.inputs["nested"][1:] == ("text",)
