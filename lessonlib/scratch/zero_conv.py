"""A convolution that starts as nothing: ControlNet's way of touching a trained network without harming it.

Source: Zhang, Rao, Agrawala, "Adding Conditional Control to Text-to-Image Diffusion Models" (2302.05543),
section 3.1.
"""

from __future__ import annotations

from torch import nn


class ZeroConv2d(nn.Conv2d):
    """A convolution whose weight and bias start at zero, 1×1 unless asked otherwise.

    At the start y = Z(x) = 0, so what it is added to is unchanged. It can still learn, because the gradient
    of its own weight is its input, which is not zero:

        y = w·x + b,  w = b = 0:   ∂y/∂w = x ≠ 0,   ∂y/∂b = 1,   ∂y/∂x = w = 0

    The last term is why everything *before* the convolution waits one step: no gradient passes through it
    until its own weight has moved.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; as many as come in by default.
        kernel_size, padding: as in `torch.nn.Conv2d`.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, *, kernel_size: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels or in_channels, kernel_size, padding=padding)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
