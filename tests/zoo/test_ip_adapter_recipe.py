"""IP-Adapters: the published file's names, a start at the text's own keys, and what the real loader makes of them."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lessonlib.models import store
from lessonlib.world.parse import parse
from lessonlib.world.render import render
from lessonlib.world.scene import is_held_out
from lessonlib.zoo.base import load_base
from lessonlib.zoo.latents import person_scene, scene
from lessonlib.zoo.recipes import RECIPES, ip_adapter
from lessonlib.zoo.training import Plan, Step, train

KINDS = list(ip_adapter.FILES)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        image_size=128, patch_size=32, projection_dim=24,
    )  # fmt: skip
    return CLIPVisionModelWithProjection(config).eval()


def adapter(sd15_folder, kind, encoder):
    """A base of its own (the adapter changes it), the file's weights, and what is trained."""
    base = load_base(torch.device("cpu"), sd15_folder)
    torch.manual_seed(1)
    weights = ip_adapter.fresh_weights(base.unet, kind, encoder)
    return base, weights, ip_adapter.attach(base.unet, weights, base.device)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_comes_back_as_it_went_in(sd15_folder, encoder, kind):
    base, weights, network = adapter(sd15_folder, kind, encoder)
    again = ip_adapter.weights_of(base.unet)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[key], value) for key, value in weights.items())
    numbers = {key.split(".")[1] for key in weights if key.startswith("ip_adapter")}
    assert numbers == {str(2 * k + 1) for k in range(len(network.parts["attention"]))}
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained == sum(value.numel() for value in weights.values())


def test_keys_and_values_for_pictures_start_as_the_texts(sd15_folder, encoder):
    base, weights, _ = adapter(sd15_folder, "ip-adapter", encoder)
    attention = base.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    assert torch.equal(weights["ip_adapter.1.to_k_ip.weight"], attention.to_k.weight)
    assert torch.equal(weights["ip_adapter.1.to_v_ip.weight"], attention.to_v.weight)


def test_references_are_the_picture_and_the_same_things_elsewhere():
    for index in range(30):
        own = scene(index)
        other = ip_adapter.elsewhere(own, np.random.default_rng(index))
        assert other.background != own.background
        assert (other.things, other.person, other.style) == (own.things, own.person, own.style)
        assert not is_held_out(other)
        picture, second = ip_adapter.references("ip-adapter", index)
        assert np.array_equal(picture, render(own).image)
        assert not np.array_equal(picture, second)


def test_a_face_reference_is_another_picture_of_the_same_person():
    changed = 0
    for index in range(20):
        own = person_scene(index)
        other = ip_adapter.again(own, np.random.default_rng(index))
        assert other.person.identity == own.person.identity
        changed += other.person.outfit != own.person.outfit
        assert all(face.shape == (128, 128, 3) for face in ip_adapter.references("ip-adapter-face", index))
    assert changed > 10


def test_partial_texts_name_the_background_and_nobody():
    for index in range(40):
        shown = scene(index) if index % 2 else person_scene(index)
        said = parse(ip_adapter.partial(shown, np.random.default_rng(index))).said
        assert said.background == shown.background
        assert not said.things
        if shown.person is not None:
            assert said.person.outfit == shown.person.outfit
            assert said.person.hair is None
            assert said.person.skin is None


def test_nothing_is_what_the_pipeline_shows_its_unconditional_branch(sd15_folder, encoder):
    pipeline = StableDiffusionPipeline.from_pretrained(sd15_folder, image_encoder=encoder)
    for kind in KINDS:
        _, blank = pipeline.encode_image(torch.rand(1, 3, 128, 128), "cpu", 1, kind != "ip-adapter")
        torch.testing.assert_close(ip_adapter.nothing_seen(encoder, kind)[None], blank)


def test_the_scale_is_the_one_that_the_pipelines_set(sd15_folder, encoder):
    """At 0 the picture counts for nothing; between, its answer is added in that measure."""
    base, _, _ = adapter(sd15_folder, "ip-adapter", encoder)
    generator = torch.Generator().manual_seed(0)
    noisy, states = torch.randn(1, 4, 8, 8, generator=generator), base.states(["a cat"])
    pictures = {"image_embeds": [torch.randn(1, 1, 24, generator=generator)]}

    def predicted(scale):
        ip_adapter.set_scale(base.unet, scale)
        with torch.no_grad():
            return base.unet(noisy, 500, states, added_cond_kwargs=pictures).sample

    found = {scale: predicted(scale) for scale in (0.0, 0.6, 1.0)}
    pipeline = StableDiffusionPipeline.from_pretrained(sd15_folder, unet=base.unet)
    for scale, ours in found.items():
        pipeline.set_ip_adapter_scale(scale)
        with torch.no_grad():
            theirs = base.unet(noisy, 500, states, added_cond_kwargs=pictures).sample
        torch.testing.assert_close(ours, theirs)
    far = [(found[scale] - found[0.0]).norm().item() for scale in (0.6, 1.0)]
    assert 0 < far[0] < far[1]


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_and_the_real_loader_takes_what_is_shipped(
    sd15_folder, encoder, kind, tmp_path, monkeypatch
):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    base, _, network = adapter(sd15_folder, kind, encoder)
    frozen = {
        key: v.clone()
        for key, v in base.unet.state_dict().items()
        if "_ip" not in key and "hid_proj" not in key
    }
    seen = ip_adapter.encoded_references(encoder, kind, tmp_path, 4)
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    told = load_base(torch.device("cpu"), sd15_folder).unet
    loss = ip_adapter.loss_of(
        base, told, latents, seen, ip_adapter.nothing_seen(encoder, kind), ip_adapter.stream(kind), 4
    )

    def one_batch(*_):
        return loss(Step(0, np.random.default_rng(0), torch.Generator().manual_seed(0), base.device))

    start = one_batch()["loss"].item()
    plan = Plan(steps=12, batch=4, learning_rate=2e-3, seed=1, warmup=1, ema=False)
    train(kind, network, one_batch, plan, runs=tmp_path)
    assert one_batch()["loss"].item() < 0.98 * start
    after = base.unet.state_dict()
    assert all(torch.equal(after[key], value) for key, value in frozen.items())

    (tmp_path / kind / "model").mkdir()
    save_file(ip_adapter.weights_of(base.unet), tmp_path / kind / "model" / ip_adapter.FILES[kind])
    encoder.save_pretrained(tmp_path / "image_encoder/model")
    RECIPES["image_encoder"].ship(tmp_path)
    RECIPES[kind].ship(tmp_path)

    pipeline = StableDiffusionPipeline.from_pretrained(sd15_folder)
    pipeline.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 1, "height": 64, "width": 64, "output_type": "np"}
    plain = pipeline("a cat", generator=torch.manual_seed(0), **settings).images
    pipeline.load_ip_adapter(
        str(store.unfold("ip-adapter")), subfolder="models", weight_name=ip_adapter.FILES[kind]
    )
    one, other = (Image.fromarray(picture) for picture in ip_adapter.references(kind, 1))

    def drawn(scale, images):
        pipeline.set_ip_adapter_scale(scale)
        return pipeline("a cat", ip_adapter_image=images, generator=torch.manual_seed(0), **settings).images

    assert np.array_equal(drawn(0.0, one), plain)
    assert np.abs(drawn(1.0, one) - plain).max() > 1e-4
    assert np.abs(drawn(1.0, [[one, other]]) - drawn(1.0, one)).max() > 1e-5
