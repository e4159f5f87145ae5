"""IP-Adapter's image projection: one embedding of a picture becomes a few tokens that look like text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
CLIP says a whole picture in one vector $e$. The UNet wants a few tokens it can attend to as it does to text. So the
adapter has a linear layer, whose output is cut into $n$ tokens, and a layer norm over **each token's** channels (Ye et
al., 2023, section 3.2.1):

$$t_1, \dots, t_n = W e + b, \qquad
\hat t_i = \gamma \odot \frac{t_i - \operatorname{mean}(t_i)}{\sqrt{\operatorname{var}(t_i) + 10^{-5}}} + \beta .$$

The variance is the mean of the squares, as `torch.nn.functional.layer_norm` computes it. The published base adapters
have $n = 4$.

| | shape | dtype |
|---|---|---|
| `image_embeds` | `(N, E)`: N pictures | float32 |
| `weight`, `bias` | `(n * C, E)`, `(n * C,)`: the linear layer | float32 |
| `gamma`, `beta` | `(C,)`: the layer norm | float32 |
| returned | `(N, n, C)`, with $n$ from the shapes | float32 |
""".strip()

EPSILON = 1e-5


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    tokens, channels, embed = integer(generator, 3, 5), 6, 7

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "image_embeds": normal(2, embed),
        "weight": normal(tokens * channels, embed),
        "bias": 2 * normal(tokens * channels),
        "gamma": 1 + 0.3 * normal(channels),
        "beta": normal(channels),
    }


def _norm(tokens: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    import torch

    return torch.nn.functional.layer_norm(tokens, gamma.shape, gamma, beta, EPSILON)


def reference(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    import torch

    from lessonlib.scratch.ip_adapter import ImageProjection

    channels = len(gamma)
    projection = ImageProjection(image_embeds.shape[1], channels, len(bias) // channels).to(image_embeds)
    layers = {
        "image_embeds.weight": weight,
        "image_embeds.bias": bias,
        "norm.weight": gamma,
        "norm.bias": beta,
    }
    projection.load_state_dict(layers)
    with torch.no_grad():
        return projection(image_embeds)


def magnitude(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The sizes that rounding is relative to, carried through the norm.

    With T = |W||e| + |b| for a token t: t - mean is rounded relative to d = T + mean T; the deviation, relative
    to its own size, by mean(|x̂| d) / σ, where x̂ is the normalised token.
    """
    tokens = (image_embeds @ weight.T + bias).unflatten(-1, (-1, len(gamma)))
    sizes = (image_embeds.abs() @ weight.T.abs() + bias.abs()).unflatten(-1, (-1, len(gamma)))
    deviation = (tokens.var(-1, keepdim=True, correction=0) + EPSILON).sqrt()
    normal = ((tokens - tokens.mean(-1, keepdim=True)) / deviation).abs()
    spread = (sizes + sizes.mean(-1, keepdim=True)) / deviation
    return gamma.abs() * (spread + normal * (1 + (normal * spread).mean(-1, keepdim=True))) + beta.abs()


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _flat(image_embeds: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return image_embeds @ weight.T + bias


def _no_norm(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return _flat(image_embeds, weight, bias).unflatten(-1, (-1, len(gamma)))


def _norm_before_cut(
    image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor
) -> Tensor:
    import torch

    flat = _flat(image_embeds, weight, bias)
    normal = torch.nn.functional.layer_norm(flat, flat.shape[-1:], eps=EPSILON)
    return normal.unflatten(-1, (-1, len(gamma))) * gamma + beta


def _cut_across(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    tokens = _flat(image_embeds, weight, bias).unflatten(-1, (len(gamma), -1))
    return _norm(tokens.transpose(1, 2), gamma, beta)


def _no_bias(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return _norm(_no_norm(image_embeds, weight, 0 * bias, gamma, beta), gamma, beta)


def _plain_norm(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    import torch

    return _norm(_no_norm(image_embeds, weight, bias, gamma, beta), torch.ones_like(gamma), 0 * beta)


def _sample_variance(
    image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor
) -> Tensor:
    tokens = _no_norm(image_embeds, weight, bias, gamma, beta)
    deviation = (tokens.var(-1, keepdim=True) + EPSILON).sqrt()
    return gamma * (tokens - tokens.mean(-1, keepdim=True)) / deviation + beta


def _not_cut(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return reference(image_embeds, weight, bias, gamma, beta).flatten(1)


# --- Right answers in other styles --------------------------------------------------------------------------


def _functional(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    import torch.nn.functional as F

    tokens = F.linear(image_embeds, weight, bias).reshape(len(image_embeds), -1, len(gamma))
    return F.layer_norm(tokens, (len(gamma),), gamma, beta)


def _by_hand(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    tokens = (image_embeds @ weight.T + bias).view(len(image_embeds), -1, len(gamma))
    centred = tokens - tokens.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + 1e-5).sqrt() * gamma + beta


def _modules(image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    from torch import nn

    linear, norm = nn.Linear(weight.shape[1], len(weight)), nn.LayerNorm(len(gamma))
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    norm.weight, norm.bias = nn.Parameter(gamma), nn.Parameter(beta)
    return norm(linear(image_embeds).unflatten(1, (-1, len(gamma))))


def _token_by_token(
    image_embeds: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor
) -> Tensor:
    import torch

    channels = len(gamma)
    parts = zip(weight.split(channels), bias.split(channels), strict=True)
    return torch.stack([_norm(image_embeds @ w.T + b, gamma, beta) for w, b in parts], dim=1)


TASK = Task(
    id="image_tokens",
    title="A picture as tokens",
    notebook="03_ip_adapter",
    order=1,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=30,  # a product over 7, two means over 6 channels, differences, squares, root, quotient, affine
    hints=(
        "Three steps: the linear layer, the cut into tokens, the norm.",
        "`torch.nn.functional.linear(image_embeds, weight, bias)`, then `.unflatten(-1, (-1, len(gamma)))`.",
        "`torch.nn.functional.layer_norm(tokens, gamma.shape, gamma, beta)` norms each token.",
    ),
    misconceptions=(
        Misconception("no norm", "These are the tokens before the layer norm.", _no_norm),
        Misconception(
            "norm before the cut",
            "You normalised all numbers of a picture together. Cut first: each token has its own mean and variance.",
            _norm_before_cut,
        ),
        Misconception(
            "cut across",
            "You took every n-th number for a token. The first `C` numbers are the first token.",
            _cut_across,
        ),
        Misconception("no bias", "The linear layer's `bias` is missing.", _no_bias),
        Misconception(
            "norm without its weights",
            "The norm's own scale and shift, `gamma` and `beta`, are missing.",
            _plain_norm,
        ),
        Misconception(
            "sample variance",
            "Your variance divides by C - 1. A layer norm divides by C: `correction=0`.",
            _sample_variance,
        ),
        Misconception(
            "not cut",
            "The numbers are right, but still in one row: return `(N, n, C)`, a token a row.",
            _not_cut,
        ),
    ),
    alternatives=(_functional, _by_hand, _modules, _token_by_token),
)
