"""A random-weight sd15 to train adapters beside; loaded once."""

import pytest
import torch
from random_models import random_sd15

from lessonlib.zoo.base import load_base


@pytest.fixture(scope="session")
def sd15_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random-sd15")
    random_sd15().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(sd15_folder):
    return load_base(torch.device("cpu"), sd15_folder)
