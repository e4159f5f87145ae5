"""Samplers: from noise to picture, one prediction at a time.

Every step is a function of what the model said and where on the noise schedule it said it; nothing is
remembered behind the reader's back. `lessonlib.scratch.schedule` says where the steps are; `ddim`, `euler`,
`lcm` and `unipc` say how one is taken.
"""

from lessonlib.scratch.samplers.ddim import DDIM, ddim_step
from lessonlib.scratch.samplers.euler import Euler, euler_step, scale_model_input
from lessonlib.scratch.samplers.lcm import LCM, lcm_step, lcm_timesteps
from lessonlib.scratch.samplers.unipc import History, UniPC, unipc_corrector, unipc_predictor
from lessonlib.scratch.schedule import (
    Step,
    add_noise,
    leading_timesteps,
    linspace_timesteps,
    predict_original_sample,
    scaled_linear_alphas_cumprod,
    trailing_timesteps,
)

__all__ = [
    "DDIM",
    "LCM",
    "Euler",
    "History",
    "Step",
    "UniPC",
    "add_noise",
    "ddim_step",
    "euler_step",
    "lcm_step",
    "lcm_timesteps",
    "leading_timesteps",
    "linspace_timesteps",
    "predict_original_sample",
    "scale_model_input",
    "scaled_linear_alphas_cumprod",
    "trailing_timesteps",
    "unipc_corrector",
    "unipc_predictor",
]
