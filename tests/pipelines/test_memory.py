"""Every technique is switched on and off without a trace, measured, and refused where it would do harm."""

import numpy as np
import pytest
import torch
from random_models import random_sd15
from random_variants import random_sdxl, save_random_lora

from lessonlib.errors import LessonError
from lessonlib.models import machine
from lessonlib.models import memory as estimates
from lessonlib.pipelines import memory
from lessonlib.scratch.vae_tiling import tiled

GIB = 1 << 30
HERE = ["VAE slicing", "VAE tiling", "plain attention", "attention slicing", "fused QKV", "channels-last"]


@pytest.fixture(scope="module")
def sd():
    pipeline = random_sd15()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline, count=1, side=64):
    generator = [torch.Generator().manual_seed(i) for i in range(count)]
    result = pipeline(
        ["a cat"] * count,
        num_inference_steps=1,
        height=side,
        width=side,
        generator=generator,
        output_type="np",
    )
    return result.images


def latents(count, side):
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(0))


# -------- on and off


@pytest.mark.parametrize("name", HERE)
def test_a_technique_leaves_with_its_block(sd, name):
    # 128 pixels: two tiles of the VAE's own 64
    before = draw(sd, side=128)
    with memory.applied(sd, name):
        inside = draw(sd, side=128)
    assert np.array_equal(draw(sd, side=128), before)
    if name == "VAE tiling":
        assert np.abs(inside - before).max() > 1e-4
    else:
        assert np.abs(inside - before).max() < 1e-4
    assert not any(key.endswith(("to_qkv.weight", "to_kv.weight")) for key in sd.unet.state_dict())


@pytest.mark.parametrize("compile_part", [memory.compile_blocks, memory.compile_unet])
def test_compiling_changes_no_number(sd, compile_part):
    before = draw(sd)
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph

    compile_part(sd, backend=backend)
    try:
        assert np.abs(draw(sd) - before).max() < 1e-5
        assert compiled
    finally:
        memory.TECHNIQUES["full compile"].off(sd)
        torch._dynamo.reset()
    compiled.clear()
    assert np.array_equal(draw(sd), before)
    assert not compiled


def test_a_tile_is_no_larger_than_512_pixels():
    """SDXL's VAE has tiles of 1024 pixels: on a 1024 x 1024 picture tiling would do nothing."""
    sdxl = random_sdxl()
    sdxl.vae.register_to_config(sample_size=1024)
    with memory.applied(sdxl, "VAE tiling"):
        assert (sdxl.vae.tile_sample_min_size, sdxl.vae.tile_latent_min_size) == (512, 64)
        assert sdxl.vae.use_tiling
    assert not sdxl.vae.use_tiling


def test_tiles_are_those_from_scratch(sd):
    z = latents(1, 20)
    with torch.no_grad(), memory.applied(sd, "VAE tiling"):
        theirs = sd.vae.decode(z).sample
        ours = tiled(lambda x: sd.vae.decoder(sd.vae.post_quant_conv(x)), z, 8, 64)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


# -------- refused


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["xformers"], "no technique called 'xformers'"),
        (["attention slicing", "plain attention"], "exclude each other"),
        (["fused QKV", "attention slicing"], "exclude each other"),
        (["model offload", "sequential offload"], "exclude each other"),
        (["VAE tiling", "model offload"], "there is none here"),
    ],
)
def test_what_cannot_be_switched_on_changes_nothing(sd, monkeypatch, names, words):
    monkeypatch.setattr(machine, "device", lambda: "cpu")
    processors = dict(sd.unet.attn_processors)
    with pytest.raises(LessonError, match=words):
        memory.apply(sd, *names)
    assert not sd.vae.use_tiling
    assert sd.unet.attn_processors == processors


def test_an_offload_after_the_whole_went_to_the_gpu_is_refused(monkeypatch):
    class OnGpu:
        device = torch.device("cuda")

    monkeypatch.setattr(machine, "device", lambda: "cuda")
    for name in ("model offload", "sequential offload"):
        with pytest.raises(LessonError, match="on the GPU already"):
            memory.apply(OnGpu(), name)


@pytest.mark.parametrize("name", ["attention slicing", "plain attention", "fused QKV"])
def test_nothing_replaces_the_attention_of_an_adapter(sd, tmp_path, name):
    save_random_lora(sd.unet, tmp_path, type(sd))
    sd.load_lora_weights(tmp_path)
    try:
        with pytest.raises(LessonError, match="the LoRA works"):
            memory.apply(sd, name)
    finally:
        sd.unload_lora_weights()
    sd.unet.encoder_hid_proj = torch.nn.Identity()  # where diffusers puts an IP-Adapter's projection
    try:
        with pytest.raises(LessonError, match="the IP-Adapter works"):
            memory.apply(sd, name)
    finally:
        sd.unet.encoder_hid_proj = None


def test_fusing_by_hand_would_drop_a_lora_in_silence(sd, tmp_path):
    """Why it is refused."""
    plain = draw(sd)
    save_random_lora(sd.unet, tmp_path, type(sd))
    sd.load_lora_weights(tmp_path)
    with_lora = draw(sd)
    fused = memory.TECHNIQUES["fused QKV"]
    fused.on(sd)
    lost = draw(sd)
    fused.off(sd)
    sd.unload_lora_weights()
    assert np.abs(with_lora - plain).max() > 1e-3
    assert np.abs(lost - with_lora).max() > 1e-4


# -------- measured


def test_the_peak_is_what_was_held_at_once():
    def work():
        first = torch.empty(1_000_000)
        del first
        second = torch.empty(3_000_000)
        third = torch.empty(2_000_000)
        return second, third

    measured = memory.cost(work, warm_up=False)
    assert 20_000_000 <= measured.peak_bytes < 20_100_000
    assert measured.seconds > 0


def test_the_timeline_rises_and_falls_with_what_is_held():
    kept = []

    def work():
        first = torch.empty(1_000_000)
        del first
        kept.append(torch.empty(2_000_000))

    levels = memory.timeline(work)
    assert [round(level / 1e6) for _, level in levels if abs(level) > 100_000] == [4, 8]
    assert levels[0][0] == 0
    assert levels == sorted(levels, key=lambda at: at[0])


def test_slicing_saves_on_a_batch_and_nothing_on_one(sd):
    with torch.no_grad():

        def peak(count):
            z = latents(count, 8)
            return memory.cost(lambda: sd.vae.decode(z), warm_up=False).peak_bytes

        one, four = peak(1), peak(4)
        with memory.applied(sd, "VAE slicing"):
            assert peak(1) == pytest.approx(one, rel=0.1)
            assert peak(4) < 0.6 * four


def test_tiling_saves_on_a_large_picture(sd):
    z = latents(1, 32)
    with torch.no_grad():
        whole = memory.cost(lambda: sd.vae.decode(z), warm_up=False).peak_bytes
        with memory.applied(sd, "VAE tiling"):
            assert memory.cost(lambda: sd.vae.decode(z), warm_up=False).peak_bytes < 0.6 * whole


def test_sliced_attention_holds_more_than_sdpa_and_less_than_plain(sd):
    def peak():
        arguments = (latents(1, 32), 500, torch.zeros(1, 77, 32))
        return memory.cost(lambda: sd.unet(*arguments), warm_up=False).peak_bytes

    with torch.no_grad():
        sdpa = peak()
        with memory.applied(sd, "attention slicing"):
            sliced = peak()
        with memory.applied(sd, "plain attention"):
            plain = peak()
    assert sdpa < sliced < plain


# -------- presets


def test_presets_get_slower_as_the_card_gets_smaller():
    order = [
        (),
        ("VAE tiling",),
        ("model offload",),
        ("model offload", "VAE tiling"),
        ("sequential offload", "VAE tiling"),
    ]
    for models in ("sd15", "sdxl-base", ("sd15", "controlnet-canny", "ip-adapter-plus")):
        found = [order.index(memory.preset(models, size * GIB)) for size in (80, 24, 16, 12, 10, 8, 6, 4, 3)]
        assert found == sorted(found)
        assert found[0] == 0
    assert memory.preset("sdxl-base", 24 * GIB) == ()
    assert memory.preset("sdxl-base", 10 * GIB) == ("VAE tiling",)
    assert memory.preset("sdxl-base", 8 * GIB) == ("model offload",)
    assert memory.preset("sdxl-base", 4 * GIB) == ("sequential offload", "VAE tiling")
    with pytest.raises(LessonError, match="at the very least"):
        memory.preset("sdxl-base", GIB)
    with pytest.raises(LessonError, match="no model called"):
        memory.preset("sdxxl", GIB)


def test_estimates_of_tiles_by_hand():
    need = estimates.need("", ("sdxl-base",))
    assert need.vram - need.vram_tiled == 4 * 256 * (1024**2 - 512**2) * 4
    small = estimates.need("", ("sd15",))
    assert small.vram == small.vram_tiled  # 512 pixels are one tile


# -------- batches


def test_a_batch_is_its_pictures_made_alone(sd):
    prompts, seeds = ["a cat", "a red apple"], [3, 9]
    together = memory.batch(sd, prompts, seeds, steps=2, negative_prompt="blurry")
    for prompt, seed, one in zip(prompts, seeds, together, strict=True):
        (alone,) = memory.batch(sd, [prompt], [seed], steps=2, negative_prompt="blurry")
        assert abs(np.asarray(one).astype(int) - np.asarray(alone).astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("prompts", "seeds", "options", "words"),
    [
        (["a", "b"], [1], {}, "2 prompts and 1 seeds"),
        ("a cat", [1], {}, "give a list"),
        ([], [], {}, "0 prompts"),
        (["a"], [1], {"steps": 1000}, "steps is 1000"),
        (["a"], [1], {"guidance": 1.0, "negative_prompt": "b"}, "would be ignored"),
    ],
)
def test_batches_that_cannot_work(sd, prompts, seeds, options, words):
    with pytest.raises(LessonError, match=words):
        memory.batch(sd, prompts, seeds, **options)


def test_loading_leaves_the_pipeline_in_ram(family):
    assert memory.load_on_cpu("sd15").device.type == "cpu"
