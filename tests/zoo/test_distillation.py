"""Students begin as their teachers, learn, and no gradient goes where none should."""

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lessonlib.models import store
from lessonlib.zoo import distillation, sdxl
from lessonlib.zoo.recipes import lcm, taesd
from lessonlib.zoo.recipes.sd15 import tokenize
from lessonlib.zoo.training import draw


def step(index=0):
    return draw(lcm.PLAN, index, 0, torch.device("cpu"))


def told(base, count):
    return {"encoder_hidden_states": base.states(["a cat"] * count)}


def losses(student, network, teacher, rate, count=12):
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], rate)
    values = []
    for _ in range(count):
        loss = distillation.distillation_loss(student, teacher, step(), 4, (2.0, 5.0))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append(float(loss.detach()))
    return values


@torch.no_grad()
def test_an_lcm_begins_as_its_teacher_whatever_the_guidance(base, teacher):
    unet = lcm.build(teacher.unet).eval()
    noisy = torch.randn(2, 4, 8, 8)
    said = lcm.student(unet)(noisy, torch.tensor([999, 19]), told(base, 2), torch.tensor([1.0, 7.0]))
    taught = teacher.unet(noisy, torch.tensor([999, 19]), **told(base, 2)).sample
    torch.testing.assert_close(said, taught, rtol=0, atol=1e-5)


def test_an_lcm_learns_on_a_fixed_batch(teacher):
    unet = lcm.build(teacher.unet)
    values = losses(lcm.student(unet), unet, teacher, 1e-3)
    assert values[-1] < 0.9 * values[0]
    assert unet.time_embedding.cond_proj.weight.abs().max() > 0


def test_only_the_low_rank_change_learns(base, teacher):
    student = distillation.with_lora(teacher.unet, rank=4)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    values = losses(distillation.lora_student(student), student, teacher, 3e-3)
    assert values[-1] < 0.95 * values[0]
    for key, value in student.state_dict().items():
        assert ("lora_" in key) or torch.equal(value, before[key]), key
    assert all(parameter.grad is None for parameter in teacher.unet.parameters())


def test_every_kind_of_layer_gets_a_change(teacher):
    student = distillation.with_lora(teacher.unet, rank=4)
    names = {name.split(".lora_A")[0] for name, _ in student.named_parameters() if ".lora_A" in name}
    for kind in ("to_q", "to_out.0", "ff.net.2", "conv1", "time_emb_proj", "downsamplers.0.conv", "proj_in"):
        assert any(name.endswith(kind) for name in names), kind


def test_a_linear_map_is_found_again():
    generator = torch.Generator().manual_seed(0)
    source, true = torch.randn(400, 12, generator=generator), torch.randn(12, 5, generator=generator)
    torch.testing.assert_close(sdxl.linear_map(source, source @ true, ridge=1e-9), true, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_shipped_towers_can_be_turned_to_nearly_all_that_sd15_reads():
    """On captions that the map was not fitted to: sdxl-base can begin with what sd15 knows."""
    sd15, sdxl_base = store.unfold("sd15"), store.unfold("sdxl-base")
    tokenizer = CLIPTokenizer.from_pretrained(sd15 / "tokenizer")
    text = CLIPTextModel.from_pretrained(sd15 / "text_encoder").eval()
    second = CLIPTextModelWithProjection.from_pretrained(sdxl_base / "text_encoder_2").eval()
    captions = sdxl.sample_captions(512)
    states = sdxl.Towers(tokenizer, sdxl.deepened(text).eval(), second).read(captions).states
    known = text(input_ids=tokenize(tokenizer, captions)).last_hidden_state
    left = states[256:] @ sdxl.linear_map(states[:256], known[:256]) - known[256:]
    assert 1 - left.square().mean() / (known[256:] - known[256:].mean((0, 1))).square().mean() > 0.95


@torch.no_grad()
def test_a_grown_unet_says_what_the_known_one_says_whatever_the_ids(base):
    known = base.states(sdxl.sample_captions(12))
    turn = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0]
    turned = torch.cat(
        [known @ turn, torch.zeros(*known.shape[:2], 8)], dim=-1
    )  # the same facts, written otherwise
    unet = sdxl.grown(base.unet, turned, known, pooled=6, ids=6).eval()
    noisy = torch.randn(12, 4, 8, 8)
    extra = sdxl.added(torch.randn(12, 6), 100 * torch.rand(12, 6))
    said = unet(noisy, 500, turned, added_cond_kwargs=extra).sample
    as_known = base.unet(noisy, 500, known).sample
    others = base.unet(noisy, 500, known.roll(1, 0)).sample
    assert (said - as_known).norm() < 0.05 * (others - as_known).norm()


def test_the_deepened_towers_last_but_one_state_is_the_towers_own(base):
    deeper = sdxl.deepened(base.text).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        own = base.text(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        read = deeper(input_ids=ids, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(read, own)


def test_taesd_learns_on_a_fixed_batch():
    torch.manual_seed(0)
    model = taesd.build()
    pictures, latents = torch.rand(2, 3, 64, 64) * 0.2 + 0.4, torch.randn(2, 4, 8, 8)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    values = []
    for _ in range(25):
        loss = taesd.loss_of(model, pictures, latents)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        values.append(float(loss.detach()))
    assert values[-1] < 0.6 * values[0]
    assert model.config.scaling_factor == 1.0
