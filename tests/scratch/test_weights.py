"""Weights load whole or not at all, and what does not fit is named."""

import pytest
import torch
from torch import nn

from lessonlib.errors import LessonError
from lessonlib.scratch.weights import load_weights


def test_loads_what_fits():
    model = nn.Linear(2, 3)
    load_weights(model, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)})
    assert torch.equal(model.weight, torch.ones(3, 2))


def test_names_everything_that_does_not_fit_and_copies_nothing():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wrong = {
        "0.weight": torch.ones(2, 3),
        "0.bias": torch.zeros(3),
        "1.bias": torch.zeros(1),
        "2.bias": torch.zeros(1),
    }
    expected = (
        r"Sequential: missing 1\.weight; unknown 2\.bias; misshapen 0\.weight \(2, 3\) instead of \(3, 2\)"
    )
    with pytest.raises(LessonError, match=expected):
        load_weights(model, wrong)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_counts_what_it_does_not_name():
    with pytest.raises(LessonError, match=r"unknown a0, a1, a2, a3, a4 and 2 more"):
        load_weights(nn.Identity(), {f"a{i}": torch.zeros(1) for i in range(7)})
