"""What every test runs with, the kernels of `pytest --nbval-lax notebooks` included: offline and without bars."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
