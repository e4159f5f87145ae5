"""Whatever a function returns is taken apart into plain data, or named as what cannot be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib.grading.answers import DEPTH, LARGEST, PARTS, Output, Prose, read


class Pair(NamedTuple):
    first: int
    second: str


@pytest.mark.parametrize(
    ("value", "kind", "dtype", "shape"),
    [
        (torch.zeros(2, 3), "tensor", "torch.float32", (2, 3)),
        (torch.zeros(2, dtype=torch.uint8), "tensor", "torch.uint8", (2,)),
        (np.zeros((2, 3), np.uint8), "array", "uint8", (2, 3)),
        (Image.new("RGB", (5, 4)), "image", "RGB", (4, 5, 3)),
        (Image.new("L", (5, 4)), "image", "L", (4, 5)),
        (7, "number", "int", ()),
        (7.5, "number", "float", ()),
        (np.float32(7.5), "number", "float", ()),
        (True, "number", "bool", ()),
    ],
)
def test_values_keep_their_kind_dtype_and_shape(value, kind: str, dtype: str, shape: tuple) -> None:
    output = read(value)
    assert (output.kind, output.dtype) == (kind, dtype)
    assert output.values is not None
    assert output.values.shape == shape
    assert np.array_equal(output.values, np.asarray(value))
    assert list(output.leaves) == [""]


def test_whole_numbers_stay_exact() -> None:
    big = 2**53 + 1
    for value in (big, torch.tensor(big), np.array(big)):
        assert read(value).values == big


def test_groups_are_flat_and_name_their_parts() -> None:
    output = read({"b": [1, (torch.ones(2), "x")], "a": Pair(3, "y")})
    assert output.kind == "group"
    assert list(output.parts) == ["['a'][0]", "['a'][1]", "['b'][0]", "['b'][1][0]", "['b'][1][1]"]
    assert output.parts["['a'][1]"].about == "y"
    assert output.parts["['b'][1][0]"].shape == (2,)


def test_a_module_is_its_state_dict() -> None:
    output = read(torch.nn.Conv2d(2, 3, 1))
    assert output.about == "Conv2d"
    assert {path: part.shape for path, part in output.parts.items()} == {
        ".weight": (3, 2, 1, 1),
        ".bias": (3,),
    }


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else [1]


def circle() -> list:
    ring: list = []
    ring.append(ring)
    return ring


class Sly(dict):
    def __getitem__(self, key):
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"bytes",
        {1, 2},
        1j,
        1 << 70,
        (1, None),
        (1, ...),
        [1, object()],
        list(range(PARTS + 1)),
        [torch.zeros(LARGEST // 2 + 1)] * 2,
        nested(DEPTH + 1),
        circle(),
        Sly(a=1),
        np.array(["text"]),
        np.array([object()]),
        np.ma.masked_array([1.0, 2.0]),
        torch.zeros(2, dtype=torch.complex64),
        (torch.nn.Parameter(torch.zeros(2)),),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_named(value) -> None:
    output = read(value)
    assert output.kind == "object"
    assert output.about
    assert not output.answered


def test_prose_is_told_from_text_that_counts() -> None:
    assert read("b") == Output("text", about="b")
    assert read(Prose("b")).dtype == "prose"
