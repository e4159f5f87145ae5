"""A convolution that starts as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import nn

TEXT = r"""
ControlNet touches a trained UNet only through zero convolutions: $1 \times 1$ convolutions whose weight **and** bias
are zero at the start (Zhang et al., 2023, section 3.1), so that

$$\mathcal Z(x) = W x + b = 0 \qquad\text{for every } x$$

and the first step of training sees exactly the UNet it began with. Make one and return it, an `nn.Conv2d`.

| | |
|---|---|
| `in_channels`, `out_channels` | ints |
| returned | an `nn.Conv2d` with a bias |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    channels = integer(generator, 2, 12)
    return {"in_channels": channels, "out_channels": channels + integer(generator, 1, 12)}


def _conv(in_channels: int, out_channels: int, kernel_size: int = 1, **options: Any) -> nn.Conv2d:
    from torch import nn

    return nn.Conv2d(in_channels, out_channels, kernel_size, **options)


def reference(in_channels: int, out_channels: int) -> nn.Conv2d:
    from lessonlib.scratch.zero_conv import ZeroConv2d

    return ZeroConv2d(in_channels, out_channels)


def magnitude(in_channels: int, out_channels: int) -> nn.Conv2d:
    return reference(in_channels, out_channels)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _random(in_channels: int, out_channels: int) -> nn.Conv2d:
    return _conv(in_channels, out_channels)


def _bias_left(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = _conv(in_channels, out_channels)
    conv.weight.data.zero_()
    return conv


def _weight_left(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = _conv(in_channels, out_channels)
    if conv.bias is not None:
        conv.bias.data.zero_()
    return conv


def _no_bias(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = _conv(in_channels, out_channels, bias=False)
    conv.weight.data.zero_()
    return conv


def _three_by_three(in_channels: int, out_channels: int) -> nn.Conv2d:
    from lessonlib.scratch.zero_conv import ZeroConv2d

    return ZeroConv2d(in_channels, out_channels, kernel_size=3, padding=1)


def _turned(in_channels: int, out_channels: int) -> nn.Conv2d:
    return reference(out_channels, in_channels)


def _square(in_channels: int, out_channels: int) -> nn.Conv2d:
    return reference(in_channels, in_channels)


# --- Right answers in other styles --------------------------------------------------------------------------


def _init(in_channels: int, out_channels: int) -> nn.Conv2d:
    from torch import nn

    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]
    return conv


def _loop(in_channels: int, out_channels: int) -> nn.Conv2d:
    import torch

    conv = _conv(in_channels, out_channels)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.zero_()
    return conv


def _subclass(in_channels: int, out_channels: int) -> nn.Conv2d:
    from torch import nn

    class ZeroConv2d(nn.Conv2d):
        def reset_parameters(self) -> None:
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    return ZeroConv2d(in_channels, out_channels, 1)


def _new_parameters(in_channels: int, out_channels: int) -> nn.Conv2d:
    import torch
    from torch import nn

    conv = _conv(in_channels, out_channels)
    conv.weight = nn.Parameter(torch.zeros_like(conv.weight))
    conv.bias = nn.Parameter(torch.zeros(out_channels))
    return conv


TASK = Task(
    id="zero_conv",
    title="A zero convolution",
    notebook="02_controlnet",
    order=4,
    text=TEXT,
    points=5,
    minutes=6,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=1,  # zero is exact
    hints=(
        "Make an ordinary `nn.Conv2d` with `kernel_size=1`, then change its numbers.",
        "`nn.init.zeros_(parameter)` sets a parameter to zero; a convolution has two.",
        "`nn.init.zeros_(conv.weight)` and `nn.init.zeros_(conv.bias)`, then return `conv`.",
    ),
    misconceptions=(
        Misconception(
            "random start",
            "This convolution has torch's random start: the UNet would be shaken in the first step. Set its "
            "parameters to zero.",
            _random,
        ),
        Misconception(
            "bias left",
            "The weight is zero, but the bias still has its random start, so the output is not zero.",
            _bias_left,
        ),
        Misconception(
            "weight left",
            "The bias is zero, but the weight still has its random start.",
            _weight_left,
        ),
        Misconception(
            "no bias",
            "A zero convolution has a bias, zero at the start, that learns too.",
            _no_bias,
        ),
        Misconception(
            "three by three",
            "The kernel is 3 x 3. Zero convolutions are 1 x 1 (the last one of the hint encoder excepted).",
            _three_by_three,
        ),
        Misconception(
            "channels turned round",
            "`in_channels` and `out_channels` have changed places: `nn.Conv2d` takes the input's first.",
            _turned,
        ),
        Misconception(
            "as many out as in",
            "As many channels leave it as enter. `out_channels` is an argument of its own.",
            _square,
        ),
    ),
    alternatives=(_init, _loop, _subclass, _new_parameters),
)
