"""What a few-step student says is moved to where its teacher finds it likely, at the steps that it takes at inference."""

import pytest
import torch

from lessonlib.zoo import matching, sdxl
from lessonlib.zoo.distillation import lcm_scheduler, lora_student, with_lora
from lessonlib.zoo.recipes import lcm
from lessonlib.zoo.training import draw


def step(index=0):
    return draw(lcm.PLAN, index, 0, torch.device("cpu"))


def test_an_lcm_learns_where_its_steps_begin():
    scheduler = lcm_scheduler()
    for steps, begins in ((4, matching.FOUR_STEPS), (2, matching.FOUR_STEPS[::2])):
        scheduler.set_timesteps(steps)
        assert tuple(scheduler.timesteps.tolist()) == begins


@torch.no_grad()
def test_what_an_lcm_is_asked_about_is_what_it_would_see_at_inference(teacher):
    """Beside diffusers' sampler, with the same noise: picture k is what is said after k steps."""
    batch, w = teacher.draw(step(), 8), torch.full((8,), 3.0)
    said, starts = matching.sampled(lora_student(teacher.unet), batch, w, teacher.alphas_cumprod, step(1))
    chance = step(1).torch
    noisy = torch.randn(batch.latents.shape, generator=chance)
    taken = torch.arange(8) % 4
    for done, at in enumerate(matching.FOUR_STEPS):
        noise = teacher.unet(noisy, at, **batch.prompted).sample
        scheduler = lcm_scheduler()
        scheduler.set_timesteps(4)
        result = scheduler.step(noise, at, noisy, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(said[taken == done], result.denoised[taken == done], rtol=1e-3, atol=1e-3)
        assert (starts[taken == done] == at).all()
        rows = taken > done
        if rows.any():
            level = teacher.alphas_cumprod[matching.FOUR_STEPS[done + 1]]
            fresh = torch.randn(noisy[rows].shape, generator=chance)
            noisy[rows] = level.sqrt() * result.denoised[rows] + (1 - level).sqrt() * fresh


def test_only_the_last_step_of_each_picture_is_learned_from(teacher):
    """The weights' gradient is that of the last steps alone: the steps before are taken as they come."""
    seen = []

    def student(noisy, timesteps, told, w):
        seen.append(noisy.detach().requires_grad_(torch.is_grad_enabled()))
        return teacher.unet(seen[-1], timesteps, **told).sample

    batch, w = teacher.draw(step(), 4), torch.full((4,), 3.0)
    said, _ = matching.sampled(student, batch, w, teacher.alphas_cumprod, step(1))
    said.sum().backward()
    assert [len(one) for one in seen] == [3, 2, 1, 4]
    assert [one.grad is not None for one in seen] == [False, False, False, True]


def test_an_lcm_and_its_fake_score_learn_and_its_teacher_does_not(teacher):
    unet = with_lora(teacher.unet, rank=4)
    network = matching.with_fake_score(unet, teacher.unet)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = [{"params": [p for p in some if p.requires_grad], "lr": factor * 1e-3}
              for factor, some in matching.rates(network)]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    for index in range(2):  # LoRA's first matrix has no gradient before its second one has moved
        loss = matching.lcm_loss(network, lora_student(unet), teacher, step(index), 4, (2.0, 5.0))
        loss["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in moved if name.startswith("parts.unet.")} == {
        name for name in before if name.startswith("parts.unet.") and "lora_" in name
    }
    assert any(name.startswith("parts.fake_score.") for name in moved)
    assert all(parameter.grad is None for parameter in teacher.unet.parameters())


def test_the_guidance_that_is_asked_for_is_the_teachers(teacher):
    """The direction is of the guided teacher: with another scale the same latents are moved elsewhere."""
    network = matching.with_fake_score(teacher.unet, teacher.unet)
    batch = teacher.draw(step(), 4)
    values, starts = [], torch.full((4,), 999)
    for scale in (1.0, 6.0):
        said, scales = batch.latents.clone().requires_grad_(), torch.full((4,), scale)
        loss = matching.matching_loss(network, said, starts, batch, scales, teacher, step(2))
        (moves,) = torch.autograd.grad(loss["matched"], said)
        values.append(moves)
    # the fake score is the teacher still: without guidance nothing tells them apart
    assert values[0].abs().max() < 1e-4 < values[1].abs().max()


def test_scores_are_compared_below_the_noise_that_the_student_began_at(teacher):
    network = matching.with_fake_score(teacher.unet, teacher.unet)
    batch = teacher.draw(step(), 8)
    starts = torch.tensor([999, 259]).repeat_interleave(4)
    asked = []
    network.parts["fake_score"].register_forward_hook(lambda _, given, __: asked.append(given[1]))
    for index in range(20):
        matching.matching_loss(network, batch.latents, starts, batch, torch.ones(8), teacher, step(index))
    first, last = torch.stack(asked).split(4, dim=1)
    assert 20 <= last.min() < 50
    assert 200 < last.max() < 259
    assert 20 <= first.min() < 100
    assert 900 < first.max() < 980


def test_guidance_grows_with_the_noise_until_it_is_full(teacher, monkeypatch):
    network = matching.with_fake_score(teacher.unet, teacher.unet)
    batch, scales, at = teacher.draw(step(), 8), [], []
    guide = matching.classifier_free_guidance

    def spy(unprompted, prompted, scale):
        scales.append(scale.flatten())
        return guide(unprompted, prompted, scale)

    monkeypatch.setattr(matching, "classifier_free_guidance", spy)
    network.parts["fake_score"].register_forward_hook(lambda _, given, __: at.append(given[1]))
    starts, guidance = torch.full((8,), 999), torch.full((8,), 4.0)
    for index in range(4):
        given = network, batch.latents, starts, batch, guidance, teacher, step(index)
        matching.matching_loss(*given, full_guidance=400)
    scale, times = torch.cat(scales), torch.cat(at)
    assert (scale[times >= 400] == 4).all()
    torch.testing.assert_close(scale[times < 400], 1 + 3 * times[times < 400] / 400)
    assert (times < 400).any()
    matching.matching_loss(*given)
    assert (scales[-1] == 4).all()  # as Turbo asks: full everywhere


def test_the_teacher_is_guided_by_the_scale_that_the_student_is_told(teacher, monkeypatch):
    asked, full = [], []

    def loss(*given, full_guidance):
        asked.append(given[4])
        full.append(full_guidance)

    monkeypatch.setattr(matching, "matching_loss", loss)

    def student(noisy, timesteps, told, w):
        seen.append(w)
        return teacher.unet(noisy, timesteps, **told).sample

    seen = []
    matching.lcm_loss(matching.Network(), student, teacher, step(), 4, (2.0, 5.0))
    torch.testing.assert_close(asked[0], 1 + seen[-1])  # w is the paper's: the scale minus 1
    assert full == [matching.FULL_GUIDANCE]
    assert (seen[-1] >= 2).all()
    assert (seen[-1] <= 5).all()
    assert len(seen[-1].unique()) == 4


@torch.no_grad()
def test_encoder_features_are_what_the_unet_computes(base):
    states = base.states(["a cat", "a dog"])
    unet = sdxl.grown(base.unet, states, states, pooled=6, ids=6).eval()
    seen = {}
    for name, module in [("middle", unet.mid_block), ("first", unet.down_blocks[0])]:
        module.register_forward_hook(lambda m, i, output, name=name: seen.__setitem__(name, output))
    torch.nn.init.normal_(unet.add_embedding.linear_2.weight)
    noisy, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([100, 300])
    kwargs = {
        "encoder_hidden_states": states,
        "added_cond_kwargs": sdxl.added(torch.randn(2, 6), torch.ones(2, 6)),
    }
    unet(noisy, timesteps, **kwargs)
    whole = dict(seen)
    features = matching.encoder_features(unet, noisy, timesteps, kwargs)
    torch.testing.assert_close(features[-1], whole["middle"])
    torch.testing.assert_close(features[0], whole["first"][0])


def test_hinge_moves_each_side_by_its_own_loss_alone():
    heads = matching.Heads([3])
    fake = [torch.randn(2, 3, 4, 4, requires_grad=True)]
    misled, critic = matching.hinge(heads, fake, [torch.randn(2, 3, 4, 4)])
    misled.backward()
    assert all(parameter.grad is None for parameter in heads.parameters())
    assert fake[0].grad is not None
    fake[0].grad = None
    critic.backward()
    assert fake[0].grad is None
    assert all(parameter.grad is not None for parameter in heads.parameters())


@pytest.mark.parametrize("with_fake_score", [True, False])
def test_matching_brings_one_gaussian_onto_another_and_the_fake_score_keeps_its_width(with_fake_score):
    # the student says mean + width z; teacher and fake score are exact: E[x | noisy] of their Gaussians
    mean, width = (torch.tensor(value, requires_grad=True) for value in (-0.5, 0.3))
    optimizer = torch.optim.Adam([mean, width], 0.02)
    chance = torch.Generator().manual_seed(0)

    def expected(noisy, level, mean, width):
        gain = level.sqrt() * width**2 / (level * width**2 + 1 - level)
        return mean + gain * (noisy - level.sqrt() * mean)

    for _ in range(300):
        said = mean + width * torch.randn(256, 1, 2, 2, generator=chance)
        level = 0.1 + 0.8 * torch.rand(256, 1, 1, 1, generator=chance)
        noisy = (
            level.sqrt() * said + (1 - level).sqrt() * torch.randn(said.shape, generator=chance)
        ).detach()
        of_teacher = expected(noisy, level, 1.0, 0.8)
        of_fake = expected(noisy, level, mean.detach(), width.detach()) if with_fake_score else said.detach()
        optimizer.zero_grad()
        matching.matching(said, of_teacher, of_fake).backward()
        optimizer.step()
    assert abs(float(mean.detach()) - 1.0) < 0.1
    kept = abs(float(width.detach()))
    assert abs(kept - 0.8) < 0.1 if with_fake_score else kept < 0.2
