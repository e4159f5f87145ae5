"""The notebooks' folder, and a random sd15 that stands for the real checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_models import random_sd15

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    random_sd15().save_pretrained(folder)
    return folder
