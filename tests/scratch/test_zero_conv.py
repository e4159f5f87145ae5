"""A zero convolution changes nothing at first, and its gradient is the equation's."""

import torch

from lessonlib.scratch.zero_conv import ZeroConv2d


def test_starts_as_nothing_at_any_size():
    assert torch.equal(ZeroConv2d(3)(torch.randn(2, 3, 5, 4)), torch.zeros(2, 3, 5, 4))
    assert torch.equal(
        ZeroConv2d(3, 7, kernel_size=3, padding=1)(torch.randn(2, 3, 5, 4)), torch.zeros(2, 7, 5, 4)
    )
    assert ZeroConv2d(320).weight.shape == (320, 320, 1, 1)


def test_first_gradient_reaches_its_own_weight_alone():
    conv, x = ZeroConv2d(3), torch.randn(2, 3, 5, 4, requires_grad=True)
    upstream = torch.randn(2, 3, 5, 4)
    conv(x).backward(upstream)
    # ∂L/∂w = Σ g xᵀ,  ∂L/∂b = Σ g,  ∂L/∂x = wᵀ g = 0
    torch.testing.assert_close(
        conv.weight.grad[:, :, 0, 0], torch.einsum("bohw,bihw->oi", upstream, x.detach())
    )
    torch.testing.assert_close(conv.bias.grad, upstream.sum((0, 2, 3)))
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_second_gradient_passes_through():
    conv, x = ZeroConv2d(3), torch.randn(2, 3, 5, 4)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    (conv(x) - 1).square().mean().backward()
    optimizer.step()
    x.requires_grad_()
    (conv(x) - 1).square().mean().backward()
    assert x.grad.abs().max() > 0
