"""The measured settings: complete, and such that the experiment on them can be won and lost on every draw."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lessonlib.errors import LessonError
from lessonlib.grading import measured, tasks
from lessonlib.grading.tasks import choose_settings

DRAWS = range(300)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Another, empty place for the file."""
    monkeypatch.setattr(measured, "PATH", tmp_path / "measured" / "settings.json")
    measured.table.cache_clear()
    yield tmp_path / "measured" / "settings.json"
    measured.table.cache_clear()


def met(settings: dict, seed: int) -> bool:
    experiment = tasks.get("choose_settings").experiment
    assert experiment is not None
    measures = experiment.measure([settings], [seed])
    return all(goal.met(measures[goal.measure]) for goal in experiment.goals)


def test_every_cell_has_a_share_for_every_scene() -> None:
    table = measured.table()
    assert set(table["pictures"]) == {measured.key(*cell) for cell in measured.cells()}
    assert len(table["prompts"]) == table["scenes"] >= 9
    assert all(0 <= share <= 1 for shares in table["pictures"].values() for share in shares)


def test_more_steps_and_guidance_help_up_to_a_point() -> None:
    scenes = range(measured.table()["scenes"])
    for sampler in measured.SAMPLERS:
        guided = [measured.fidelity(sampler, steps, 2.5, scenes) for steps in measured.STEPS]
        assert guided[0] < guided[1]
        assert abs(guided[3] - guided[2]) < guided[1] - guided[0]
        assert guided[1] > measured.fidelity(sampler, 8, 1.0, scenes)  # for the same number of evaluations


def test_right_settings_pass_and_known_mistakes_fail_on_every_draw() -> None:
    task = tasks.get("choose_settings")
    for seed in DRAWS:
        for right in (task.reference, *task.alternatives):
            assert met(right(), seed)
        for misconception in task.misconceptions:
            assert not met(misconception.answer(), seed)


def test_no_setting_below_the_budget_reaches_the_goal_on_all_scenes() -> None:
    """So that the price asked for is the least."""
    scenes = range(measured.table()["scenes"])
    best = max(measured.fidelity(*cell, scenes) for cell in measured.cells())
    good = [c for c in measured.cells() if measured.fidelity(*c, scenes) >= choose_settings.SHARE * best]
    assert min(measured.evaluations(steps, scale) for _, steps, scale in good) == choose_settings.BUDGET


def test_practice_and_grading_see_different_scenes() -> None:
    draws = {tuple(measured.drawn(seed)) for seed in DRAWS}
    assert len(draws) > 50
    assert all(len(set(draw)) == len(draw) < measured.table()["scenes"] for draw in draws)
    assert measured.drawn(1) == measured.drawn(1)


def test_a_damaged_file_is_one_sentence(fresh: Path) -> None:
    with pytest.raises(LessonError, match="measure again"):
        measured.table()
    fresh.parent.mkdir()
    fresh.write_text(json.dumps({"scenes": 2, "prompts": [], "pictures": {}}))
    with pytest.raises(LessonError, match="missing or damaged"):
        measured.table()


def test_measuring_writes_what_the_table_reads(fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(measured, "SAMPLERS", {"ddim": "DDIMScheduler"})
    monkeypatch.setattr(measured, "STEPS", (1,))
    monkeypatch.setattr(measured, "GUIDANCE", (1.0,))
    monkeypatch.setattr(measured, "SPLITS", ("seen",))
    fresh.parent.mkdir()
    measured.measure(scenes_a_split=1)
    assert list(measured.table()["pictures"]) == ["ddim 1 1"]
    assert 0 <= measured.fidelity("ddim", 1, 1.0, [0]) <= 1
    assert "ddim 1 1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["measured", "design"])
def test_asked_for_help_or_for_nonsense_a_record_is_not_made_anew(name: str) -> None:
    for word, code in (("--help", 0), ("anew", 2)):
        command = [sys.executable, "-m", f"lessonlib.grading.{name}", word]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode == code
        assert f"usage: python -m lessonlib.grading.{name}" in ran.stdout + ran.stderr
