import pytest
import torch
from diffusers import LCMScheduler

from lessonlib.scratch import consistency as C
from lessonlib.scratch.samplers import add_noise, ddim_step, scaled_linear_alphas_cumprod

F64 = torch.float64


def alphas_cumprod():
    return scaled_linear_alphas_cumprod().double()


def sample(seed=0):
    return torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=F64)


def network(weight):
    """A little noise predictor with one weight a channel."""
    return lambda x, t: torch.tanh(weight.view(1, -1, 1, 1) * x) + torch.sin(t / 100).view(-1, 1, 1, 1)


def test_boundary_scalings_equal_the_schedulers():
    scheduler = LCMScheduler()
    for t in [0, 1, 19, 259, 999]:
        ours = C.boundary_scalings(torch.tensor(float(t), dtype=F64))
        theirs = scheduler.get_scalings_for_boundary_condition_discrete(t)
        for mine, their in zip(ours, theirs, strict=True):
            assert mine.item() == pytest.approx(their, abs=1e-12)


def test_at_time_zero_it_is_the_identity_whatever_the_network_says():
    x = sample()
    for noise_pred in (sample(1), 1e6 * sample(2)):
        zero = torch.zeros((), dtype=F64)
        assert torch.equal(C.consistency_function(noise_pred, x, zero, alphas_cumprod()[0]), x)


def test_late_it_is_the_predicted_clean_sample():
    x_0, noise, abar = sample(), sample(1), alphas_cumprod()[500]
    f = C.consistency_function(noise, add_noise(x_0, noise, abar), torch.tensor(500.0, dtype=F64), abar)
    torch.testing.assert_close(f, x_0, atol=1e-6, rtol=0)


def test_pseudo_huber_is_quadratic_near_zero_and_linear_far_off():
    zero = torch.zeros(1, dtype=F64)
    near, far = torch.tensor([1e-6], dtype=F64), torch.tensor([10.0], dtype=F64)
    torch.testing.assert_close(C.pseudo_huber(near, zero), near**2 / 2e-3, rtol=1e-5, atol=0)
    torch.testing.assert_close(C.pseudo_huber(far, zero), far - 1e-3, rtol=1e-6, atol=0)
    d = torch.linspace(-2, 2, 41, dtype=F64)
    torch.testing.assert_close(C.pseudo_huber(d, 0 * d), (d**2 + 1e-6).sqrt() - 1e-3, rtol=0, atol=1e-12)


def test_pseudo_huber_keeps_its_digits_in_float32():
    d = torch.logspace(-7, 1, 50, dtype=F64)
    exact = C.pseudo_huber(d, 0 * d)
    ours = C.pseudo_huber(d.float(), 0 * d.float()).double()
    textbook = ((d.float() ** 2 + 1e-6).sqrt() - 1e-3).double()
    assert ((ours - exact) / exact).abs().max() < 1e-5
    assert ((textbook - exact) / exact).abs().max() > 0.5  # why the textbook form is not used


def test_solver_timesteps_are_those_that_the_sampler_visits():
    start, end = C.solver_timesteps()
    scheduler = LCMScheduler()
    scheduler.set_timesteps(50)
    assert start.flip(0).tolist() == scheduler.timesteps.tolist()
    assert end[:2].tolist() == [0, 19]
    assert (start - end).tolist() == [19] + [20] * 49


def test_the_solver_follows_the_guided_trajectory():
    """Guiding eps and taking one step equals guiding the two steps, as the paper writes it."""
    x, cond, uncond = sample(), sample(1), sample(2)
    abar_t, abar_prev, w = alphas_cumprod()[519], alphas_cumprod()[499], 6.5

    def psi(eps):
        x_0 = (x - (1 - abar_t).sqrt() * eps) / abar_t.sqrt()
        return abar_prev.sqrt() * x_0 + (1 - abar_prev).sqrt() * eps - x

    expected = x + (1 + w) * psi(cond) - w * psi(uncond)
    actual = C.augmented_solver_step(uncond, cond, x, abar_t, abar_prev, w)
    torch.testing.assert_close(actual, expected, atol=1e-10, rtol=0)
    guided = uncond + (1 + w) * (cond - uncond)
    torch.testing.assert_close(actual, ddim_step(guided, x, abar_t, abar_prev).prev_sample)


def loss(student, target=None, w=(0.0, 4.0, 8.0), timestep=(19, 519, 999)):
    start = torch.tensor(timestep)
    cond, uncond = network(torch.full((4,), 0.3, dtype=F64)), network(torch.full((4,), -0.2, dtype=F64))
    return C.consistency_distillation_loss(
        student,
        target or student,
        cond,
        uncond,
        sample(),
        sample(1),
        start,
        (start - 20).clamp(min=0),
        torch.tensor(w, dtype=F64),
        alphas_cumprod(),
    )


def test_the_loss_equals_the_paper_written_out_sample_by_sample():
    weight, slow = (
        torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64),
        torch.tensor([0.3, 0.1, 0.2, 0.5], dtype=F64),
    )
    abar = alphas_cumprod()
    losses = []
    for b, (t, w) in enumerate(zip([19, 519, 999], [0.0, 4.0, 8.0], strict=True)):
        x_0, z, n = sample()[b : b + 1], sample(1)[b : b + 1], max(t - 20, 0)

        def clean(eps, x, i):
            return (x - (1 - abar[i]).sqrt() * eps) / abar[i].sqrt()

        def f(net, x, i):
            skip, out = 0.25 / ((10 * i) ** 2 + 0.25), 10 * i / ((10 * i) ** 2 + 0.25) ** 0.5
            return skip * x + out * clean(net(x, torch.tensor([i])), x, i)

        x = abar[t].sqrt() * x_0 + (1 - abar[t]).sqrt() * z
        cond = network(torch.full((4,), 0.3, dtype=F64))(x, torch.tensor([t]))
        uncond = network(torch.full((4,), -0.2, dtype=F64))(x, torch.tensor([t]))
        eps, x_clean = (
            (1 + w) * cond - w * uncond,
            (1 + w) * clean(cond, x, t) - w * clean(uncond, x, t),
        )
        x_n = abar[n].sqrt() * x_clean + (1 - abar[n]).sqrt() * eps
        d = f(network(weight), x, t) - f(network(slow), x_n, n)
        losses.append(((d**2 + 1e-6).sqrt() - 1e-3).mean())
    actual = loss(network(weight), network(slow))
    torch.testing.assert_close(actual, torch.stack(losses).mean(), atol=1e-9, rtol=0)


def test_gradients_reach_the_student_alone():
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64, requires_grad=True)
    slow = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64, requires_grad=True)
    loss(network(weight), network(slow)).backward()
    assert slow.grad is None
    assert weight.grad is not None
    assert weight.grad.abs().min() > 0


def test_the_gradient_is_right():
    slow = network(torch.tensor([0.3, 0.1, 0.2, 0.5], dtype=F64))
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: loss(network(v), slow), weight)


def test_a_consistent_student_has_no_loss():
    """If all data were one point mu, whoever knows mu is consistent, and so is its teacher's walk."""
    abar, mu = alphas_cumprod(), sample()[:1]

    def knows(x, t):
        a = abar[t].view(-1, 1, 1, 1)
        return (x - a.sqrt() * mu) / (1 - a).sqrt()

    start = torch.tensor([39, 519, 999])
    arguments = (
        mu.expand(3, -1, -1, -1),
        sample(1),
        start,
        start - 20,
        torch.full((3,), 5.0, dtype=F64),
        abar,
    )
    assert C.consistency_distillation_loss(knows, knows, knows, knows, *arguments) < 1e-6
    other = network(torch.ones(4, dtype=F64))
    assert C.consistency_distillation_loss(other, other, knows, knows, *arguments) > 1e-2
