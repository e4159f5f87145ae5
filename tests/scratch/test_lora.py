"""LoRA from scratch is peft's: beside the weights, scaled, merged, and from the files in use."""

import pytest
import torch
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from tiny_unets import CONFIGS, TOLERANCE, difference, inputs, reference_unet
from torch import nn

from lessonlib.errors import LessonError
from lessonlib.scratch.ip_adapter import add_ip_adapters, remove_ip_adapters
from lessonlib.scratch.lora import LoRALayer, LowRank, apply_lora, merge_lora, remove_lora, scale_lora
from lessonlib.scratch.unet import UNet

# what the LCM-LoRAs change: attention, feed-forward, convolutions and time projections
TARGETS = [
    *(
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "proj_in",
        "proj_out",
        "ff.net.0.proj",
        "ff.net.2",
        "time_emb_proj",
    ),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
]
RANK, ALPHA = 3, 6


def models(name="sd15", dtype=torch.float32):
    """Our plain UNet, diffusers' with a random LoRA by peft, and the LoRA's weights."""
    reference = reference_unet(CONFIGS[name])
    unet = UNet.from_diffusers(reference.config, reference.state_dict()).to(dtype).eval()
    reference.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS))
    generator = torch.Generator().manual_seed(3)
    for key, parameter in reference.named_parameters():
        if "lora_" in key:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    state_dict = get_peft_model_state_dict(reference)
    for parameter in reference.parameters():
        parameter.data = parameter.data.to(dtype)
    alphas = {key.partition(".lora_")[0]: float(ALPHA) for key in state_dict}
    return unet, reference, state_dict, alphas


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_beside_scaled_and_merged_equal_peft(name, dtype):
    unet, reference, state_dict, alphas = models(name, dtype)
    kwargs = inputs(CONFIGS[name], dtype)
    plain = unet(**kwargs)
    apply_lora(unet, state_dict, alphas)
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= TOLERANCE[dtype]
    assert difference(unet(**kwargs), plain) > 1e-2

    reference.set_adapters(["default"], [0.3])
    scale_lora(unet, 0.3)
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= TOLERANCE[dtype]

    merge_lora(unet)
    assert not any(isinstance(module, LoRALayer) for module in unet.modules())
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= TOLERANCE[dtype]


@torch.no_grad()
def test_kohya_files_hold_their_alpha():
    unet, reference, state_dict, _ = models(dtype=torch.float64)
    file = convert_state_dict_to_kohya({f"unet.{key}": value for key, value in state_dict.items()})
    file = {
        key: torch.tensor(float(ALPHA)) if key.endswith(".alpha") else value for key, value in file.items()
    }
    assert any(key.startswith("lora_unet_") and key.endswith(".lora_down.weight") for key in file)
    apply_lora(unet, file)
    kwargs = inputs(CONFIGS["sd15"], torch.float64)
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= 1e-6


@torch.no_grad()
def test_scale_zero_and_removal_are_the_plain_model():
    unet, _, state_dict, alphas = models()
    kwargs = inputs(CONFIGS["sd15"])
    keys, plain = list(unet.state_dict()), unet(**kwargs)
    apply_lora(unet, state_dict, alphas)
    scale_lora(unet, 0.0)
    assert difference(unet(**kwargs), plain) == 0.0
    remove_lora(unet)
    assert difference(unet(**kwargs), plain) == 0.0
    assert list(unet.state_dict()) == keys


@pytest.mark.parametrize("layer", [nn.Linear(6, 5), nn.Conv2d(6, 5, 3, stride=2, padding=1)])
def test_change_has_low_rank_and_merging_is_beside(layer):
    down, up = torch.randn(2, *layer.weight.shape[1:]), torch.randn(5, 2, *[1] * (layer.weight.ndim - 2))
    change = LowRank(down, up, alpha=1.0)
    assert torch.linalg.matrix_rank(change.delta().flatten(1)) == 2
    assert change.factor == 0.5
    x = torch.randn(3, 6) if isinstance(layer, nn.Linear) else torch.randn(3, 6, 8, 7)
    beside = LoRALayer(layer, change)
    beside.scale = 0.7
    expected, before = beside(x), layer.weight.clone()
    merged = beside.merged()
    torch.testing.assert_close(merged(x), expected)
    torch.testing.assert_close(merged.weight, before + 0.7 * change.delta())


@torch.no_grad()
def test_goes_together_with_an_ip_adapter_in_either_order():
    from test_ip_adapter import CLIP, adapter_file, normal

    from lessonlib.scratch.ip_adapter import ImagePrompt

    kwargs = inputs(CONFIGS["sd15"])
    text = kwargs.pop("encoder_hidden_states")
    results = []
    for first in ("lora", "ip"):
        unet, _, state_dict, alphas = models()
        file = adapter_file(unet, 1)
        if first == "lora":
            apply_lora(unet, state_dict, alphas)
            (projection,) = add_ip_adapters(unet, [file])
        else:
            (projection,) = add_ip_adapters(unet, [file])
            apply_lora(unet, state_dict, alphas)
        prompt = ImagePrompt(text, [projection(normal(2, CLIP, dtype=torch.float32))[:, None]])
        results.append(unet(**kwargs, encoder_hidden_states=prompt))
        remove_lora(unet)
        remove_ip_adapters(unet)
        results.append(unet(**kwargs, encoder_hidden_states=text))
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[1], results[3])
    assert not torch.equal(results[0], results[1])


def test_files_that_do_not_fit_are_named():
    unet, _, state_dict, alphas = models()
    key = next(iter(state_dict))
    with pytest.raises(LessonError, match=r"text_encoder\.layer\.lora_A\.weight"):
        apply_lora(unet, {"text_encoder.layer.lora_A.weight": torch.zeros(1, 1)})
    with pytest.raises(LessonError, match="half a pair"):
        apply_lora(unet, {key: state_dict[key]})
    pair = {
        k: torch.zeros(3, 3, *[1] * (v.ndim - 2)) for k, v in state_dict.items() if k.startswith(key[:-15])
    }
    with pytest.raises(LessonError, match="does not fit"):
        apply_lora(unet, pair)
    assert not any(isinstance(module, LoRALayer) for module in unet.modules())
    apply_lora(unet, state_dict, alphas)
    with pytest.raises(LessonError, match="already"):
        apply_lora(unet, state_dict, alphas)
