"""Every sampler walks diffusers' trajectory: same model, same start, same place after every step."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, UniPCMultistepScheduler

from lessonlib.errors import LessonError
from lessonlib.scratch import samplers as S

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SPACINGS = ["leading", "trailing", "linspace"]
STEPS = [1, 2, 3, 4, 7, 25, 50]


def toy_model(sample: torch.Tensor, timestep: float) -> torch.Tensor:
    """Smooth, nonlinear, different at every timestep, and mixing neighbouring pixels."""
    mixed = sample + 0.3 * sample.roll(1, dims=-1) - 0.2 * sample.roll(1, dims=-3)
    return torch.tanh(mixed) + 0.1 * torch.sin(sample + float(timestep) / 100)


def start(dtype=torch.float64) -> torch.Tensor:
    return torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def alphas_cumprod() -> torch.Tensor:
    return S.scaled_linear_alphas_cumprod().double()


def timesteps(spacing: str, n: int) -> torch.Tensor:
    if spacing == "linspace":
        return S.linspace_timesteps(n).round().long()
    return {"leading": S.leading_timesteps, "trailing": S.trailing_timesteps}[spacing](n)


def in_float64(scheduler):
    """diffusers keeps its tables in float32; the same tables in float64 make it compute in float64."""
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    if hasattr(scheduler, "final_alpha_cumprod"):
        scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    return scheduler


def test_alphas_cumprod_is_the_trained_table():
    assert torch.equal(S.scaled_linear_alphas_cumprod(), DDIMScheduler(**BETAS).alphas_cumprod)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_timesteps_are_those_of_diffusers_for_every_count(spacing):
    scheduler = DDIMScheduler(**BETAS, timestep_spacing=spacing, steps_offset=1)
    for n in range(1, 1001):
        scheduler.set_timesteps(n)
        # diffusers' trailing arange sometimes runs one too far and ends in -1, which is no timestep
        assert torch.equal(timesteps(spacing, n), scheduler.timesteps[:n]), n


@pytest.mark.parametrize("n", [0, -1, 1001])
def test_a_run_of_no_steps_or_too_many_is_refused(n):
    for make in (S.leading_timesteps, S.trailing_timesteps, S.linspace_timesteps, S.lcm_timesteps):
        with pytest.raises(LessonError, match="choose 1 to"):
            make(n)


def test_predict_original_sample_undoes_add_noise():
    x_0, noise = start(), start().flip(0)
    for abar in alphas_cumprod()[[0, 1, 500, 999]]:
        x_t = S.add_noise(x_0, noise, abar)
        torch.testing.assert_close(S.predict_original_sample(noise, x_t, abar), x_0)


def test_add_noise_equals_diffusers():
    t = torch.tensor([3, 871])
    theirs = in_float64(DDIMScheduler(**BETAS)).add_noise(start(), start().flip(0), t)
    ours = S.add_noise(start(), start().flip(0), alphas_cumprod()[t].view(-1, 1, 1, 1))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("set_alpha_to_one", [False, True])
def test_ddim(n, spacing, eta, set_alpha_to_one):
    scheduler = DDIMScheduler(
        **BETAS,
        timestep_spacing=spacing,
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=set_alpha_to_one,
    )
    scheduler = in_float64(scheduler)
    scheduler.set_timesteps(n)
    make = S.DDIM.noiseless_end if set_alpha_to_one else S.DDIM.stable_diffusion
    run = make(timesteps(spacing, n), alphas_cumprod())
    assert len(run) == n
    assert run.init_noise_sigma == scheduler.init_noise_sigma
    generator = torch.Generator().manual_seed(1)
    ours = theirs = start()
    for (t, abar, abar_prev), their_t in zip(run, scheduler.timesteps.tolist(), strict=True):
        assert t == their_t
        noise = torch.randn(ours.shape, generator=generator, dtype=ours.dtype)
        step = scheduler.step(toy_model(theirs, t), t, theirs, eta=eta, variance_noise=noise)
        mine = S.ddim_step(toy_model(ours, t), ours, abar, abar_prev, eta, noise if eta else None)
        torch.testing.assert_close(mine.pred_original_sample, step.pred_original_sample, atol=1e-6, rtol=0)
        ours, theirs = mine.prev_sample, step.prev_sample
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_random_ddim_asks_for_its_noise():
    with pytest.raises(LessonError, match="randn_like"):
        S.ddim_step(start(), start(), alphas_cumprod()[500], alphas_cumprod()[480], eta=0.5)


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_euler(n, spacing):
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(n)
    visited = S.linspace_timesteps(n) if spacing == "linspace" else timesteps(spacing, n)
    run = S.Euler.from_timesteps(visited, S.scaled_linear_alphas_cumprod())
    torch.testing.assert_close(run.sigmas, scheduler.sigmas, atol=1e-5, rtol=1e-5)
    first = run.init_noise_sigma if spacing == "leading" else run.sigmas[0]
    torch.testing.assert_close(first, torch.as_tensor(scheduler.init_noise_sigma), atol=1e-5, rtol=1e-5)
    # Euler's samples reach 15; diffusers steps in float32 whatever it is given
    ours, theirs = start(torch.float32) * first, start(torch.float32) * scheduler.init_noise_sigma
    for (t, sigma, sigma_next), their_t in zip(run, scheduler.timesteps, strict=True):
        torch.testing.assert_close(t, their_t)
        their_input = scheduler.scale_model_input(theirs, their_t)
        our_input = S.scale_model_input(ours, sigma)
        torch.testing.assert_close(our_input, their_input, atol=1e-4, rtol=0)
        theirs = scheduler.step(toy_model(their_input, their_t), their_t, theirs).prev_sample
        ours = S.euler_step(toy_model(our_input, t), ours, sigma, sigma_next).prev_sample
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_euler_and_ddim_walk_the_same_path():
    """Both are the first-order step of one ODE: DDIM's sample is Euler's, scaled to unit variance."""
    abar = alphas_cumprod()
    euler = S.Euler.from_timesteps(S.leading_timesteps(20), abar)
    ddim = S.DDIM.noiseless_end(S.leading_timesteps(20), abar)
    x_ddim = start()
    x_euler = x_ddim / abar[ddim.timesteps[0]].sqrt()
    for (t, sigma, sigma_next), (_, a, a_prev) in zip(euler, ddim, strict=True):
        noise_pred = toy_model(S.scale_model_input(x_euler, sigma), t)
        torch.testing.assert_close(noise_pred, toy_model(x_ddim, t))
        x_euler = S.euler_step(noise_pred, x_euler, sigma, sigma_next).prev_sample
        x_ddim = S.ddim_step(noise_pred, x_ddim, a, a_prev).prev_sample
        torch.testing.assert_close(x_ddim, S.scale_model_input(x_euler, sigma_next))


def test_lcm_timesteps():
    scheduler = LCMScheduler()
    for n in range(1, 51):
        scheduler.set_timesteps(n)
        assert torch.equal(S.lcm_timesteps(n), scheduler.timesteps)
    assert S.lcm_timesteps(4).tolist() == [999, 759, 499, 259]


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_lcm(n):
    scheduler = in_float64(LCMScheduler())
    scheduler.set_timesteps(n)
    run = S.LCM(S.lcm_timesteps(n), alphas_cumprod())
    theirs_from, ours_from = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    ours = theirs = start()
    for i, (t, abar, abar_next) in enumerate(run):
        step = scheduler.step(toy_model(theirs, t), t, theirs, generator=theirs_from)
        noise = torch.randn(ours.shape, generator=ours_from, dtype=ours.dtype) if i < n - 1 else None
        mine = S.lcm_step(toy_model(ours, t), ours, t, abar, abar_next, noise)
        torch.testing.assert_close(mine.pred_original_sample, step.denoised, atol=1e-6, rtol=0)
        ours, theirs = mine.prev_sample, step.prev_sample
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert torch.equal(ours, mine.pred_original_sample)


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_unipc(n, spacing):
    scheduler = UniPCMultistepScheduler(**BETAS, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(n)
    visited = timesteps(spacing, n) if spacing == "trailing" else timesteps(spacing, n + 1)[:-1]
    assert torch.equal(visited, scheduler.timesteps)
    abar = alphas_cumprod()
    sigmas = ((1 - abar[visited]) / abar[visited]).sqrt()
    scheduler.sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
    run = S.UniPC.from_timesteps(visited, abar)
    ours, theirs, history = start(), start(), None
    for i, t in enumerate(run.timesteps.tolist()):
        theirs = scheduler.step(toy_model(theirs, t), t, theirs).prev_sample
        ours, history = run.step(toy_model(ours, t), i, ours, history)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_unipc_converges_faster_than_ddim():
    """On a smooth ODE, to the end of a fine DDIM walk: what the second order and the corrector are for."""
    abar = alphas_cumprod()

    def ddim(n):
        x = start()
        for _t, a, a_prev in S.DDIM.noiseless_end(S.trailing_timesteps(n), abar):
            x = S.ddim_step(torch.tanh(x), x, a, a_prev).prev_sample
        return x

    x, history = start(), None
    run = S.UniPC.from_timesteps(S.trailing_timesteps(10), abar)
    for i in range(10):
        x, history = run.step(torch.tanh(x), i, x, history)
    exact = ddim(1000)
    assert (x - exact).abs().mean() < (ddim(10) - exact).abs().mean() / 3


@pytest.mark.parametrize("n", [4, 25])
def test_float32_stays_within_1e_4(n):
    """What a notebook shows: plain float32 on both sides, SD 1.5's settings."""
    scheduler = DDIMScheduler(**BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(n)
    ours = theirs = start(torch.float32)
    for t, a, a_prev in S.DDIM.stable_diffusion(S.leading_timesteps(n), S.scaled_linear_alphas_cumprod()):
        theirs = scheduler.step(toy_model(theirs, t), t, theirs).prev_sample
        ours = S.ddim_step(toy_model(ours, t), ours, a, a_prev).prev_sample
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)
