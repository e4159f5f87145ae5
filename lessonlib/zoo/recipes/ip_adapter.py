"""IP-Adapter, plus and face: a picture as a prompt, read by attention of its own beside the text's.

Ye et al. (2023): every cross-attention gets a second key and value for the picture's tokens; only those and the projection
are trained. The base adapter makes 4 tokens of the picture's embedding, plus and face 16 of its patches (a resampler). They
begin as the words for what is seen (`lessonlib.zoo.words`).

What the reference shows is what is learned. Half of the references are the picture itself, half the same things before
another background (for face: the head alone, half of the time in another picture of the same person), with a text that
says which background: so the text keeps the last word on what it names. A quarter of the texts is empty: an empty prompt
must be enough. In half of the batches the picture counts 0.6 instead of 1, as it will where both are to be seen.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from lessonlib.files import replacing
from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.render import render
from lessonlib.world.scene import Scene, is_held_out, sample_person
from lessonlib.world.vocabulary import BACKGROUNDS, OUTFITS, POSES, STYLES
from lessonlib.zoo import words
from lessonlib.zoo.base import Base, load_base
from lessonlib.zoo.caches import remembered
from lessonlib.zoo.latents import cached, person_scene, scene
from lessonlib.zoo.recipes.image_encoder import WORDS, as_pixels, head
from lessonlib.zoo.training import Network, Plan, Step, train

Kind = Literal["ip-adapter", "ip-adapter-plus", "ip-adapter-face"]
FILES: dict[Kind, str] = {
    "ip-adapter": "ip-adapter_sd15.safetensors",
    "ip-adapter-plus": "ip-adapter-plus_sd15.safetensors",
    "ip-adapter-face": "ip-adapter-full-face_sd15.safetensors",
}
# 0.6 s a step on one CPU core: 20 minutes, after a quarter of an hour in which a resampler learns the words (not a part of
# the checkpoint: a run that is killed before its first step begins them anew)
PLAN = Plan(steps=2000, batch=16, learning_rate=6e-4, seed=91, warmup=100, optimizer="muon")
# With 6,000 scenes and 625 steps, a resampler's token for the thing lay nearest to the right one of 120 names in 77 of 100
# new pictures; with 32,000 and 2,500 steps in 89. The base's single linear layer gained nothing: 82 both times (on the
# image encoder of then).
# What the encoder says of them takes 1.3 GB on disk for each of plus and face.
SCENES = 32_000
DESCRIBING = {"ip-adapter": words.STEPS, "ip-adapter-plus": 4000, "ip-adapter-face": 4000}  # steps
TOKENS, PLUS_TOKENS = WORDS, 16  # the encoder was taught to tell as many words linearly
BOTH = 0.2  # share of the batches that are shown both references at once
BARE = 0.6  # share of the rows with their own picture that have no text
PARTIAL = 0.5  # share of the texts that leave to the reference what is shown; the others are captions
NO_PICTURE, NOTHING = 0.05, 0.07  # shares of rows without a picture, and without picture and text
TOLD = 0.75  # how much of the target is what sd15 predicts when it is told everything in words; the rest is the noise
QUIET = 0.6  # the adapter's scale in half of the batches, where text and reference share the picture; 1 in the others
_BLOCK = 40


# --- The adapter -----------------------------------------------------------------------------------


def attach(unet: UNet2DConditionModel, weights: dict[str, Tensor], device: torch.device) -> Network:
    """Put an adapter file's weights into the UNet and return what is trained of it: projection and attention.

    The UNet is changed in place, as `load_ip_adapter` changes it; on a CPU its attention is the plain one.
    """
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in weights.items():
        part, name = key.split(".", 1)
        parts[part][name] = value
    unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
    if device.type == "cpu":
        unet.set_attn_processor({name: _plain(one) for name, one in unet.attn_processors.items()})
    unet.to(device)
    attention = nn.ModuleList(_cross_attention(unet)).requires_grad_(True)
    return Network(projection=unet.encoder_hid_proj.requires_grad_(True), attention=attention)


def _plain(processor: nn.Module) -> nn.Module:
    """The same processor without the fused kernel."""
    if not hasattr(processor, "to_k_ip"):
        return processor
    plain = IPAdapterAttnProcessor(
        processor.hidden_size, processor.cross_attention_dim, processor.num_tokens, processor.scale
    )
    plain.load_state_dict(processor.state_dict())
    return plain


def set_scale(unet: UNet2DConditionModel, scale: float) -> None:
    """How much the picture counts, as `set_ip_adapter_scale` sets it."""
    for processor in _cross_attention(unet):
        processor.scale = [scale]


def _cross_attention(unet: UNet2DConditionModel) -> list[nn.Module]:
    """The processors with keys and values for pictures, in the file's order."""
    return [processor for processor in unet.attn_processors.values() if hasattr(processor, "to_k_ip")]


def fresh_weights(
    unet: UNet2DConditionModel, kind: Kind, encoder: CLIPVisionModelWithProjection
) -> dict[str, Tensor]:
    """An untrained adapter as its file: the pictures' keys and values start as the text's own.

    `unet` must have no adapter yet.
    """
    width, config = unet.config.cross_attention_dim, encoder.config
    if kind == "ip-adapter":
        projection: nn.Module = ImageProjection(config.projection_dim, width, TOKENS)
    else:
        projection = IPAdapterPlusImageProjection(
            embed_dims=config.hidden_size,
            output_dims=width,
            hidden_dims=128,
            heads=2,
            num_queries=PLUS_TOKENS,
        )
    weights = {f"image_proj.{key}": value for key, value in projection_file(projection).items()}
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(crossing):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        for letter in "kv":
            key = f"ip_adapter.{2 * number + 1}.to_{letter}_ip.weight"
            weights[key] = getattr(attention, f"to_{letter}").weight.detach().clone()
    return weights


def weights_of(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The adapter in the UNet as its file: `image_proj.*` and `ip_adapter.{1,3,5,...}.to_{k,v}_ip.weight`."""
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    weights = {f"image_proj.{key}": value for key, value in projection_file(projection).items()}
    for number, processor in enumerate(_cross_attention(unet)):
        weights[f"ip_adapter.{2 * number + 1}.to_k_ip.weight"] = processor.to_k_ip[0].weight
        weights[f"ip_adapter.{2 * number + 1}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    return {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}


def projection_file(projection: nn.Module) -> dict[str, Tensor]:
    """A projection's weights under the names of the published files, which diffusers' loader translates back."""
    state = projection.state_dict()
    if isinstance(projection, ImageProjection):
        return {key.replace("image_embeds", "proj"): value for key, value in state.items()}
    names = {
        "ln0.": "0.norm1.", "ln1.": "0.norm2.", "attn.to_q.": "0.to_q.", "attn.to_out.0.": "0.to_out.",
        "ff.0.": "1.0.", "ff.1.net.0.proj.": "1.1.", "ff.1.net.2.": "1.3.",
    }  # fmt: skip
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith("layers."):
            renamed[key] = value
            continue
        _, layer, rest = key.split(".", 2)
        if rest == "attn.to_k.weight":
            values = state[f"layers.{layer}.attn.to_v.weight"]
            renamed[f"layers.{layer}.0.to_kv.weight"] = torch.cat([value, values])
        elif rest != "attn.to_v.weight":
            old = next(old for old in names if rest.startswith(old))
            renamed[f"layers.{layer}.{names[old]}{rest.removeprefix(old)}"] = value
    return renamed


# --- What it learns from ---------------------------------------------------------------------------


def stream(kind: Kind) -> Callable[[int], Scene]:
    """The training scenes: for faces people alone."""
    return person_scene if kind == "ip-adapter-face" else scene


def elsewhere(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same things in the same style before another background; never a held-out combination."""
    while True:
        other = replace(scene, background=str(rng.choice(list(BACKGROUNDS))), seed=int(rng.integers(2**31)))
        if other.background != scene.background and not is_held_out(other):
            return other


def again(scene: Scene, rng: np.random.Generator) -> Scene:
    """Another picture of the same person: other clothes, pose, background and style."""
    person = sample_person(rng, identity=scene.person.identity)
    moved = replace(elsewhere(scene, rng), person=person)
    return replace(moved, style=str(rng.choice(list(STYLES))))


def referred(kind: Kind, index: int) -> tuple[Scene, Scene]:
    """The two scenes whose pictures may stand for scene number `index`: itself, and the same elsewhere."""
    own = stream(kind)(index)
    rng = np.random.default_rng([PLAN.seed, index])
    return own, again(own, rng) if kind == "ip-adapter-face" else elsewhere(own, rng)


def references(kind: Kind, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of `referred`, for faces their heads alone: uint8 [128, 128, 3] each."""
    own, other = (render(scene) for scene in referred(kind, index))
    return (head(own), head(other)) if kind == "ip-adapter-face" else (own.image, other.image)


@torch.no_grad()
def encoded(encoder: CLIPVisionModelWithProjection, pixels: Tensor, kind: Kind) -> Tensor:
    """Pictures as the adapter reads them: embeddings [B, 128], or states of the last layer but one [B, 65, 160]."""
    if kind == "ip-adapter":
        return encoder(pixel_values=pixels).image_embeds
    return encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


def nothing_seen(encoder: CLIPVisionModelWithProjection, kind: Kind) -> Tensor:
    """What the pipelines show the unconditional branch: a zero embedding, or the states of a picture of zeros."""
    size = encoder.config.image_size
    pixels = torch.zeros(1, 3, size, size, device=encoder.device)
    seen = encoded(encoder, pixels, kind)[0]
    return torch.zeros_like(seen) if kind == "ip-adapter" else seen


def encoded_references(
    encoder: CLIPVisionModelWithProjection, kind: Kind, folder: Path, count: int
) -> np.ndarray:
    """Both references of every scene, encoded once and kept under `folder`: float16 [count, 2, ...]."""

    def blocks() -> Iterable[np.ndarray]:
        for start in range(0, count, _BLOCK):
            pairs = [references(kind, index) for index in range(start, min(start + _BLOCK, count))]
            pictures = np.stack([picture for pair in pairs for picture in pair])
            rows = encoded(encoder, as_pixels(pictures).to(encoder.device), kind)
            yield rows.unflatten(0, (len(pairs), 2)).half().cpu().numpy()

    return remembered(folder / f"{kind}-{count}.npy", count, blocks, f"references for {kind}")


def partial(scene: Scene, rng: np.random.Generator) -> str:
    """A text that leaves to the reference who or what is shown."""

    def one_of(ways: tuple[str, ...]) -> str:
        return ways[int(rng.integers(len(ways)))]

    words = [one_of(BACKGROUNDS[scene.background])]
    if scene.person is not None:
        words = ["a person", one_of(OUTFITS[scene.person.outfit]), *words]
        if rng.random() < 0.5:
            words.insert(2, one_of(POSES[scene.person.pose]))
    style = f", {one_of(STYLES[scene.style])}" if rng.random() < 0.5 else ""
    return " ".join(words) + style


def describe(base: Base, kind: Kind, network: Network, seen: np.ndarray, seed: int, steps: int) -> None:
    """Let the attached adapter's projection begin with the words for each picture (`words`). `seen` as for `loss_of`."""
    projection = network.parts["projection"].image_projection_layers[0]
    scenes = [one for index in range(len(seen)) for one in referred(kind, index)]
    count = TOKENS if kind == "ip-adapter" else PLUS_TOKENS
    wanted = words.wanted_states(base, scenes, count, head_alone=kind == "ip-adapter-face")
    words.teach(projection, seen.reshape(-1, *seen.shape[2:]), wanted, seed, steps)


# --- Training --------------------------------------------------------------------------------------


def loss_of(
    base: Base,
    told: UNet2DConditionModel,
    latents: Tensor,
    seen: np.ndarray,
    blank: Tensor,
    draw: Callable[[int], Scene],
    batch: int,
) -> Callable[[Step], dict[str, Tensor]]:
    """The loss of a step; `base.unet` holds the adapter.

    The prediction is pulled towards the noise and, more strongly, towards what sd15 predicts when words tell it all that the
    picture shows: that says the same with far less chance in it.

    Args:
        told: sd15's UNet without an adapter.
        latents: float16 [N, 4, h, w] of the scenes.
        seen: float16 [N, 2, ...], the scenes' encoded references.
        blank: [...], what stands for no picture.
    """

    def loss(step: Step) -> dict[str, Tensor]:
        rng = step.numpy
        rows = np.sort(rng.integers(0, len(latents), batch))
        shown = torch.from_numpy(seen[rows]).float().to(base.device)
        chosen = rng.integers(0, 2, batch)
        both = rng.random() < BOTH
        set_scale(base.unet, QUIET if rng.random() < 0.5 else 1.0)
        if not both:
            shown = shown[torch.arange(batch), torch.from_numpy(chosen)][:, None]
        texts, whole = [], []
        for k, row in enumerate(rows):
            chance = rng.random()
            if chance < NOTHING + NO_PICTURE:
                shown[k] = blank
            what = draw(int(row))
            # only a reference that shows the whole picture may go without a text
            bare = chosen[k] == 0 and not both and rng.random() < BARE
            text = partial(what, rng) if rng.random() < PARTIAL else caption(what, rng)
            texts.append("" if bare or chance < NOTHING else text)
            whole.append(caption(what) if chance >= NOTHING + NO_PICTURE else texts[-1])
        noised = base.noised(latents[torch.from_numpy(rows)].float().to(base.device), step)
        predicted = base.unet(
            noised.latents,
            noised.timesteps,
            base.states(texts),
            added_cond_kwargs={"image_embeds": [shown]},
        ).sample
        with torch.no_grad():
            wanted = told(noised.latents, noised.timesteps, base.states(whole)).sample
        return noised._replace(noise=(1 - TOLD) * noised.noise + TOLD * wanted).loss(predicted)

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN, *, kind: Kind) -> Path:
    """Train beside the shipped sd15 and image encoder and write the adapter's file into `runs/<kind>/model`."""
    base, encoder_folder = load_base(), store.unfold("image_encoder")
    encoder = CLIPVisionModelWithProjection.from_pretrained(encoder_folder).eval().to(base.device)
    torch.manual_seed(plan.seed)
    if plan.start == "shipped":
        weights = load_file(store.unfold("ip-adapter") / "models" / FILES[kind])
    else:
        weights = fresh_weights(base.unet, kind, encoder)
    network = attach(base.unet, weights, base.device)
    seen = encoded_references(encoder, kind, runs / "references" / encoder_folder.name, SCENES)
    if plan.start == "scratch" and not (runs / kind / "checkpoint").exists():
        describe(base, kind, network, seen, plan.seed, DESCRIBING[kind])
    latents = scene_latents(base, kind, runs, SCENES)
    told = load_base().unet
    loss = loss_of(base, told, latents, seen, nothing_seen(encoder, kind), stream(kind), plan.batch)
    train(kind, network, lambda _, step: loss(step), plan, runs=runs, minutes=minutes)
    with replacing(runs / kind / "model" / FILES[kind]) as temporary:
        save_file(weights_of(base.unet), temporary)
    return runs / kind / "model"


def scene_latents(base: Base, kind: Kind, folder: Path, count: int) -> Tensor:
    """The latents of the kind's scenes, shared with sd15 and the ControlNets where the stream is."""
    name = f"{store.unfold('vae').name}{'-person' if kind == 'ip-adapter-face' else ''}"
    vae = AutoencoderKL.from_pretrained(base.folder / "vae").to(base.device)
    return cached(vae, folder / "latents" / name, count, base.device, stream(kind))


def ship(runs: Path, *, kind: Kind) -> None:
    """Store the adapter, and register the folder that holds every stored adapter beside the image encoder."""
    store.fold(runs / kind / "model", kind)
    there = [name for name in FILES if name == kind or name in store.verify()]
    store.add_member("ip-adapter", None, {"models": there, "models/image_encoder": "image-encoder"})
