"""A random sd15, saved and folded once for all tests of this folder."""

import shutil

import pytest
from random_models import make_store, random_sd15


@pytest.fixture(scope="session")
def sd15(tmp_path_factory):
    """(the pipeline, the folder it is saved in)"""
    pipeline = random_sd15()
    folder = tmp_path_factory.mktemp("sd15")
    pipeline.save_pretrained(folder)
    return pipeline, folder


@pytest.fixture(scope="session")
def folded(sd15, tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    make_store(sd15[1], root)
    return root


@pytest.fixture
def weights(folded, tmp_path, monkeypatch):
    """A weights root of the test's own, with a cache of its own, in the environment."""
    root = tmp_path / "weights"
    shutil.copytree(folded, root)
    monkeypatch.setenv("LESSON_WEIGHTS", str(root))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    return root
