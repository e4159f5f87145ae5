"""The compact form: numbers that come back nearly as they were, in half a byte where a base is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonlib.models import compact


def restored(q, scale):
    return (q.float().flatten(1) * scale.float()[:, None]).view_as(q)


def test_a_clipped_scale_beats_the_largest_magnitude():
    torch.manual_seed(0)
    weight = torch.randn(8, 4096)
    q, scale = compact.quantise(weight)
    naive_scale = weight.abs().amax(1) / 127
    naive = (weight / naive_scale[:, None]).round() * naive_scale[:, None]
    ours, theirs = [(weight - w).square().sum(1) for w in (restored(q, scale), naive)]
    assert (ours < theirs).all()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.floats(-9, 4), st.sampled_from([(4, 16), (3, 8, 3, 3)]))
def test_never_worse_than_no_clipping_at_any_magnitude(seed, magnitude, shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10**magnitude
    weight[0] = 0
    q, scale = compact.quantise(weight)
    assert q.dtype == torch.int8
    assert q.abs().max() <= 127
    assert (restored(q, scale)[0] == 0).all()
    largest = weight.flatten(1).abs().amax(1)
    # Half a step of the unclipped grid bounds the error; float16 rounds the step by 2^-11 at most.
    error = (weight - restored(q, scale)).flatten(1).square().sum(1)
    bound = weight[0].numel() * (largest / 127 / 2 + largest * 2**-11) ** 2
    assert (error <= bound).all()


@pytest.mark.parametrize("count", [1, 8, 27])
def test_two_numbers_share_a_byte(count):
    q = torch.randint(-7, 8, (count,), generator=torch.Generator().manual_seed(count)).to(torch.int8)
    packed = compact.pack(q)
    assert len(packed) == (count + 1) // 2
    assert torch.equal(compact.unpack(packed, [count]), q)


def written(tmp_path, tensors, base=None, precise=()):
    path = tmp_path / ("difference" if base else "whole")
    path.write_bytes(compact.encode(compact.Plain("w.safetensors", tensors, {}), base=base, precise=precise))
    return path


def relative(error, of):
    return float(error.norm() / of.norm())


def test_a_small_difference_costs_half_the_bytes_and_no_more_precision(tmp_path):
    torch.manual_seed(0)
    old = {"m": torch.randn(256, 256)}
    new = {"m": old["m"] + 0.07 * torch.randn(256, 256)}
    base = compact.Base("old", "digest", old)
    whole, difference = written(tmp_path, new), written(tmp_path, new, base)
    assert difference.stat().st_size < 0.55 * whole.stat().st_size
    errors = [
        relative(compact.decode(path, given).tensors["m"] - new["m"], new["m"])
        for path, given in ((whole, None), (difference, base))
    ]
    assert errors[1] < 1.2 * errors[0] < 0.01
    assert compact.base_of(whole) is None
    assert compact.base_of(difference) == ("old", "digest")
    assert compact.parameters(whole) == compact.parameters(difference) == 256 * 256


def test_a_larger_difference_costs_less_than_the_whole_and_comes_back(tmp_path):
    torch.manual_seed(0)
    old = {"m": torch.randn(256, 256), "n": torch.randn(256, 256)}
    new = {"m": old["m"] + 0.4 * torch.randn(256, 256), "n": old["n"] + 0.07 * torch.randn(256, 256)}
    base = compact.Base("old", "digest", old)
    whole, difference = written(tmp_path, new), written(tmp_path, new, base)
    assert difference.stat().st_size < 0.65 * whole.stat().st_size
    for key, value in new.items():
        assert relative(compact.decode(difference, base).tensors[key] - value, value) < 0.02
    assert compact.parameters(difference) == 2 * 256 * 256


def test_what_must_be_precise_is_as_precise_as_the_whole(tmp_path):
    torch.manual_seed(0)
    old = {name: torch.randn(256, 256) for name in ("first.weight", "last.weight")}
    new = {name: value + 0.15 * torch.randn(256, 256) for name, value in old.items()}
    base = compact.Base("old", "digest", old)
    whole = compact.decode(written(tmp_path, new)).tensors
    path = written(tmp_path, new, base, ["last."])
    assert compact.precise_of(path) == ["last."]
    difference = compact.decode(path, base).tensors
    worse = {
        name: relative(difference[name] - value, value) / relative(whole[name] - value, value)
        for name, value in new.items()
    }
    assert 1.5 < worse["first.weight"] < compact.WORSE
    assert worse["last.weight"] < 1


def test_the_first_and_the_last_convolution_of_a_unet_stay_float16(tmp_path):
    torch.manual_seed(0)
    weights = {name: torch.randn(64, 4, 3, 3) for name in (*compact.EDGES, "down_blocks.0.conv.weight")}
    back = compact.decode(written(tmp_path, weights)).tensors
    errors = [relative(back[name] - value, value) for name, value in weights.items()]
    assert max(errors[:2]) < 3e-4 < errors[2]


def test_a_difference_as_large_as_the_weights_is_not_worth_its_error(tmp_path):
    torch.manual_seed(0)
    old = {"m": torch.randn(64, 64)}
    new = {"m": torch.randn(64, 64)}
    base = compact.Base("old", "digest", old)
    difference, whole = written(tmp_path, new, base), written(tmp_path, new)
    assert difference.read_bytes() == whole.read_bytes()
    assert compact.base_of(difference) is None


def test_what_the_base_does_not_have_stands_alone(tmp_path):
    torch.manual_seed(0)
    old = {"m": torch.randn(64, 64), "shape": torch.randn(64, 16, 3, 3), "b": torch.randn(64)}
    new = {
        "m": old["m"] + 0.1,
        "shape": torch.randn(64, 32, 3, 3),
        "b": old["b"] + 0.1,
        "n": torch.randn(64, 64),
    }
    base = compact.Base("old", "digest", old)
    back = compact.decode(written(tmp_path, new, base), base).tensors
    assert back.keys() == new.keys()
    for key, value in new.items():
        assert back[key].shape == value.shape
        assert relative(back[key] - value, value) < 0.01
