"""What the shipped zoo can do, measured after storage, beside what it should do.

Every figure comes from fixed seeds and carries its 95 % interval. The judge that measures shares no weights, no seed and no
data stream with the models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lessonlib.files import replacing, write_text
from lessonlib.judge import Judge, load_judge, score
from lessonlib.judge.evaluate import evaluate_real, real_scenes
from lessonlib.judge.intervals import Interval, bootstrap_mean
from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.render import render

STEPS, GUIDANCE = 25, 4.0
_BATCH = 25

# (member, metric, split) -> the bar it is held against
BARS: dict[tuple[str, str, str], float] = {
    ("judge", "object", "seen"): 0.98,
    ("judge", "object", "held-out"): 0.98,
    ("judge", "background", "seen"): 0.98,
    ("judge", "background", "held-out"): 0.98,
    ("judge", "style", "seen"): 0.95,
    ("judge", "style", "held-out"): 0.95,
    ("vae", "psnr", "held-out"): 28.0,
    ("sd15", "object", "seen"): 0.85,
    ("sd15", "background", "seen"): 0.97,
}


@dataclass(frozen=True)
class Row:
    """One measured figure. `bar` is None where none was set; every bar here is reached from below."""

    member: str
    metric: str
    split: str
    value: float
    low: float
    high: float
    n: int
    bar: float | None = None
    higher_is_better: bool = True

    @property
    def reached(self) -> bool | None:
        """Whether the value reaches its bar."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.higher_is_better else self.value <= self.bar


def _row(member: str, metric: str, split: str, measured: Interval | dict[str, Any]) -> Row:
    value = measured if isinstance(measured, dict) else measured._asdict()
    bar = BARS.get((member, metric, split))
    lower = metric in ("kid", "depth_rmse", "normal_angle")
    return Row(member, metric, split, value["value"], value["low"], value["high"], value["n"], bar, not lower)


@dataclass(frozen=True)
class Sheet:
    """Pictures for the page: `rows` of equal pictures, each row with its label."""

    name: str
    caption: str
    rows: list[tuple[str, list[np.ndarray]]]


# --- members ---------------------------------------------------------------------------------------


def judge_rows(n: int, seed: int, judge: Judge) -> list[Row]:
    """The judge on real scenes: the ceilings of everything below."""
    return [_row("judge", row["metric"], row["split"], row) for row in evaluate_real(n, seed, judge)]


@torch.no_grad()
def vae_rows(n: int, seed: int, judge: Judge) -> tuple[list[Row], Sheet]:
    """Reconstructions: PSNR on held-out scenes of every kind, and what the judge still reads in them."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(store.unfold("vae")).eval()
    rows: list[Row] = []
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for split in ("seen", "held-out", "pair", "person"):
        scenes = real_scenes(split, n, seed)
        images = np.stack([render(scene).image for scene in scenes])
        decoded = np.concatenate([_round_trip(vae, images[k : k + _BATCH]) for k in range(0, n, _BATCH)])
        error = ((images.astype(np.float64) - decoded) ** 2).mean(axis=(1, 2, 3))
        rows.append(_row("vae", "psnr", split, bootstrap_mean(10 * np.log10(255**2 / error))))
        rows += [
            _row("vae", row["metric"], split, row)
            for row in score(decoded, scenes, judge).rows(split)
            if row["metric"] in ("object", "both objects", "background", "style", "person", "identity")
        ]
        kept += [(images[k], decoded[k]) for k in range(4)]
    sheet = Sheet(
        "vae",
        "Real scenes above, the VAE's reconstructions below: the first four seeds of each split.",
        [("scene", [a for a, _ in kept]), ("VAE", [b for _, b in kept])],
    )
    return rows, sheet


def _round_trip(vae: Any, images: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    return ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def pictures(
    pipeline: Any, prompts: Sequence[str], seed: int, tick: Callable[[int], None], **settings: Any
) -> np.ndarray:
    """One picture a prompt, uint8 [N, H, W, 3]; picture k's noise comes from seed + k alone."""
    done = []
    for start in range(0, len(prompts), _BATCH):
        batch = list(prompts[start : start + _BATCH])
        generators = [torch.Generator().manual_seed(seed + start + k) for k in range(len(batch))]
        done.append(pipeline(batch, generator=generators, output_type="np", **settings).images)
        tick(len(batch))
    return (np.concatenate(done) * 255).round().astype(np.uint8)


def sd15_rows(n: int, seed: int, judge: Judge, tick: Callable[[int], None]) -> tuple[list[Row], list[Sheet]]:
    """Text to image at 25 steps with guidance 4, prompts worded plainly, seen and held-out combinations apart."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    rows, sheets = [], []
    for split in ("seen", "held-out", "pair", "person"):
        scenes = real_scenes(split, n, seed)
        prompts = [caption(scene) for scene in scenes]
        made = pictures(
            pipeline, prompts, 1000 * seed, tick, num_inference_steps=STEPS, guidance_scale=GUIDANCE
        )
        rows += [_row("sd15", row["metric"], split, row) for row in score(made, scenes, judge).rows(split)]
        text = "; ".join(f"“{prompt}”" for prompt in prompts[:16])
        sheets.append(
            Sheet(
                f"sd15-{split}",
                f"sd15, {split}, the first 16 prompts: {text}",
                [("", list(made[:8])), ("", list(made[8:16]))],
            )
        )
    return rows, sheets


# --- the report ------------------------------------------------------------------------------------


def measure(
    n: int = 300, seed: int = 7, tick: Callable[[int], None] = lambda _: None
) -> tuple[list[Row], list[Sheet]]:
    """All rows and picture sheets. `tick` is told of every generated picture (4 n in all)."""
    judge = load_judge()
    vae, vae_sheet = vae_rows(n, seed, judge)
    sd15, sd15_sheets = sd15_rows(n, seed, judge, tick)
    return [*judge_rows(n, seed, judge), *vae, *sd15], [vae_sheet, *sd15_sheets]


def write(rows: list[Row], sheets: list[Sheet], docs: Path) -> list[Path]:
    """`zoo.json`, `zoo.md` and the pictures, whole or not at all."""
    written = [docs / "zoo.json", docs / "zoo.md"]
    for sheet in sheets:
        path = docs / "images" / f"zoo-{sheet.name}.png"
        with replacing(path) as temporary:
            _sheet_image(sheet).save(temporary, optimize=True)
        written.append(path)
    rounded = [
        {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows
    ]
    write_text(docs / "zoo.json", json.dumps(rounded, indent=1) + "\n")
    write_text(docs / "zoo.md", _markdown(rows, sheets))
    return written


def _sheet_image(sheet: Sheet) -> Image.Image:
    gap = 3
    height, width = sheet.rows[0][1][0].shape[:2]
    columns = max(len(images) for _, images in sheet.rows)
    page = np.full((len(sheet.rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r, (_, images) in enumerate(sheet.rows):
        for c, image in enumerate(images):
            page[
                r * (height + gap) : r * (height + gap) + height,
                c * (width + gap) : c * (width + gap) + width,
            ] = image
    return Image.fromarray(page)


def _number(metric: str, value: float) -> str:
    if metric == "psnr":
        return f"{value:.2f} dB"
    if metric in ("kid", "depth_rmse"):
        return f"{value:.4f}"
    return f"{value:.1f}°" if metric == "normal_angle" else f"{100 * value:.1f} %"


def _markdown(rows: list[Row], sheets: list[Sheet]) -> str:
    lines = [
        "# The tiny zoo, measured",
        "",
        "Written by `lesson zoo report`. Every figure was measured on the shipped weights, after storage, with fixed seeds;",
        "beside it the 95 % interval. “seen” and “held-out” are single objects whose combination of object, background",
        "and style was, or was never, in training. The judge's own rows are the ceilings.",
        "",
        f"sd15: {STEPS} DDIM steps, guidance {GUIDANCE:g}.",
        "",
        "| member | metric | split | measured | interval | bar | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bar = (
            ""
            if row.bar is None
            else f"{_number(row.metric, row.bar)} {'reached' if row.reached else '**missed**'}"
        )
        low, high = _number(row.metric, row.low), _number(row.metric, row.high)
        cells = (
            row.member,
            row.metric,
            row.split,
            _number(row.metric, row.value),
            f"{low} to {high}",
            bar,
            row.n,
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", "## Sizes", "", "| part | parameters | stored bytes |", "|---|---|---|"]
    for part in sorted(store.verify()):
        stored = sum(f.stat().st_size for f in (store.weights_root() / "parts" / part).iterdir())
        lines.append(f"| {part} | {store.parameters(part):,} | {stored:,} |")
    lines += ["", "## Pictures", "", "The first seeds, not chosen ones.", ""]
    for sheet in sheets:
        lines += [f"![{sheet.name}](images/zoo-{sheet.name}.png)", "", sheet.caption, ""]
    return "\n".join(lines)
