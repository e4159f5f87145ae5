"""What comes out of the sandbox is either exactly what `pack_outputs` writes, or refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save

from lessonlib.grading.answers import Output, read
from lessonlib.grading.sandbox.wire import (
    ForgedError,
    frame,
    frames,
    pack_inputs,
    pack_outputs,
    receive,
    send,
    unpack_inputs,
    unpack_outputs,
)


def test_messages_arrive_as_they_were_sent() -> None:
    stream = io.BytesIO()
    send(stream, b"one", b"", b"three")
    stream.seek(0)
    assert receive(stream, 100) == [b"one", b"", b"three"]
    with pytest.raises(EOFError):
        receive(stream, 100)


def test_a_message_that_claims_too_much_is_not_read() -> None:
    stream = io.BytesIO(b"\x01" + (1 << 60).to_bytes(8, "little") + b"x")
    with pytest.raises(ForgedError):
        receive(stream, 1 << 20)


def test_inputs_of_every_kind_arrive() -> None:
    inputs = {
        "latents": torch.randn(2, 3).transpose(0, 1),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "ids": torch.tensor([1, 2]),
        "map": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "picture": Image.new("RGB", (3, 2), (1, 2, 3)),
        "options": {"scale": 7.5, "sizes": [(64, 32), None, True], "name": "canny"},
        "several": [torch.zeros(1), np.ones(2, np.float32)],
    }
    (back,) = unpack_inputs(pack_inputs([inputs]))
    assert list(back) == list(inputs)
    assert torch.equal(back["latents"], inputs["latents"])
    assert back["half"].dtype == torch.bfloat16
    assert back["map"].dtype == np.uint8
    assert (back["map"] == inputs["map"]).all()
    assert back["picture"].getpixel((0, 0)) == (1, 2, 3)
    assert back["options"] == inputs["options"]
    assert isinstance(back["several"][1], np.ndarray)


@pytest.mark.parametrize(
    "value",
    [
        torch.randn(2, 0, 3),
        torch.tensor([True, False]),
        torch.tensor(float("nan")),
        np.arange(4, dtype=np.uint8),
        3,
        2.5,
        "words",
        (torch.ones(2), {"scale": 1.0, "name": "x"}),
        torch.nn.Linear(2, 3),
        None,
        ...,
        object(),
        torch.zeros(1).expand(1 << 25),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outputs_of_every_kind_arrive(value: object) -> None:
    output = read(value)
    (back,) = unpack_outputs(pack_outputs([output]), 1)
    assert (back.kind, back.about, back.shape, back.dtype) == (
        output.kind,
        output.about,
        output.shape,
        output.dtype,
    )
    assert list(back.parts) == list(output.parts)
    for path, part in output.leaves.items():
        other = back.leaves[path]
        assert (part.values is None) == (other.values is None)
        if part.values is not None and other.values is not None:
            np.testing.assert_array_equal(other.values, part.values)
            assert other.values.dtype == part.values.dtype


def forged(notes: object, **arrays: np.ndarray) -> bytes:
    return save(arrays, {"lesson": json.dumps(notes)})


NOTE = {
    "kind": "tensor",
    "about": "",
    "line": "",
    "shape": [2],
    "dtype": "torch.float32",
    "values": "0",
    "parts": [],
}
TWO = np.zeros(2)


@pytest.mark.parametrize(
    "data",
    {
        "nothing": b"",
        "noise": b"\x80\x04\x95" * 100,
        "a header longer than the message": (1 << 40).to_bytes(8, "little") + b"{}",
        "nested JSON": (100_000).to_bytes(8, "little") + b"[" * 100_000,
        "no metadata": save({"0": TWO}),
        "no list": forged({"kind": "passed"}),
        "too many": forged([NOTE | {"values": ""}] * 4),
        "an unknown kind": forged([NOTE | {"kind": "passed"}], **{"0": TWO}),
        "a kind that is no text": forged([NOTE | {"kind": ["tensor"]}], **{"0": TWO}),
        "another shape": forged([NOTE | {"shape": [3]}], **{"0": TWO}),
        "a negative shape": forged([NOTE | {"values": "", "shape": [-1]}]),
        "a shape of texts": forged([NOTE | {"values": "", "shape": ["2"]}]),
        "missing values": forged([NOTE]),
        "values of another type": forged([NOTE], **{"0": TWO.astype(np.float16)}),
        "values of a text": forged([NOTE | {"kind": "text"}], **{"0": TWO}),
        "a long text": forged([NOTE | {"kind": "text", "values": "", "about": "x" * 100_000}]),
        "a group in a group": forged(
            [NOTE | {"kind": "group", "values": "", "parts": [["a", NOTE | {"kind": "group", "values": ""}]]}]
        ),
        "parts of a tensor": forged([NOTE | {"values": "", "parts": [["a", NOTE]]}], **{"0": TWO}),
        "parts without number": forged(
            [NOTE | {"kind": "group", "values": "", "parts": [["a", NOTE | {"values": ""}]] * 1000}]
        ),
    }.values(),
)
def test_what_is_forged_is_refused(data: bytes) -> None:
    with pytest.raises(ForgedError):
        unpack_outputs(data, 3)


def test_an_error_keeps_its_words_within_limits() -> None:
    (back,) = unpack_outputs(pack_outputs([Output("error", about="x" * 10**6, line="y" * 10**6)]), 1)
    assert len(back.about) <= 1 << 14
    assert len(back.line) <= 1000


def test_frames_end_where_the_stream_breaks_off() -> None:
    stream = b"".join(map(frame, (b"one", b"", b"three")))
    assert frames(stream, 9) == ([b"one", b"", b"three"], b"")
    assert frames(stream, 2) == ([b"one", b""], frame(b"three"))
    assert frames(stream[:-1], 9) == ([b"one", b""], frame(b"three")[:-1])
    assert frames(b"\xff" * 64, 9) == ([], b"\xff" * 64)
    assert frames(b"", 9) == ([], b"")
