"""The second text tower of SDXL: larger than the first, with a projection of its pooled state (CLIPTextModelWithProjection).

It learns as the first did (recipe `text`): heads on its pooled, projected state must tell the facts of a caption. It shares
the first one's tokenizer. `sdxl-base` is trained from it on and ships what becomes of it.
"""

# transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.scene import sample
from lessonlib.zoo.recipes.text import MAX_LENGTH, Facts, facts
from lessonlib.zoo.training import Network, Plan, Step, train

# 0.38 s a step on one CPU core: 6 minutes
PLAN = Plan(steps=900, batch=128, learning_rate=1e-3, seed=22, warmup=60)
WIDTH = 160


def build(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """An untrained tower of 1.2M parameters: 3 layers of width 160; SDXL reads the last but one."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=5,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def loss_with(plan: Plan, tokenizer: CLIPTokenizer):
    """The loss of a step: mean cross-entropy over the questions of `text.QUESTIONS`."""

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        scenes = [sample(step.numpy) for _ in range(plan.batch)]
        texts = [caption(scene, step.numpy) for scene in scenes]
        tokens = tokenizer(texts, padding=True, return_tensors="pt").to(step.device)
        logits = network.parts["facts"](network.parts["text"](input_ids=tokens.input_ids).text_embeds)
        answers = torch.tensor([facts(scene) for scene in scenes], device=step.device)
        losses = [F.cross_entropy(logit.float(), answers[:, k]) for k, logit in enumerate(logits)]
        right = [(logit.argmax(1) == answers[:, k]).float().mean() for k, logit in enumerate(logits)]
        return {"loss": torch.stack(losses).mean(), "right": torch.stack(right).mean()}

    return loss


def trained(runs: Path) -> CLIPTextModelWithProjection:
    """The tower, trained with the shipped tokenizer in `runs/text-g`, or as that run left it."""
    tokenizer = CLIPTokenizer.from_pretrained(store.unfold("text") / "tokenizer")
    torch.manual_seed(PLAN.seed)
    network = Network(text=build(tokenizer), facts=Facts(WIDTH))
    train("text-g", network, loss_with(PLAN, tokenizer), PLAN, runs=runs)
    return network.to("cpu").parts["text"]
