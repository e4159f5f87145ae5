"""sd15: the UNet of Stable Diffusion 1.5 in small, and its text encoder, trained together on the emoji world.

Epsilon prediction on SD's own noise schedule; min-SNR-5 weights (Hang et al. 2023), lifted where noise rules; a tenth of the
captions is the empty string, which is what inference calls "unconditional" here. Text encoder and UNet are optimised jointly
(Rombach et al. 2022, equation 3). Backgrounds are learned long before the shapes of 120 objects are, so latents on objects
weigh more at first; at the end all weigh the same. Ink scenes are drawn more often: where no colour tells a carrot from a
banana, shape alone has to, and it is learned last. Two objects in one scene are drawn more often for the same reason.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.render import render
from lessonlib.world.scene import Scene
from lessonlib.zoo.caches import in_blocks, remembered
from lessonlib.zoo.latents import cached, scene
from lessonlib.zoo.training import Network, Plan, Step, train

SCENES = 64_000
# What ships was trained in parts, some of them with other losses (its card tells); this plan as a whole was never run.
PLAN = Plan(steps=15_000, batch=16, learning_rate=7e-4, seed=41, warmup=100, optimizer="muon")
EMPTY = 0.1  # share of captions replaced by ""
OBJECTS = 3.0  # what a latent on an object weighs at the start, against 1 on the background
INK = 3.0  # how often an ink scene is drawn, against 1 for a scene of any other style
PAIRS = 2.0  # how often two objects are drawn, against 1 for any other scene of their style

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}


def build() -> UNet2DConditionModel:
    """An untrained UNet of 5M parameters: three levels, attention on the upper two, as SD1.5 has it on the upper three."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=128,
        norm_num_groups=16,
    )


def min_snr_weight(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR, gamma) / SNR for epsilon prediction (Hang et al. 2023, equation 7). Shape [B]."""
    alpha_bar = alphas_cumprod[timesteps]
    snr = alpha_bar / (1 - alpha_bar)
    return snr.clamp(max=gamma) / snr


def lift_of_noisy_steps(alphas_cumprod: Tensor, timesteps: Tensor, most: float = 8.0) -> Tensor:
    """min(1 + 1 / SNR, most): up to `most`, an error of epsilon counts as an error of v would. Shape [B].

    v's squared error is (1 + 1 / SNR) times epsilon's (Salimans and Ho 2022, appendix D). Epsilon's alone says little of the
    picture where noise rules (SNR < 1), which is where the caption decides what the picture becomes. Taking it up to `most`
    is a choice of this course; its effect alone was not measured.
    """
    alpha_bar = alphas_cumprod[timesteps]
    return (1 + (1 - alpha_bar) / alpha_bar).clamp(max=most)


def weight_of_objects(masks: Tensor, progress: float) -> Tensor:
    """1 for the background; for what an object covers from `OBJECTS` at the start to 1 at the end.

    Args:
        masks: how much of each latent objects cover, 0..1, [B, 16, 16].
        progress: the share of the training that is done, 0..1.

    Returns:
        [B, 1, 16, 16].
    """
    return (1 + (OBJECTS - 1) * (1 - progress) * masks).unsqueeze(1)


def object_masks(folder: Path, count: int) -> np.ndarray:
    """How much of each latent of the scenes 0..count-1 objects or people cover: uint8 [count, 16, 16], of 255."""

    def covered(index: int) -> np.ndarray:
        share = (render(scene(index)).instances > 0).astype(np.float32)
        return (255 * cv2.resize(share, (16, 16), interpolation=cv2.INTER_AREA)).round().astype(np.uint8)

    rows = (covered(index) for index in range(count))
    return remembered(folder / f"masks-{count}.npy", count, lambda: in_blocks(rows), "object masks")


def shares_of_scenes(scenes: Iterable[Scene]) -> np.ndarray:
    """How often each of the scenes is drawn: float64 [how many there are], of sum 1."""

    def weight(scene: Scene) -> float:
        return (INK if scene.style == "ink" else 1.0) * (PAIRS if scene.kind == "pair" else 1.0)

    weights = np.array([weight(one) for one in scenes])
    return weights / weights.sum()


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids [B, 77], padded as the pipelines pad."""
    return tokenizer(
        texts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def loss_with(plan: Plan, latents: Tensor, masks: np.ndarray, tokenizer: CLIPTokenizer):
    """The loss of a step on cached latents, float16 [N, 4, 16, 16], and `object_masks` of the same scenes."""
    shares = shares_of_scenes(scene(index) for index in range(len(latents)))
    scheduler = DDPMScheduler(
        **{k: v for k, v in SCHEDULER.items() if k not in ("set_alpha_to_one", "steps_offset")}
    )

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        unet: UNet2DConditionModel = network.parts["unet"]
        text: CLIPTextModel = network.parts["text"]
        rows = step.numpy.choice(len(latents), plan.batch, p=shares)
        clean = latents[torch.from_numpy(rows)].float().to(step.device)
        texts = [
            "" if step.numpy.random() < EMPTY else caption(scene(int(row)), step.numpy)
            for row in rows
        ]  # fmt: skip
        noise = torch.randn(clean.shape, generator=step.torch).to(step.device)
        timesteps = torch.randint(0, 1000, (len(rows),), generator=step.torch).to(step.device)
        noisy = scheduler.add_noise(clean, noise, timesteps)
        states = text(input_ids=tokenize(tokenizer, texts).to(step.device)).last_hidden_state
        predicted = unet(noisy, timesteps, encoder_hidden_states=states).sample.float()
        error = (predicted - noise).square()
        covered = torch.from_numpy(masks[rows]).float().to(step.device) / 255
        weighted = (weight_of_objects(covered, step.index / plan.steps) * error).mean(dim=(1, 2, 3))
        alphas_cumprod = scheduler.alphas_cumprod.to(step.device)
        weight = min_snr_weight(alphas_cumprod, timesteps) * lift_of_noisy_steps(alphas_cumprod, timesteps)
        return {"loss": (weight * weighted).mean(), "mse": error.mean()}

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train on the shipped VAE's latents, from the shipped text encoder, and write `runs/sd15/model/{unet,text_encoder}`."""
    vae_folder, text_folder = store.unfold("vae"), store.unfold("text")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vae = AutoencoderKL.from_pretrained(vae_folder).to(device)
    latents = cached(vae, runs / "latents" / vae_folder.name, SCENES, device)
    masks = object_masks(runs / "masks", SCENES)
    tokenizer = CLIPTokenizer.from_pretrained(text_folder / "tokenizer")
    if plan.start == "shipped":
        shipped = store.unfold("sd15")
        unet = UNet2DConditionModel.from_pretrained(shipped / "unet")
        # what was trained on the shipped sd15 reads these states
        text = CLIPTextModel.from_pretrained(shipped / "text_encoder").requires_grad_(False)
    else:
        unet, text = build(), CLIPTextModel.from_pretrained(text_folder / "text_encoder")
    if device.type == "cpu":
        # the backward of the fused kernel took a third of a step there
        unet.set_attn_processor(AttnProcessor())
    loss = loss_with(plan, latents, masks, tokenizer)
    trained = train("sd15", Network(unet=unet, text=text), loss, plan, runs=runs, minutes=minutes).to("cpu")
    folder = runs / "sd15/model"
    trained.parts["unet"].save_pretrained(folder / "unet")
    trained.parts["text"].save_pretrained(folder / "text_encoder")
    DDIMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    return folder


def ship(runs: Path) -> None:
    """Store UNet, tuned text encoder and scheduler, and register the pipeline."""
    folder = runs / "sd15/model"
    store.fold(folder / "unet", "sd15-unet")
    store.fold(folder / "text_encoder", "sd15-text")
    store.fold(folder / "scheduler", "scheduler-sd")
    model_index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    folders = {
        "scheduler": "scheduler-sd",
        "text_encoder": "sd15-text",
        "tokenizer": "tokenizer-l",
        "unet": "sd15-unet",
        "vae": "vae",
    }
    store.add_member("sd15", model_index, folders)
