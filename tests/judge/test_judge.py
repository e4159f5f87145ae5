"""The shipped judge on real scenes: what it must know, bear and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.judge import loading
from lessonlib.judge.evaluate import dense_errors, evaluate_real
from lessonlib.judge.loading import CARD, WEIGHTS, Judge, load_judge
from lessonlib.judge.scoring import Score, score
from lessonlib.world.render import Rendered, render

Drawn = dict[str, list[Rendered]]
PACKAGE = Path(loading.__file__).parent


@pytest.fixture(scope="module")
def scores(judge: Judge, drawn: Drawn) -> dict[str, Score]:
    return {
        split: score([one.image for one in some], [one.scene for one in some], judge)
        for split, some in drawn.items()
    }


REPORT = Path(__file__).parents[2] / "docs/zoo.json"
MEASURED = [row for row in json.loads(REPORT.read_text()) if row["member"] == "judge"]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['metric']}, {row['split']}")
def test_real_scenes_are_read_as_well_as_the_report_says(scores: dict[str, Score], row: dict) -> None:
    """The report's figure and this one, on fewer and other scenes, lie within both's 95 % intervals."""
    rate = scores[row["split"]].rates().get(row["metric"]) if row["split"] in scores else None
    if rate is None:
        pytest.skip("measured over all splits, or of too few scenes here")
    assert rate.high >= row["low"], f"{rate} against {row['value']}"


def test_empty_scenery_holds_nobody(judge: Judge, drawn: Drawn) -> None:
    verdicts = judge.judge([one.image for one in drawn["scenery"]])
    assert not any(verdict.person for verdict in verdicts)


def test_a_wrong_wish_scores_near_chance(judge: Judge, drawn: Drawn) -> None:
    scenes = [one.scene for one in drawn["seen"]]
    rates = score([one.image for one in drawn["seen"]], scenes[1:] + scenes[:1], judge).rates()
    assert rates["object"].value < 0.1
    assert rates["background"].value < 0.2


def test_boxes_and_centroids_are_in_pixels(judge: Judge, drawn: Drawn) -> None:
    distances, overlaps = [], []
    for one, verdict in zip(drawn["seen"], judge.judge([one.image for one in drawn["seen"]]), strict=True):
        found, mask, asked = verdict.find(one.scene.things[0].name), one.mask(0), one.boxes[0]
        if found is None or asked is None:
            continue
        ys, xs = np.nonzero(mask)
        distances.append(np.hypot(found.centroid[0] - xs.mean() - 0.5, found.centroid[1] - ys.mean() - 0.5))
        x0, y0, x1, y1 = (f(a, b) for f, a, b in zip((max, max, min, min), found.box, asked, strict=True))
        both = max(x1 - x0, 0) * max(y1 - y0, 0)
        area = lambda b: (b[2] - b[0]) * (b[3] - b[1])  # noqa: E731
        overlaps.append(both / (area(found.box) + area(asked) - both))
    assert np.median(distances) < 4
    assert np.median(overlaps) > 0.7


def test_dense_maps_are_close_to_the_truth(judge: Judge, drawn: Drawn) -> None:
    some = [*drawn["seen"], *drawn["person"]]
    errors = [
        dense_errors(one, v) for one, v in zip(some, judge.judge([one.image for one in some]), strict=True)
    ]
    assert np.mean([e["depth_rmse"] for e in errors]) < 0.11
    assert np.mean([e["normal_angle"] for e in errors]) < 15
    assert np.mean([e["miou"] for e in errors]) > 0.75
    assert np.mean([e["pck"] for e in errors if "pck" in e]) > 0.95


def soften(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 0.6)


def sprinkle(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def compress(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_COLOR)


def tint(image: np.ndarray) -> np.ndarray:
    return (image * [1.04, 0.98, 0.95] + [3, -3, 4]).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("damage", [soften, sprinkle, compress, tint])
def test_mild_damage_changes_little(judge: Judge, drawn: Drawn, damage) -> None:
    rates = score(
        [damage(one.image) for one in drawn["seen"]], [one.scene for one in drawn["seen"]], judge
    ).rates()
    clean = score([one.image for one in drawn["seen"]], [one.scene for one in drawn["seen"]], judge).rates()
    for question in ("object", "background", "style"):
        assert rates[question].value >= clean[question].value - 0.1, question


@pytest.mark.parametrize(("height", "width"), [(256, 256), (128, 192), (192, 128), (96, 96), (136, 160)])
def test_any_size_is_judged_in_its_own_pixels(judge: Judge, drawn: Drawn, height: int, width: int) -> None:
    # drawn at that size, and back in the middle of the styles the size does not change (pixel art has blocks
    # of 3 pixels)
    some = [render(one.scene, height, width) for one in drawn["seen"][:24]]
    scored = score([one.image for one in some], [one.scene for one in some], judge)
    at_128 = score([one.image for one in drawn["seen"][:24]], [one.scene for one in some], judge)
    assert scored.rates()["object"].value >= at_128.rates()["object"].value - 0.2
    misses = []
    for one, verdict in zip(some, scored.verdicts, strict=True):
        found = verdict.find(one.scene.things[0].name)
        assert (verdict.width, verdict.height) == (width, height)
        if found is not None:
            misses.append(abs(found.centroid[0] - one.scene.things[0].x * width) / min(height, width))
    assert np.median(misses) < 0.05


def test_pictures_may_be_pil_floats_or_of_mixed_sizes(judge: Judge, drawn: Drawn) -> None:
    image = drawn["seen"][0].image
    wide = np.concatenate([image, image], axis=1)
    expected = judge.judge(image)[0]
    for same in (Image.fromarray(image), image.astype(np.float32) / 255, [image]):
        assert judge.judge(same)[0].presence == expected.presence
    mixed = judge.judge([image, Image.fromarray(wide), image])
    assert [verdict.width for verdict in mixed] == [128, 256, 128]
    np.testing.assert_allclose(mixed[2].features, expected.features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((64, 64), np.float32)[..., None],
        np.full((64, 64, 3), 2.0),
        ["apple.png"],
        7,
    ],
)
def test_what_is_no_picture_is_refused(judge: Judge, wrong) -> None:
    with pytest.raises(LessonError):
        judge.judge(wrong)


def test_prompts_must_match_pictures(judge: Judge, drawn: Drawn) -> None:
    with pytest.raises(LessonError, match="2 pictures"):
        score([drawn["seen"][0].image] * 2, ["an apple"], judge)


# --- weights ---


def test_weights_are_small_and_read_once(judge: Judge) -> None:
    assert (PACKAGE / WEIGHTS).stat().st_size <= 2_000_000
    assert load_judge() is judge


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in (WEIGHTS, CARD):
        shutil.copy(PACKAGE / name, tmp_path / name)
    return tmp_path


def test_altered_weights_are_named(copy: Path) -> None:
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-100] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(LessonError, match=r"weights\.safetensors.*SHA-256"):
        load_judge(copy)


def test_truncated_weights_are_named(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(LessonError, match="SHA-256"):
        load_judge(copy)


def test_missing_weights_and_a_damaged_card_are_named(copy: Path) -> None:
    (copy / CARD).write_text("{")
    with pytest.raises(LessonError, match=r"weights\.json is damaged"):
        load_judge(copy)
    (copy / WEIGHTS).unlink()
    with pytest.raises(LessonError, match=r"weights\.safetensors is missing"):
        load_judge(copy)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    import hashlib

    from safetensors.torch import load_file, save

    state = load_file(copy / WEIGHTS)
    state.pop("answer.bias")
    data = save(state)
    (copy / WEIGHTS).write_bytes(data)
    (copy / CARD).write_text(json.dumps({"sha256": hashlib.sha256(data).hexdigest()}))
    with pytest.raises(LessonError, match="another network"):
        load_judge(copy)


# --- the report's rows ---


def test_evaluation_rows_are_the_report_s(judge: Judge) -> None:
    rows = evaluate_real(6, seed=3, judge=judge)
    assert all(set(row) == {"metric", "split", "value", "low", "high", "n"} for row in rows)
    told = {(row["metric"], row["split"]) for row in rows}
    assert {
        ("object", "seen"),
        ("object", "held-out"),
        ("both objects", "pair"),
        ("outfit", "person"),
    } <= told
    assert {("pck", "all"), ("miou", "all"), ("kid", "seen")} <= told
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    assert evaluate_real(6, seed=3, judge=judge) == rows
