"""One store of random models, made once, for the tests that ask for it."""

import pytest
from random_adapters import add_adapters, add_sdxl
from random_variants import make_family


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    make_family(folder)
    return folder


@pytest.fixture(scope="module")
def family(family_folder):
    """`repo(name)` gives random models while a module that asks for this runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESSON_WEIGHTS", str(family_folder / "weights"))
        patch.setenv("LESSON_CACHE", str(family_folder / "cache"))
        patch.setenv("LESSON_TIER", "tiny")
        yield family_folder


@pytest.fixture(scope="session")
def adapters(family_folder):
    """ControlNets and IP-Adapters in the family."""
    add_adapters(family_folder)


@pytest.fixture(scope="session")
def sdxl_models(family_folder):
    """SDXL's base and refiner in the family."""
    add_sdxl(family_folder)
