"""The shipped art is whole, in its margins, licensed, and what the build command would make again."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.world import build_atlas
from lessonlib.world.atlas import ART_SET, CELL, COLUMNS, half_sprite, sprite
from lessonlib.world.vocabulary import HAIR, OBJECTS, PAINTABLE, SKINS, STYLES

DATA = Path(str(resources.files("lessonlib.world").joinpath("data")))
LISTED = json.loads((DATA / "atlas.json").read_text())
ART_SETS = ("3d", "flat", "soft", "ink")


def test_every_style_has_an_art_set():
    assert set(ART_SET) == set(STYLES)
    assert set(ART_SET.values()) <= set(LISTED["names"]) == set(ART_SETS)


@pytest.mark.parametrize("art_set", ART_SETS)
def test_every_object_has_a_sprite_of_its_own(art_set):
    sprites = {name: sprite(name, art_set) for name in OBJECTS}
    for name, cell in sprites.items():
        assert cell.shape == (CELL, CELL, 4)
        assert cell.dtype == np.uint8
        assert (cell[..., 3] > 127).mean() > 0.04, name
        assert (cell[..., :3] <= cell[..., 3:]).all(), name  # premultiplied
        rim = np.concatenate([cell[:2].reshape(-1, 4), cell[-2:].reshape(-1, 4), cell[:, :2].reshape(-1, 4)])
        assert rim[:, 3].max() == 0, name  # a warped sprite never meets its neighbour
    assert len({cell.tobytes() for cell in sprites.values()}) == len(OBJECTS)


@pytest.mark.parametrize("art_set", ART_SETS)
def test_people_have_their_heads_and_glasses(art_set):
    heads = {(hair, skin): sprite(f"head/{hair}/{skin}", art_set) for hair in HAIR for skin in SKINS}
    assert len({head.tobytes() for head in heads.values()}) == len(HAIR) * len(SKINS)
    assert (sprite("glasses", art_set)[..., 3] > 127).any()


def test_paint_changes_colour_and_not_shape():
    for name in PAINTABLE:
        plain, painted = sprite(name, "3d"), sprite(name, "3d", "purple")
        assert np.array_equal(plain[..., 3], painted[..., 3])
        assert not np.array_equal(plain, painted)
    assert half_sprite("cat", "flat").shape == (CELL // 2, CELL // 2, 4)


@pytest.mark.parametrize("art_set", ART_SETS)
def test_the_sheets_have_the_listed_cells(art_set):
    with Image.open(DATA / f"atlas-{art_set}.webp") as sheet:
        assert sheet.size == (COLUMNS * CELL, -(-len(LISTED["names"][art_set]) // COLUMNS) * CELL)
    assert LISTED["cell"] == CELL
    package, version = build_atlas.PACKAGES[art_set]
    assert LISTED["packages"][art_set] == f"{package}@{version}"


def test_the_licences_are_shipped():
    licences = DATA / "LICENSES"
    assert "Copyright (c) Microsoft Corporation" in (licences / "fluent-emoji-MIT.txt").read_text()
    apache = (licences / "noto-emoji-Apache-2.0.txt").read_text()
    assert "Copyright 2013 Google, Inc." in apache
    assert "END OF TERMS AND CONDITIONS" in apache
    notice = (licences / "NOTICE.md").read_text()
    for art_set in ART_SETS:
        assert f"atlas-{art_set}.webp" in notice


def test_a_missing_art_folder_is_an_error(tmp_path):
    with pytest.raises(LessonError, match=r"icons\.json is missing"):
        build_atlas.build(tmp_path, tmp_path / "out")


def test_damaged_art_is_an_error(tmp_path):
    folder = tmp_path / "node_modules" / "@iconify-json" / "fluent-emoji"
    folder.mkdir(parents=True)
    (folder / "icons.json").write_text('{"icons": {}}')
    with pytest.raises(LessonError, match="damaged or another version"):
        build_atlas.build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_npm_the_art_cannot_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LessonError, match="npm was not found"):
        build_atlas.install_art(tmp_path)


def test_building_again_gives_the_shipped_atlas(tmp_path):
    """Run with LESSON_ART=FOLDER, in which `npm install` has put the packages that atlas.json names."""
    art = os.environ.get("LESSON_ART")
    if not art:
        pytest.skip("LESSON_ART names no folder with the art packages, which are not shipped")
    pytest.importorskip("resvg_py", reason="the extra `art` is not installed")
    build_atlas.build(Path(art), tmp_path)
    assert json.loads((tmp_path / "atlas.json").read_text()) == LISTED
    for art_set in ART_SETS:
        again, shipped = (
            np.asarray(Image.open(folder / f"atlas-{art_set}.webp").convert("RGBA")).astype(int)
            for folder in (tmp_path, DATA)
        )
        assert again.shape == shipped.shape
        assert np.abs(again - shipped).mean() < 0.5  # another libwebp may round otherwise
