"""The student's loop keeps to its clock and tells what it learned."""

import json
from itertools import count

import pytest
import torch

from lessonlib.zoo.student.learning import Point, learn, line, save_curve


def trained(minutes=1.0, points=5, seconds_a_look=0.5, **settings):
    weight = torch.nn.Parameter(torch.zeros(1))
    ticks = count()
    rates = []

    def loss(step):
        rates.append(step.index)
        return (weight - 3 + 0.01 * torch.randn(1, generator=step.torch)).square().sum()

    curve = learn(
        [{"params": [weight], "lr": 0.2}],
        loss,
        lambda: {"weight": float(weight.detach()) / 3},
        minutes,
        points=points,
        clock=lambda: next(ticks) * seconds_a_look,
        **settings,
    )
    return weight, curve, rates


def test_it_learns_within_its_minutes():
    weight, curve, _ = trained()
    assert weight.item() == pytest.approx(3, abs=0.1)
    assert curve[-1].seconds <= 60 + 2
    assert curve[-1].loss < 0.1 * curve[1].loss


def test_the_curve_begins_before_training_and_has_as_many_points_as_asked():
    _, curve, steps = trained(points=5)
    assert len(curve) == 5
    assert (curve[0].step, curve[0].measured) == (0, {"weight": 0.0})
    assert curve[-1].step == len(steps) == steps[-1] + 1
    assert [p.seconds for p in curve] == sorted(p.seconds for p in curve)


def test_what_is_prepared_lies_between_the_first_two_points():
    done = []
    _, curve, steps = trained(points=5, prepare=lambda: done.append(True))
    assert done == [True]
    assert [p.step for p in curve[:2]] == [0, 0]
    assert curve[0].seconds < curve[1].seconds
    assert len(curve) == 5
    assert curve[-1].step == len(steps) > 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    assert torch.equal(trained(seed=1)[0], trained(seed=1)[0])
    assert not torch.equal(trained(seed=1)[0], trained(seed=2)[0])


def test_a_curve_is_saved_and_said(tmp_path):
    curve = [Point(0.0, 0, None, {"object": 0.25}), Point(60.0, 100, 0.5, {"object": 1.5})]
    save_curve(curve, tmp_path)
    assert json.loads((tmp_path / "curve.json").read_text())[1]["measured"] == {"object": 1.5}
    assert (tmp_path / "curve.png").stat().st_size > 1000
    assert "█████ " in line(curve[0], "object")
    assert "loss" not in line(curve[0], "object")
    assert line(curve[1], "object").count("█") == 20
