"""Plain, sliced and fused attention are one function, and the layer is diffusers'."""

import pytest
import torch
from diffusers.models.attention_processor import Attention as TheirAttention
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_unets import CONFIGS, difference, inputs, randomise, reference_unet

from lessonlib.errors import LessonError
from lessonlib.scratch import attention
from lessonlib.scratch.attention import (
    Attention,
    plain_attention,
    sdpa,
    set_attention,
    sliced,
    sliced_attention,
)
from lessonlib.scratch.unet import UNet


def qkv(batch=2, heads=3, queries=5, keys=7, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, heads, n, dim) for n in (queries, keys, keys)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 8),
    st.integers(1, 13),
)
def test_three_ways_to_the_same_numbers(batch, heads, queries, keys, dim, slice_size):
    q, k, v = qkv(batch, heads, queries, keys, dim)
    expected = plain_attention(q, k, v)
    assert difference(sliced_attention(q, k, v, slice_size), expected) <= 1e-12
    assert difference(sdpa(q, k, v), expected) <= 1e-12


def test_attends_to_the_key_that_matches():
    keys = torch.eye(4, dtype=torch.float64)[None, None]
    values = torch.arange(4.0, dtype=torch.float64).reshape(1, 1, 4, 1).expand(1, 1, 4, 4)
    assert plain_attention(10000 * keys, keys, values)[0, 0, :, 0].tolist() == [0, 1, 2, 3]


def test_order_of_the_keys_does_not_matter():
    q, k, v = qkv()
    order = torch.randperm(7)
    assert difference(plain_attention(q, k[:, :, order], v[:, :, order]), plain_attention(q, k, v)) <= 1e-12


def test_a_slice_holds_no_more_scores_than_asked(monkeypatch):
    heads = []
    plain = plain_attention
    monkeypatch.setattr(
        attention, "plain_attention", lambda q, k, v: heads.append(q.shape[1]) or plain(q, k, v)
    )
    sliced_attention(*qkv(batch=2, heads=3), slice_size=4)
    assert heads == [4, 2]


def test_a_slice_of_nothing():
    with pytest.raises(LessonError, match="slice_size is 0"):
        sliced_attention(*qkv(), slice_size=0)


@pytest.mark.parametrize("processor", [AttnProcessor(), SlicedAttnProcessor(2), AttnProcessor2_0()])
@pytest.mark.parametrize("function", [plain_attention, sliced(2), sdpa])
@pytest.mark.parametrize("context", [None, 6], ids=["self", "cross"])
def test_layer_equals_diffusers(processor, function, context):
    theirs = randomise(TheirAttention(10, context, heads=2, dim_head=3, processor=processor)).double()
    ours = Attention(10, 2, 3, context).double()
    ours.load_state_dict(theirs.state_dict())
    ours.attention = function
    hidden_states = torch.randn(2, 5, 10, dtype=torch.float64)
    encoder_hidden_states = torch.randn(2, 7, context, dtype=torch.float64) if context else None
    with torch.no_grad():
        assert (
            difference(
                ours(hidden_states, encoder_hidden_states), theirs(hidden_states, encoder_hidden_states)
            )
            <= 1e-12
        )


@torch.no_grad()
def test_every_layer_of_a_unet_can_be_switched():
    config = CONFIGS["sdxl"]
    reference = reference_unet(config, torch.float64)
    unet = UNet.from_diffusers(reference.config, reference.state_dict())
    kwargs = inputs(config, torch.float64)
    expected = unet(**kwargs)
    calls = []
    set_attention(unet, lambda q, k, v: calls.append(q.shape) or plain_attention(q, k, v))
    assert difference(unet(**kwargs), expected) <= 1e-9
    assert len(calls) == sum(isinstance(module, Attention) for module in unet.modules())
