"""The capstone as it is graded: with the shipped models, on pairs that a student has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sandboxes import needs_bwrap

from lessonlib.grading import design, references
from lessonlib.grading.calling import call_all
from lessonlib.grading.deciding import Verdict, decide
from lessonlib.grading.grade import hidden_cases, judged
from lessonlib.grading.sandbox.levels import WALLS
from lessonlib.grading.sandbox.supervisor import Limits, Sandbox, run
from lessonlib.grading.task import cases
from lessonlib.grading.tasks import capstone
from lessonlib.models import store

TASK = capstone.TASK
LIMITS = Limits(seconds=20)
FOUL = pytest.mark.parametrize("mistake", TASK.misconceptions, ids=lambda mistake: mistake.name)


def verdict_of(function: Any, seed: int) -> Verdict:
    on = cases(TASK, seed)
    return decide(TASK, on, call_all(function, (one.inputs for one in on)))


@FOUL
def test_a_mistake_misses_a_bar_or_the_price_on_nearly_every_draw(mistake: Any) -> None:
    found = design.table()
    expensive = found["evaluations"][mistake.name] > capstone.BUDGET
    assert expensive or design.refused(mistake.name, capstone.PAIRS) > 0.98


def test_a_design_as_good_as_the_course_s_passes_on_nearly_every_draw() -> None:
    assert design.refused(design.AGAIN, capstone.PAIRS) < 0.06
    assert design.table()["evaluations"][design.REFERENCE] == capstone.BUDGET


def test_the_bars_allow_one_lost_answer() -> None:
    for measure, answers in {"layout": 18, "identity": 3, "prompt": 3}.items():
        assert design.margin(measure, capstone.PAIRS) > 1 / (answers * capstone.PAIRS)


def test_the_bars_are_those_of_the_shipped_weights() -> None:
    assert design.table()["weights"] == {member: store.digest(member) for member in design.MEMBERS}


def test_right_designs_pass_and_mistakes_earn_their_hint_on_pairs_nobody_chose() -> None:
    for function in (TASK.reference, *TASK.alternatives):
        assert verdict_of(function, 11).points == TASK.points
    hints = [verdict_of(mistake.answer, 11).hint for mistake in TASK.misconceptions]
    assert hints == [mistake.hint for mistake in TASK.misconceptions]


def test_a_cheap_design_that_paints_nothing_sensible_earns_nothing_for_its_price() -> None:
    def cheap(sketch, photo, face):
        settings = {"num_inference_steps": 1, "ip_adapter_scale": 0.0, "controlnet_conditioning_scale": 0.0}
        return TASK.reference(sketch, photo, face) | settings

    verdict = verdict_of(cheap, 11)
    assert not verdict.passed
    assert verdict.points <= TASK.points // 4  # the prompt alone may be there


@needs_bwrap
def test_a_design_is_graded_behind_the_wall() -> None:
    """The sandbox gives back data; that it patched every library changes nothing out here."""
    hidden, packed = hidden_cases(TASK.id, "secret")
    solution = references.solution(TASK)
    patched = "import torch\nimport numpy as np\ntorch.nn.Module.__call__ = lambda *a, **k: None\nnp.mean = lambda *a: 1.0\n"
    surplus = solution.replace('"lora": True', '"lora": True, "evaluations": 0')
    assert surplus != solution
    with Sandbox(WALLS["sandboxed"](TASK.needs)) as sandbox:
        for source, points in ((solution, TASK.points), (patched + solution, TASK.points), (surplus, 0)):
            reply = sandbox.ask(run(source, packed), LIMITS)
            assert judged(TASK, hidden, reply, source, LIMITS)["points"] == points


def test_the_store_has_what_a_design_may_name() -> None:
    assert set(design.MEMBERS) <= set(store.members())
    files = {path.name for path in Path(store.unfold("ip-adapter"), "models").glob("*.safetensors")}
    assert set(design.SETTINGS["weight_name"].values) <= files
    assert json.loads(design.PATH.read_text())["pairs"] >= 2 * capstone.PAIRS
