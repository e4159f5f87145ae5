"""The text encoder and its tokenizer: byte-level BPE over the world's captions, and a small CLIP text tower.

Before any picture is seen, the tower learns to keep the facts of a caption: from its pooled state (the EOS token's) heads
must tell objects, colours, background, style, place, relation and everything about a person. `sd15` then goes on training
it jointly with the UNet, as Rombach et al. (2022, equation 3) do with their text encoder.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lessonlib.files import write_text
from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.scene import Scene, sample
from lessonlib.world.vocabulary import (
    BACKGROUNDS,
    COLORS,
    HAIR,
    OBJECTS,
    OUTFITS,
    PLACES,
    POSES,
    RELATIONS,
    SIZES,
    SKINS,
    STYLES,
)
from lessonlib.zoo.training import Network, Plan, Step, train

PLAN = Plan(steps=700, batch=128, learning_rate=1e-3, seed=21, warmup=60)
VOCABULARY_SIZE = 1200
MAX_LENGTH = 77  # as CLIP: 75 tokens and the two that frame them
START, END = "<|startoftext|>", "<|endoftext|>"


def train_tokenizer(count: int = 30_000, seed: int = 21) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges were learned from `count` captions; any text can be written in its bytes."""
    bpe = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    # CLIP splits words before it maps them to bytes; a caption is words, commas and spaces
    rng = np.random.default_rng(seed)
    texts = (caption(sample(rng, split="all"), rng).replace(",", " ,").split() for _ in range(count))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - 256 - 2,
        min_frequency=2,
        end_of_word_suffix="</w>",
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    bpe.train_from_iterator((word for text in texts for word in text), trainer)
    merges = [tuple(merge) for merge in _merges(bpe)]
    # CLIP's own order of ids: bytes, bytes that end a word, merges, then the two frame tokens
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [
        *alphabet,
        *(f"{byte}</w>" for byte in alphabet),
        *("".join(merge) for merge in merges),
        START,
        END,
    ]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


def _merges(bpe: Tokenizer) -> list[list[str]]:
    found = json.loads(bpe.to_str())["model"]["merges"]
    return [merge.split(" ") if isinstance(merge, str) else list(merge) for merge in found]


def build(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text tower of 0.6M parameters: CLIP ViT-L/14's, with 2 layers of width 128."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        projection_dim=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


# the facts of a scene, each a question with that many answers (the last one: "not so")
_OBJECT_NAMES, _COLOR_NAMES = list(OBJECTS), list(COLORS)
QUESTIONS: dict[str, int] = {
    "first": len(OBJECTS) + 1,
    "second": len(OBJECTS) + 1,
    "first color": len(COLORS) + 1,
    "second color": len(COLORS) + 1,
    "place": len(PLACES) + 1,
    "size": len(SIZES) + 1,
    "relation": len(RELATIONS) + 1,
    "background": len(BACKGROUNDS),
    "style": len(STYLES),
    "hair": len(HAIR) + 1,
    "skin": len(SKINS) + 1,
    "glasses": 3,
    "outfit": len(OUTFITS) + 1,
    "pose": len(POSES) + 1,
}


def _index(table: list[str] | tuple[str, ...] | dict, value: str | None) -> int:
    """Where a value stands in its table, and the table's length for None."""
    names = list(table)
    return len(names) if value is None else names.index(value)


def facts(scene: Scene) -> list[int]:
    """The answers to `QUESTIONS`, in their order."""
    first, second = (*scene.things, None, None)[:2]
    person = scene.person
    placed = person or first
    return [
        _index(OBJECTS, first.name if first else None),
        _index(OBJECTS, second.name if second else None),
        _index(COLORS, first.color if first else None),
        _index(COLORS, second.color if second else None),
        _index(PLACES, placed.place if placed else None),
        _index(SIZES, (first.size_word or None) if first else None),
        _index(RELATIONS, scene.relation),
        _index(BACKGROUNDS, scene.background),
        _index(STYLES, scene.style),
        _index(HAIR, person.identity.hair if person else None),
        _index(SKINS, person.identity.skin if person else None),
        2 if person is None else int(person.identity.glasses),
        _index(OUTFITS, person.outfit if person else None),
        _index(POSES, person.pose if person else None),
    ]


class Facts(nn.Module):
    """One linear head a question, on the pooled state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, answers) for answers in QUESTIONS.values())

    def forward(self, pooled: Tensor) -> list[Tensor]:
        """pooled [B, D] -> logits, one [B, answers] a question."""
        return [head(pooled) for head in self.heads]


def network(tokenizer: CLIPTokenizer) -> Network:
    """Tower and heads."""
    tower = build(tokenizer)
    return Network(text=tower, facts=Facts(tower.config.hidden_size))


def loss_with(plan: Plan, tokenizer: CLIPTokenizer):
    """The loss of a step: mean cross-entropy over the questions."""

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        scenes = [sample(step.numpy) for _ in range(plan.batch)]
        texts = [caption(scene, step.numpy) for scene in scenes]
        tokens = tokenizer(texts, padding=True, return_tensors="pt").to(step.device)
        pooled = network.parts["text"](input_ids=tokens.input_ids).pooler_output
        answers = torch.tensor([facts(scene) for scene in scenes], device=step.device)
        logits = network.parts["facts"](pooled)
        losses = [F.cross_entropy(logit.float(), answers[:, k]) for k, logit in enumerate(logits)]
        right = torch.stack(
            [(logit.argmax(1) == answers[:, k]).float().mean() for k, logit in enumerate(logits)]
        )
        return {
            "loss": torch.stack(losses).mean(),
            "right": right.mean(),
            "first": right[0],
            "second": right[1],
        }

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train the tokenizer and the tower (or go on), and write `runs/text/model/{tokenizer,text_encoder}`."""
    folder = runs / "text/model"
    if not (folder / "tokenizer").is_dir():
        train_tokenizer().save_pretrained(folder / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    fresh = network(tokenizer)
    if plan.start == "shipped":
        fresh.parts["text"] = CLIPTextModel.from_pretrained(store.unfold("text") / "text_encoder")
    trained = train("text", fresh, loss_with(plan, tokenizer), plan, runs=runs, minutes=minutes)
    trained.parts["text"].to("cpu").save_pretrained(folder / "text_encoder")
    return folder


def ship(runs: Path) -> None:
    """Store the tokenizer and the tower in the package."""
    folder = runs / "text/model"
    write_vocabulary(CLIPTokenizer.from_pretrained(folder / "tokenizer"), folder / "tokenizer")
    store.fold(folder / "tokenizer", "tokenizer-l")
    store.fold(folder / "text_encoder", "text-l")
    store.add_member("text", None, {"tokenizer": "tokenizer-l", "text_encoder": "text-l"})


def write_vocabulary(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """`vocab.json` and `merges.txt`, which older readers of CLIP tokenizers look for, beside `tokenizer.json`."""
    bpe = json.loads((folder / "tokenizer.json").read_text())["model"]
    write_text(folder / "vocab.json", json.dumps(tokenizer.get_vocab(), ensure_ascii=False))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in bpe["merges"]]
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]) + "\n")
