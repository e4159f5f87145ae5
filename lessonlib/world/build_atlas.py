"""Render the sprite atlas from the emoji art packages: `lesson world build`.

The art is Fluent Emoji (Microsoft, MIT) and Noto Emoji (Google, Apache-2.0), as packed for the npm registry by Iconify.
Needs the extra `art` (resvg) and `npm`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.files import replacing, write_text
from lessonlib.world.atlas import CELL, COLUMNS
from lessonlib.world.vocabulary import HAIR, OBJECTS, SKINS

# art set -> (npm package, version that the shipped atlas was rendered from)
PACKAGES: dict[str, tuple[str, str]] = {
    "3d": ("@iconify-json/fluent-emoji", "1.2.7"),
    "flat": ("@iconify-json/fluent-emoji-flat", "1.2.6"),
    "ink": ("@iconify-json/fluent-emoji-high-contrast", "1.2.6"),
    "soft": ("@iconify-json/noto", "1.2.9"),
}
_MARGIN = 4  # pixels of air in each cell, so that a warped sprite never meets its neighbour
_INK_SKIN = {"light": 255, "medium": 222, "dark": 186}


def install_art(folder: Path) -> None:
    """`npm install` the four art packages into `folder`.

    Raises:
        LessonError: npm is missing or the registry cannot be reached.
    """
    if shutil.which("npm") is None:
        raise LessonError("npm was not found: install Node.js, or use the atlas that the package ships.")
    specs = [f"{name}@{version}" for name, version in PACKAGES.values()]
    command = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), *specs]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise LessonError(
            f"npm could not install the art packages ({reason}): check the network and try again."
        )


def _svg(icons: dict, name: str) -> str:
    aliases = icons.get("aliases", {})
    while name in aliases:
        name = aliases[name]["parent"]
    icon = icons["icons"][name]
    width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    )


def _rasterize(svg: str) -> np.ndarray:
    """SVG text -> uint8 RGBA [CELL, CELL, 4], the picture's ink fitted to the cell less its margin."""
    import resvg_py

    big = 4 * CELL
    rendered = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=big, height=big))))
    rgba = rendered.convert("RGBA")
    box = rgba.getchannel("A").point([255 * (alpha > 24) for alpha in range(256)]).getbbox()
    inner = CELL - 2 * _MARGIN
    cut = rgba.crop(box)
    scale = inner / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    # premultiplied resampling: otherwise the colour of transparent pixels bleeds into the rim
    small = cut.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(small, ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return np.asarray(cell)


def _paper_inside(sprite: np.ndarray, tone: int) -> np.ndarray:
    """Fill what an ink drawing encloses with paper of the given tone, and soften pure black to ink."""
    alpha = sprite[..., 3]
    outside = np.zeros((CELL + 2, CELL + 2), np.uint8)
    filled = np.where(alpha > 100, 255, 0).astype(np.uint8)
    filled = cv2.morphologyEx(filled, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    cv2.floodFill(filled, outside, (0, 0), 128)
    inside = cv2.GaussianBlur(np.where(filled == 128, 0, 255).astype(np.uint8), (0, 0), 0.6)
    ink = alpha.astype(np.float32)[..., None] / 255
    paper = np.array([tone, tone, tone - 4 if tone > 250 else tone], np.float32)
    color = ink * np.array([26, 24, 30], np.float32) + (1 - ink) * paper
    return np.dstack([color, np.maximum(alpha, inside)]).round().astype(np.uint8)


def _sprites(style: str, icons: dict) -> dict[str, np.ndarray]:
    sprites = {name: _rasterize(_svg(icons, icon)) for name, icon in OBJECTS.items()}
    if style == "soft":
        return sprites  # Noto's heads wear shoulders; people in soft style take the 3d heads
    sprites["glasses"] = _rasterize(_svg(icons, "glasses"))
    for hair, (stem, _, _) in HAIR.items():
        for skin in SKINS:
            icon = stem if style == "ink" else f"{stem}-{skin}"
            sprites[f"head/{hair}/{skin}"] = _rasterize(_svg(icons, icon))
    if style == "ink":
        for name in sprites:
            tone = _INK_SKIN[name.rsplit("/", 1)[1]] if name.startswith("head/") else 255
            sprites[name] = _paper_inside(sprites[name], tone)
    return sprites


def build(art: Path | None = None, out: Path | None = None) -> list[Path]:
    """Render the atlas again.

    Args:
        art: a folder that holds `node_modules/@iconify-json/...`; by default the packages are fetched with npm.
        out: where to write; by default the package's own data folder.

    Returns:
        The files written: one WebP sheet for each art set, and `atlas.json` which names the cells.
    """
    out = out or Path(str(resources.files("lessonlib.world").joinpath("data")))
    if art is None:
        with tempfile.TemporaryDirectory() as folder:
            install_art(Path(folder))
            return build(Path(folder), out)
    written, names = [], {}
    for style, (package, _) in PACKAGES.items():
        source = art / "node_modules" / package / "icons.json"
        if not source.is_file():
            raise LessonError(
                f"{source} is missing: run `npm install {package}` in {art}, or leave out --art."
            )
        try:
            sprites = _sprites(style, json.loads(source.read_text()))
        except (json.JSONDecodeError, KeyError) as error:
            raise LessonError(
                f"{source} is damaged or another version than {PACKAGES[style][1]} ({error}): install {package} again."
            ) from error
        rows = -(-len(sprites) // COLUMNS)
        sheet = np.zeros((rows * CELL, COLUMNS * CELL, 4), np.uint8)
        for index, sprite in enumerate(sprites.values()):
            row, column = divmod(index, COLUMNS)
            sheet[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = sprite
        names[style] = list(sprites)
        target = out / f"atlas-{style}.webp"
        with replacing(target) as temporary:
            Image.fromarray(sheet).save(temporary, quality=88, method=6)
        written.append(target)
    packages = {style: f"{name}@{version}" for style, (name, version) in PACKAGES.items()}
    write_text(
        out / "atlas.json", json.dumps({"cell": CELL, "packages": packages, "names": names}, indent=1) + "\n"
    )
    return [*written, out / "atlas.json"]
