"""The notebooks' folder, and random models that stand for the real checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import make_stand_ins

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-ins")
    make_stand_ins(folder)
    return folder
