"""The capstone's designs on random models: what is painted, what it costs, and how sure a bar is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_adapters import add_adapters
from random_variants import make_family

from lessonlib.errors import LessonError
from lessonlib.grading import design
from lessonlib.grading.experiment import Settings

SEED = 3
SETTINGS: Settings = {
    "controlnet": "controlnet-scribble",
    "weight_name": "ip-adapter-full-face_sd15.safetensors",
    "lora": True,
    "scheduler": "LCMScheduler",
    "num_inference_steps": 2,
    "guidance_scale": 1.0,
    "controlnet_conditioning_scale": 1.0,
    "control_guidance_start": 0.0,
    "control_guidance_end": 1.0,
    "ip_adapter_scale": 0.6,
}


@pytest.fixture(scope="module", autouse=True)
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The store holds random models of the real classes."""
    folder = tmp_path_factory.mktemp("family")
    make_family(folder)
    add_adapters(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESSON_WEIGHTS", str(folder / "weights"))
        patch.setenv("LESSON_CACHE", str(folder / "cache"))
        _forget()
        yield
    _forget()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Measurements in which each score is 0 or 1, and the design called bad is worse."""
    rng = np.random.default_rng(1)
    scores = {name: rng.integers(0, 2, 60) for name in (design.REFERENCE, design.AGAIN, "bad")}
    scores["bad"] = np.clip(scores[design.REFERENCE] - (rng.random(60) < 0.7), 0, 1)
    note = {
        "pairs": 60,
        "shares": {name: dict.fromkeys(design.MEASURES, one.tolist()) for name, one in scores.items()},
    }
    monkeypatch.setattr(design, "PATH", tmp_path / "capstone.json")
    design.PATH.write_text(json.dumps(note))
    design.table.cache_clear()
    yield design.PATH
    design.table.cache_clear()


def _forget() -> None:
    design._painted.clear()
    design._pipeline.cache_clear()


def full(**changes: Any) -> Settings:
    """A design for the pair of `SEED`, with some of its settings changed."""
    pair = design.pair(SEED)
    left, top, right, bottom = pair.face
    pictures = {"control": 255 - pair.sketch, "reference": pair.photo[top:bottom, left:right]}
    return pictures | SETTINGS | changes


def painted(**changes: Any) -> design.Painted:
    return design.paint(full(**changes), "a person at the beach", SEED)


def test_a_design_has_every_setting() -> None:
    assert full().keys() == design.SETTINGS.keys()
    assert all(value in design.SETTINGS[name] for name, value in full().items())


@pytest.mark.parametrize(
    ("steps", "guidance", "evaluations"), [(1, 1.0, 1), (3, 1.0, 3), (3, 1.5, 6), (2, 7.5, 4)]
)
def test_evaluations_are_counted_where_they_happen(steps: int, guidance: float, evaluations: int) -> None:
    assert painted(num_inference_steps=steps, guidance_scale=guidance).evaluations == evaluations


@pytest.mark.parametrize(
    "change",
    [
        {"control": np.zeros((128, 128, 3), np.uint8)},
        {"reference": np.zeros((64, 64, 3), np.uint8)},
        {"controlnet": "controlnet-canny"},
        {"weight_name": "ip-adapter_sd15.safetensors"},
        {"lora": False},
        {"scheduler": "DDIMScheduler"},
        {"num_inference_steps": 3},
        {"guidance_scale": 2.0},
        {"controlnet_conditioning_scale": 0.5},
        {"control_guidance_start": 0.4},
        {"control_guidance_end": 0.5},
        {"ip_adapter_scale": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_is_painted_by(change: Settings) -> None:
    steps = (
        {"num_inference_steps": 3} if "start" in str(change) else {}
    )  # of two steps neither would be left out
    assert not np.array_equal(painted(**steps).picture, painted(**steps | change).picture)


def test_what_was_painted_before_leaves_nothing_behind() -> None:
    first = painted().picture
    painted(scheduler="UniPCMultistepScheduler", ip_adapter_scale=1.5, num_inference_steps=4)
    design._painted.clear()
    assert np.array_equal(painted().picture, first)


def test_a_picture_is_painted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = painted()
    monkeypatch.setattr(design, "_paint", lambda *_: pytest.fail("painted again"))
    assert painted() is first
    with pytest.raises(pytest.fail.Exception):
        painted(ip_adapter_scale=0.61)


def test_the_course_s_own_design_is_as_good_as_itself() -> None:
    found = design.against([full()], [full()], [SEED])
    assert found == {"layout": 0.0, "identity": 0.0, "prompt": 0.0, "evaluations": 2.0}


def test_the_sheet_shows_sketch_photo_control_and_two_pictures() -> None:
    picture, caption = design.sheet([full()], [full(lora=False)], [SEED])
    assert picture.size == (5 * 128, 128)
    assert design.pair(SEED).prompt in caption
    columns = np.split(np.asarray(picture), 5, axis=1)
    assert np.array_equal(columns[3], design.paint(full(lora=False), design.pair(SEED).prompt, SEED).picture)


def test_the_margin_is_what_chance_takes_from_an_equal() -> None:
    """An equally good design, simulated, misses a bar of its own deviation once in a hundred gradings."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.3, (200_000, 16)).mean(1)
    assert (means < -design.Z * 0.3 / 16**0.5).mean() == pytest.approx(0.01, abs=0.001)


def test_bars_come_from_the_measurements(measured: Path) -> None:
    shares = json.loads(measured.read_text())["shares"]
    differences = np.subtract(shares[design.REFERENCE]["layout"], shares[design.AGAIN]["layout"])
    lost = [*differences, 1]  # scores are 0 or 1: an answer is a whole
    assert design.margin("layout", 16) == pytest.approx(design.Z * np.std(lost, ddof=1) / 4)
    assert design.margin("layout", 64) == pytest.approx(design.margin("layout", 16) / 2)
    assert design.refused(design.REFERENCE, 16) == 0
    assert design.refused(design.AGAIN, 16) < 0.1
    assert design.refused("bad", 40) > 0.9


def test_what_was_lost_in_no_measured_pair_may_be_lost_once(measured: Path) -> None:
    """Of 16 pairs' answers, three a pair, one may be lost by chance and two may not."""
    right, worse = [1.0] * 48, [2 / 3, 0.0, 1.0] * 16
    note = {
        "shares": {
            name: dict.fromkeys(design.MEASURES, scores)
            for name, scores in ((design.REFERENCE, right), (design.AGAIN, right), ("worse", worse))
        }
    }
    measured.write_text(json.dumps(note))
    design.table.cache_clear()
    assert 1 / 48 < design.margin("prompt", 16) < 2 / 48


def test_missing_measurements_are_one_sentence(measured: Path) -> None:
    measured.write_text("{}")
    design.table.cache_clear()
    with pytest.raises(LessonError, match="measure again"):
        design.margin("layout", 16)
