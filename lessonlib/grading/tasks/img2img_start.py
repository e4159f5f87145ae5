"""Strength: at which step image-to-image begins, and what it begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import integer, uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Image-to-image does not begin with pure noise. It puts noise on your picture's latents $z_0$ and enters the
schedule in the middle; `strength` $s$ says how early. Of the $n$ `timesteps`, which fall from noisy to clean,
the last $\lfloor n s \rfloor$ are run, and the latents begin at the level of the first of them, $t_1$
(Meng et al. 2022):

$$z_{t_1} = \sqrt{\bar\alpha_{t_1}}\;z_0 + \sqrt{1 - \bar\alpha_{t_1}}\;\epsilon.$$

Return the pair `(timesteps to run, first latents)`.

| | shape | dtype |
|---|---|---|
| `image_latents` ($z_0$), `noise` ($\epsilon$) | `(B, C, H, W)` | float32 |
| `timesteps` | `(n,)` | int64 |
| `alphas_cumprod` ($\bar\alpha$, one for every training timestep) | `(1000,)` | float32 |
| `strength` | a Python float, above 0, at most 1 | |
| returned | `(⌊ns⌋,)` and `(B, C, H, W)` | int64, float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """n times the strength lies well above its whole part, so that cutting and rounding differ."""
    import torch

    from lessonlib.scratch.schedule import leading_timesteps, scaled_linear_alphas_cumprod

    generator = torch.Generator().manual_seed(seed)
    image_latents, noise = torch.randn(2, 2, 4, 6, 5, generator=generator)
    steps = integer(generator, 12, 20)
    whole = integer(generator, steps // 2 + 1, steps - 4)
    return {
        "image_latents": image_latents,
        "noise": noise,
        "timesteps": leading_timesteps(steps),
        "alphas_cumprod": scaled_linear_alphas_cumprod(),
        "strength": round((whole + uniform(generator, 0.6, 0.8)) / steps, 4),
    }


def reference(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    from lessonlib.scratch.editing import img2img_timesteps

    return _begun(image_latents, noise, img2img_timesteps(timesteps, strength), alphas_cumprod)


def _begun(
    image_latents: Tensor, noise: Tensor, run: Tensor, alphas_cumprod: Tensor
) -> tuple[Tensor, Tensor]:
    from lessonlib.scratch.schedule import add_noise

    return run, add_noise(image_latents, noise, alphas_cumprod[run[0]])


def magnitude(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """The noisy latents with every sign made plus; the timesteps are whole numbers and exact."""
    return reference(image_latents.abs(), noise.abs(), timesteps, alphas_cumprod, strength)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _first_steps(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _begun(image_latents, noise, timesteps[: int(len(timesteps) * strength)], alphas_cumprod)


def _strength_reversed(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    run = timesteps[int(len(timesteps) * strength) :]
    return _begun(image_latents, noise, run, alphas_cumprod)


def _rounded(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    run = timesteps[len(timesteps) - round(len(timesteps) * strength) :]
    return _begun(image_latents, noise, run, alphas_cumprod)


def _noise_alone(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return reference(image_latents, noise, timesteps, alphas_cumprod, strength)[0], noise


def _not_noised(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return reference(image_latents, noise, timesteps, alphas_cumprod, strength)[0], image_latents


def _top_level(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    run = reference(image_latents, noise, timesteps, alphas_cumprod, strength)[0]
    return run, _begun(image_latents, noise, timesteps, alphas_cumprod)[1]


def _counted_by_place(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    run = reference(image_latents, noise, timesteps, alphas_cumprod, strength)[0]
    alpha = alphas_cumprod[len(timesteps) - len(run)]
    return run, alpha.sqrt() * image_latents + (1 - alpha).sqrt() * noise


def _mixed_by_strength(
    image_latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    run = reference(image_latents, noise, timesteps, alphas_cumprod, strength)[0]
    return run, (1 - strength) * image_latents + strength * noise


# --- Right answers in other styles --------------------------------------------------------------------------


def _from_the_end(z: Tensor, e: Tensor, t: Tensor, alphas: Tensor, s: float) -> tuple[Tensor, Tensor]:
    run = t[-int(len(t) * s) :]
    a = alphas[run[0]]
    return run, a**0.5 * z + (1 - a) ** 0.5 * e


def _as_in_diffusers(z: Tensor, e: Tensor, t: Tensor, alphas: Tensor, s: float) -> tuple[Tensor, Tensor]:
    init_timestep = min(int(t.numel() * s), t.numel())
    t_start = max(t.numel() - init_timestep, 0)
    a = alphas[t[t_start]].view(1, 1, 1, 1)
    return t[t_start:], a.sqrt() * z + (1 - a).sqrt() * e


def _in_place(z: Tensor, e: Tensor, t: Tensor, alphas: Tensor, s: float) -> tuple[Tensor, Tensor]:
    import math

    t = t[t.shape[0] - math.floor(t.shape[0] * s) :].clone()
    a = alphas[int(t[0])].item()
    return t, z.mul_(math.sqrt(a)).add_(e, alpha=math.sqrt(1 - a))


TASK = Task(
    id="img2img_start",
    title="Strength: where image-to-image begins",
    notebook="05_editing_and_prompts",
    order=1,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=8,  # 1 - alpha, two roots, two products, a sum, and alpha as a Python number and back
    hints=(
        "A large strength runs many steps, so it enters early: count from the end of the schedule.",
        "`run = int(len(timesteps) * strength)` steps are run. The first latents lie at the level of the first "
        "of **these**.",
        "`timesteps[len(timesteps) - run:]`; its first entry is an index into `alphas_cumprod`.",
    ),
    misconceptions=(
        Misconception(
            "the first steps",
            "You run the first steps and stop half-way: the picture would stay noisy. Run the **last** ones.",
            _first_steps,
        ),
        Misconception(
            "strength the other way",
            "You skip as many steps as should run. Strength 1 forgets the picture and runs everything.",
            _strength_reversed,
        ),
        Misconception(
            "rounded",
            "You round the number of steps. diffusers cuts: `int(n * strength)`.",
            _rounded,
        ),
        Misconception(
            "noise alone",
            "You begin with pure noise, so the picture has no say at all. Put noise **on** its latents.",
            _noise_alone,
        ),
        Misconception(
            "no noise",
            "You begin with the clean latents. The UNet is told that they are as noisy as the first timestep says: "
            "put that much noise on.",
            _not_noised,
        ),
        Misconception(
            "noise of the whole schedule",
            "You noise to the level of the very first timestep. Take the first of those that are run.",
            _top_level,
        ),
        Misconception(
            "place for timestep",
            "You look up alphas_cumprod by the step's place in the schedule. The table has an entry for each of "
            "the 1000 training timesteps: look up the timestep itself.",
            _counted_by_place,
        ),
        Misconception(
            "mixed by strength",
            "You fade linearly from picture to noise. How much noise a timestep means is in alphas_cumprod; "
            "strength only chooses the timestep.",
            _mixed_by_strength,
        ),
    ),
    alternatives=(_from_the_end, _as_in_diffusers, _in_place),
)
