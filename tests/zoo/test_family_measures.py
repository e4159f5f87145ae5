"""What the report measures of taesd, SDXL and the few-step models: arithmetic on made-up pictures, and a whole run."""

import numpy as np
import pytest

from lessonlib.zoo.measures import compared, sdxl, taesd
from lessonlib.zoo.measures.rows import Row


def test_a_ratio_is_of_means_and_its_interval_holds_it():
    ours, theirs = [True] * 90 + [False] * 10, [True] * 100
    found = compared.ratio(ours, theirs)
    assert found.value == pytest.approx(0.9)
    assert 0.82 < found.low < 0.9 < found.high < 0.97


def test_what_both_share_cancels_in_a_ratio():
    same = [True, False] * 50
    assert compared.ratio(same, same)[:3] == (1.0, 1.0, 1.0)


def test_kept_counts_only_questions_asked_of_both():
    ours = [{"object": True}, {"object": False}, {"background": True}]
    theirs = [{"object": True}, {"object": True}, {"background": True}]
    assert compared.kept(ours, theirs, "object").value == 0.5
    assert compared.kept(ours, theirs, "object").n == 2
    assert np.isnan(compared.kept(ours, theirs, "style").value)


def test_sharper_pictures_gain_and_nearer_ones_too():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    soft = np.stack([np.asarray(one, np.float32) for one in sharp])
    soft = ((soft + np.roll(soft, 1, 1) + np.roll(soft, 1, 2)) / 3).astype(np.uint8)
    assert compared.sharpness_gain(sharp, soft).low > 0
    assert compared.nearer_in_sharpness(sharp, soft, sharp).low > 0
    assert compared.nearer_in_sharpness(soft, sharp, sharp).high < 0


def test_a_collapsed_student_keeps_no_diversity():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(5, 4, 8))
    assert compared.diversity_kept(np.repeat(teacher[:, :1], 4, axis=1), teacher).value == pytest.approx(
        0, abs=1e-6
    )
    assert compared.diversity_kept(teacher, teacher).value == 1.0


def test_a_gain_reaches_its_bar_only_with_its_whole_interval():
    gain = Row("model", "kid_gain", "seen", 0.5, -0.1, 1.0, 100, bar=0.0)
    assert gain.reached is False
    assert Row("model", "object", "seen", 0.5, -0.1, 1.0, 100, bar=0.0).reached is True


def test_correlation_finds_the_asked_shift_and_admits_nothing():
    rng = np.random.default_rng(0)
    pairs = [(shift, shift + rng.normal(0, 4)) for shift in (0, 16, 32) for _ in range(20)]
    found = sdxl.correlation(pairs)
    assert found.value > 0.9
    assert found.low < found.value < found.high
    assert np.isnan(sdxl.correlation([(0, 1.0)] * 9).value)


def test_speedup_is_the_slow_ones_time_over_the_fast_ones(monkeypatch):
    now = [0.0]

    def taking(seconds):
        def call():
            now[0] += seconds

        return call

    monkeypatch.setattr(taesd.time, "perf_counter", lambda: now[0])
    assert taesd.speedup(taking(1.0), taking(6.0), count=5).value == pytest.approx(6.0)
