"""Every recipe of the sd15 and SDXL families, from training to a picture by the real calls, on random weights."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from random_models import make_store
from safetensors.torch import load_file

from lessonlib.models import store
from lessonlib.zoo import cards, latents
from lessonlib.zoo.distillation import SdxlTeacher, quickened
from lessonlib.zoo.matching import critic, lcm_loss, with_fake_score
from lessonlib.zoo.measures import few_steps, one_step, sdxl, taesd
from lessonlib.zoo.recipes import lcm, lcm_lora, recipe, sd15, text_g, turbo
from lessonlib.zoo.recipes import sdxl as sdxl_recipe
from lessonlib.zoo.recipes import taesd as taesd_recipe
from lessonlib.zoo.sdxl import Squares, added, deepened, load_buckets, load_squares
from lessonlib.zoo.training import draw

# in the order in which they need each other
NAMES = (
    "taesd",
    "lcm",
    "lcm-lora-sd15",
    "sdxl-base",
    "sdxl-refiner",
    "lcm-lora-sdxl",
    "sdxl-turbo",
)
PROMPT = "a red apple on the beach"


@pytest.fixture(scope="module")
def family(sd15_folder, tmp_path_factory):
    """A weights root where each recipe ran for two steps and was shipped."""
    folder = tmp_path_factory.mktemp("family")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESSON_WEIGHTS", str(folder / "weights"))
        patch.setenv("LESSON_CACHE", str(folder / "cache"))
        patch.setattr(latents, "_SHARD", 50)
        for module in (sd15, taesd_recipe):
            patch.setattr(module, "SCENES", 50)
        for load in (load_buckets, load_squares):
            patch.setattr(load, "__defaults__", (20,))
        patch.setattr(text_g, "PLAN", replace(text_g.PLAN, steps=2, batch=2, warmup=1))
        make_store(sd15_folder, folder / "weights")
        store.add_member("vae", None, {"": "sd15-vae"})
        store.add_member("text", None, {"tokenizer": "sd15-tokenizer", "text_encoder": "sd15-text_encoder"})
        for part, name in (("vae", "vae"), ("tokenizer", "tokenizer-l"), ("text_encoder", "sd15-text")):
            store.fold(sd15_folder / part, name, bits=16)
        losses = {}
        for name in NAMES:
            one = recipe(name)
            one.run(folder / "runs", plan=replace(one.plan, steps=2, batch=2, warmup=1))
            one.ship(folder / "runs")
            losses[name] = cards.training(folder / "runs" / name)["last"]["loss"]
        yield SimpleNamespace(losses=losses, runs=folder / "runs")


def drawn(pipeline, **settings):
    pipeline.set_progress_bar_config(disable=True)
    settings = {"prompt": PROMPT, "num_inference_steps": 2, "output_type": "np"} | settings
    image = pipeline(generator=torch.Generator().manual_seed(0), **settings).images[0]
    assert np.isfinite(image).all()
    return image


def test_every_loss_is_finite_and_every_member_has_a_card(family):
    assert set(family.losses) == set(NAMES)
    assert all(np.isfinite(value) for value in family.losses.values())
    assert set(cards.cards()) == set(NAMES)


def test_taesd_takes_the_vaes_place(family):
    from diffusers import AutoencoderTiny, StableDiffusionPipeline

    taesd = AutoencoderTiny.from_pretrained(store.unfold("taesd"))
    pipeline = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"), vae=taesd)
    assert drawn(pipeline).shape == (64, 64, 3)


def test_lcm_takes_guidance_as_an_input(family):
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(store.unfold("lcm"))
    assert type(pipeline).__name__ == "LatentConsistencyModelPipeline"
    assert type(pipeline.scheduler).__name__ == "LCMScheduler"
    assert drawn(pipeline, num_inference_steps=4).shape == (64, 64, 3)


@pytest.mark.parametrize(("base", "lora"), [("sd15", "lcm-lora-sd15"), ("sdxl-base", "lcm-lora-sdxl")])
def test_the_loras_load_and_change_the_picture(family, base, lora):
    from diffusers import AutoPipelineForText2Image, LCMScheduler

    pipeline = AutoPipelineForText2Image.from_pretrained(store.unfold(base))
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    settings = {"num_inference_steps": 4, "guidance_scale": 1.0}
    without = drawn(pipeline, **settings)
    pipeline.load_lora_weights(store.unfold(lora))
    assert not np.array_equal(without, drawn(pipeline, **settings))


def test_base_hands_over_to_the_refiner(family):
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    base = StableDiffusionXLPipeline.from_pretrained(store.unfold("sdxl-base"))
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        store.unfold("sdxl-refiner"), text_encoder_2=base.text_encoder_2, vae=base.vae
    )
    assert refiner.config.requires_aesthetics_score
    base.set_progress_bar_config(disable=True)
    half = base(PROMPT, num_inference_steps=10, denoising_end=0.8, output_type="latent").images
    image = drawn(refiner, image=half, num_inference_steps=10, denoising_start=0.8)
    assert image.shape == (64, 64, 3)
    assert drawn(base, height=96, width=160, original_size=(32, 32)).shape == (96, 160, 3)


def test_begun_anew_the_base_keeps_the_tower_that_ships_and_sd15s_own(family):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    folder = store.unfold("sdxl-base")
    kept = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2")
    tower = sdxl_recipe.second_tower(family.runs)
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    for name, value in kept.state_dict().items():
        torch.testing.assert_close(tower.state_dict()[name], value)
    first = CLIPTextModel.from_pretrained(family.runs / "sdxl-base/model/text_encoder").state_dict()
    own = deepened(CLIPTextModel.from_pretrained(store.unfold("sd15") / "text_encoder")).state_dict()
    assert all(torch.equal(first[name], value) for name, value in own.items())


def test_turbo_draws_in_one_step_what_it_was_trained_to_say(family):
    from diffusers import AutoPipelineForText2Image

    pipeline = AutoPipelineForText2Image.from_pretrained(store.unfold("sdxl-turbo"))
    assert drawn(pipeline, num_inference_steps=1, guidance_scale=0.0, height=128, width=128).shape == (
        128,
        128,
        3,
    )
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    said = pipeline(
        PROMPT,
        num_inference_steps=1,
        guidance_scale=0.0,
        latents=noise,
        height=128,
        width=128,
        output_type="latent",
    ).images
    states, _, pooled, _ = pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    default = torch.tensor([[128.0, 128, 0, 0, 128, 128]])
    told = {
        "encoder_hidden_states": states,
        "added_cond_kwargs": added(pooled, default),
    }
    levels = pipeline.scheduler.alphas_cumprod
    noisy = (1 - levels[turbo.LAST]).sqrt() * noise
    with torch.no_grad():
        trained = turbo.clean(pipeline.unet, noisy, torch.tensor([turbo.LAST]), told, levels)
    torch.testing.assert_close(said, trained, rtol=1e-3, atol=1e-3)


def test_turbo_learns_at_the_times_where_its_steps_begin(family):
    pipeline = turbo.scheduler()
    levels = pipeline.alphas_cumprod
    for steps, later in ((2, turbo.LATER[1:2]), (4, turbo.LATER)):
        pipeline.set_timesteps(steps)
        assert pipeline.timesteps.tolist() == [turbo.LAST, *later]
    real = torch.randn(8, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    noisy, starts = turbo.begun(real, levels, torch.Generator().manual_seed(1))
    assert (starts[:6] == turbo.LAST).all()
    assert set(starts[6:].tolist()) <= set(turbo.LATER)
    for one, at, picture in zip(noisy, starts, real, strict=True):
        kept = torch.zeros(()) if at == turbo.LAST else levels[at].sqrt()  # nothing of it at the first step
        rest = (one - kept * picture) / (1 - levels[at]).sqrt()
        assert abs(rest.std() - 1) < 0.1  # fresh noise, in the share of that time


def test_turbo_its_fake_score_and_its_critic_learn_and_its_teacher_does_not(family):
    base = store.unfold("sdxl-base")
    squares = Squares(torch.randn(10, 4, 16, 16).half())
    teacher = SdxlTeacher(base, squares, torch.device("cpu"))
    heads = critic(teacher.unet, seed=0)
    network = with_fake_score(quickened(base, "lcm-lora-sdxl"), teacher.unet, heads=heads)
    plan = replace(turbo.PLAN, batch=2)
    loss = turbo.loss_with(plan, teacher)

    def moved(part):
        return any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())

    loss(network, draw(plan, 0, 0, torch.device("cpu")))["loss"].backward()
    assert all(moved(part) for part in network.parts.values())
    assert not moved(teacher.unet)


@pytest.mark.parametrize("name", ["lcm", "lcm-lora-sd15", "lcm-lora-sdxl"])
def test_a_second_run_begins_with_what_was_shipped_and_matches(family, name, monkeypatch):
    one = recipe(name)
    asked = []
    monkeypatch.setattr(lcm, "lcm_loss", lambda *given: asked.append(given[-1]) or lcm_loss(*given))
    plan = replace(one.plan_from("shipped"), steps=1, batch=4, warmup=0, learning_rate=0.0)
    runs = family.runs.parent / "again"
    path = one.run(runs, plan=plan) / ("unet" if name == "lcm" else "")
    (file,) = path.glob("*.safetensors")
    before = load_file(store.unfold(name) / path.relative_to(runs / name / "model") / file.name)
    after = load_file(file)
    assert before.keys() == after.keys()
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=0)
    assert {"matched", "followed"} <= set(cards.training(runs / name)["last"])
    assert asked == [(lcm if name == "lcm" else lcm_lora).MATCHED_GUIDANCE]


def test_every_family_that_is_shipped_is_measured_as_often_as_it_says(family, monkeypatch):
    from lessonlib.judge import load_judge

    for module in (taesd, sdxl, few_steps, one_step):
        monkeypatch.setattr(module, "STEPS", 5, raising=False)
        ticks = []
        rows, sheets = module.measure(4, 7, load_judge(), ticks.append)
        assert sum(ticks) == module.pictures(4)
        assert {row.member for row in rows} <= set(module.MEMBERS)
        assert len({(row.member, row.metric, row.split) for row in rows}) == len(rows)
        assert all(row.n > 0 for row in rows if row.metric != "correlation")  # no object is found in noise
        assert sheets
        for sheet in sheets:
            assert len({image.shape for _, images in sheet.rows for image in images}) == 1
