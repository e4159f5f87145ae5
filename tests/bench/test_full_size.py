"""The full-size shapes have the published parameter counts, and the GPU section runs them: here, tiny ones."""

import pytest
import torch
from random_models import make_store, random_sd15

from lessonlib.bench import full_size, gpu, pictures, techniques
from lessonlib.models import machine, store
from lessonlib.models.catalogue import CATALOGUE
from lessonlib.pipelines import memory
from lessonlib.scratch.unet import UNetConfig

TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_UNET = UNetConfig(
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(16, 32),
    layers_per_block=1,
    attention_head_dim=2,
    cross_attention_dim=32,
    norm_num_groups=8,
)
TINY_SDXL_UNET = UNetConfig(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(16, 32),
    layers_per_block=1,
    attention_head_dim=2,
    cross_attention_dim=64,
    norm_num_groups=8,
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=8,
    projection_class_embeddings_input_dim=24 + 6 * 8,
)
VAE = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "sample_size": 64, "norm_num_groups": 4}
TEXT_2 = {**TEXT, "projection_dim": 24, "hidden_act": "gelu"}
VISION = {**TEXT, "projection_dim": 16, "image_size": 28, "patch_size": 14}
SD = full_size.Family("tiny SD1.5", 64, TINY_UNET, TEXT, None, VAE)
ALL = full_size.Family("tiny everything", 64, TINY_SDXL_UNET, TEXT, TEXT_2, VAE, VISION)


@pytest.fixture(scope="module", autouse=True)
def _tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    random_sd15().save_pretrained(folder / "sd15")
    make_store(folder / "sd15", folder / "weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESSON_WEIGHTS", str(folder / "weights"))
        patch.setenv("LESSON_CACHE", str(folder / "cache"))
        yield


def variants(*names, **changes):
    """The named variants, short and in float32: half numbers are slow on a CPU."""
    kept = [v for v in gpu.VARIANTS if v.name in names]
    fields = {"dtype": "float32", **changes}
    return [gpu.Variant(**{**v.__dict__, "steps": min(v.steps, 3), **fields}) for v in kept]


# -------- shapes


def counted(family):
    parts = full_size.networks(family, "meta", torch.float16)
    assert {p.dtype for part in parts.values() for p in part.parameters()} == {torch.float16}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


@pytest.mark.parametrize(("family", "row"), [(full_size.FULL[0], "sd15"), (full_size.FULL[1], "sdxl-base")])
def test_every_network_has_the_published_number_of_parameters(family, row):
    published = {c.folder: c.parameters for c in CATALOGUE[row].components if c.folder != "safety_checker"}
    assert counted(family) == published


def test_the_image_encoder_is_vit_h():
    (encoder,) = [c for c in CATALOGUE["ip-adapter"].components if "encoder" in c.folder]
    assert counted(full_size.FULL[2])["image_encoder"] == encoder.parameters


def test_a_forward_of_the_sdxl_unet_at_1024_pixels_has_6_76_tflop():
    from torch.utils.flop_counter import FlopCounterMode

    unet = full_size.networks(full_size.FULL[1], "meta", torch.float16)["unet"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        half = {"dtype": torch.float16}
        unet(
            torch.zeros(1, 4, 128, 128, **half),
            torch.zeros(1),
            torch.zeros(1, 77, 2048, **half),
            added_cond_kwargs={
                "text_embeds": torch.zeros(1, 1280, **half),
                "time_ids": torch.zeros(1, 6, **half),
            },
        )
    assert counter.get_total_flops() == pytest.approx(6.76e12, rel=0.01)


# -------- the GPU section, on a CPU


def test_without_a_gpu_there_are_no_rows(monkeypatch):
    monkeypatch.setattr(machine, "device", lambda: "cpu")
    assert list(gpu.full_size_models()) == []


def test_every_figure_of_a_variant():
    found = list(gpu.rows(SD, "cpu", variants("plain fp16", "VAE tiling", "LCM, 4 steps"), product=32))
    table = {row.name: row for row in found}
    assert len(table) == len(found) == 3 * 4
    plain = table["tiny SD1.5: plain fp16"]
    tiling = table["tiny SD1.5: VAE tiling"]
    assert plain.ratio is None
    assert tiling.ratio == pytest.approx(tiling.value / plain.value)
    assert tiling.against == plain.name
    for label in (plain.name, tiling.name, "tiny SD1.5: LCM, 4 steps"):
        assert table[f"{label}, peak"].value > 0
        assert table[f"{label}, pace"].value > 0
        assert table[f"{label}, share of a matrix product's speed"].value > 0


def test_a_step_with_guidance_is_twice_the_work_of_one_without():
    pipeline = full_size.build(ALL, "cpu", torch.float32)
    both, one = (
        gpu.step_flops(pipeline, ALL, gpu.Variant("", dtype="float32", guidance=g)) for g in (5.0, 1.0)
    )
    # the image prompt's keys and values are made for both halves too
    assert both == 2 * one
    without = full_size.build(
        full_size.Family("SDXL", 64, TINY_SDXL_UNET, TEXT, TEXT_2, VAE), "cpu", torch.float32
    )
    assert gpu.step_flops(without, ALL.__class__(**{**ALL.__dict__, "vision": None}), gpu.PLAIN) < both


def test_everything_together_runs_compiled_and_turbo(monkeypatch):
    for name, part in (("regional compile", memory.compile_blocks), ("full compile", memory.compile_unet)):
        changed = memory.Technique(
            "",
            lambda p, part=part: part(p, backend="eager", fullgraph=False),
            memory._not_compiled,
            "compile",
        )
        monkeypatch.setitem(memory.TECHNIQUES, name, changed)
    chosen = variants("regional compile", "fused QKV", "Turbo, 1 step at 512 pixels")
    chosen[-1] = gpu.Variant(**{**chosen[-1].__dict__, "side": 64})
    table = {row.name: row for row in gpu.rows(ALL, "cpu", chosen, product=32)}
    assert table["tiny everything: fused QKV"].note == "would drop the IP-Adapter"
    assert table["tiny everything: regional compile"].value > 0
    turbo = "tiny everything: Turbo, 1 step at 512 pixels"
    assert table[turbo].value > 0
    assert f"{turbo}, pace" not in table


def test_sd15_has_no_turbo():
    assert list(gpu.rows(SD, "cpu", variants("Turbo, 1 step at 512 pixels"), product=32)) == []


def test_a_variant_that_does_not_fit_says_so_and_the_next_goes_on(monkeypatch):
    real = full_size.build

    def build(family, device, dtype):
        if dtype == torch.bfloat16:
            raise torch.OutOfMemoryError
        return real(family, device, dtype)

    monkeypatch.setattr(full_size, "build", build)
    first, *others = gpu.rows(
        SD, "cpu", [*variants("bf16", dtype="bfloat16"), *variants("channels-last")], product=32
    )
    assert (first.value, first.note) == (None, "failed: OutOfMemoryError")
    assert others[0].value > 0


def test_the_best_of_a_device_is_operations_over_seconds():
    assert 1e6 < gpu.product_flops("cpu", torch.float32, 128) < 1e14


# -------- the tiny models' sections


def test_the_memory_table_compares_each_technique_with_plain():
    pipeline = random_sd15()
    pipeline.set_progress_bar_config(disable=True)
    table = {row.name: row for row in techniques.table(pipeline, rounds=1)}
    batch, large = "four pictures, 64 x 64, 2 steps", "a large picture, 192 x 192, 2 steps"
    assert table[f"{batch}: VAE slicing, peak"].ratio < 0.9
    assert table[f"{large}: VAE tiling, peak"].ratio < 0.9
    assert table[f"{large}: VAE slicing, peak"].ratio == pytest.approx(1, abs=0.1)
    plain, sliced = (f"UNet forward, 24 x 24: {n}, peak" for n in ("plain attention", "attention slicing"))
    assert table[plain].ratio > table[sliced].ratio >= 1
    for row in table.values():
        assert row.value > 0
        assert row.against is None or row.against in table


def test_few_step_models_that_are_not_shipped_are_left_out(monkeypatch):
    assert list(pictures.few_step_models()) == []
    monkeypatch.setattr(store, "members", lambda: {"sd15": {}, "lcm": {}})
    assert [name for name, _, _ in pictures.few_step_models()] == ["full LCM, 4 steps"]


def test_quality_is_the_mean_of_the_judges_rates(monkeypatch):
    from lessonlib.judge.intervals import wilson

    seen = []

    class Rated:
        def rates(self):
            rates = {"object": wilson(1, 2), "background": wilson(1, 2), "style": wilson(2, 2)}
            return rates | {"color": wilson(0, 1)}  # asked of a few: not counted

    monkeypatch.setattr("lessonlib.judge.score", lambda drawn, asked: seen.append((drawn, asked)) or Rated())
    assert pictures.quality(lambda prompt, seed: (prompt, seed), 2) == pytest.approx(2 / 3)
    ((drawn, asked),) = seen
    assert drawn == [(prompt, seed) for seed, prompt in enumerate(asked)]
