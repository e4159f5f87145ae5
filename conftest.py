"""What every test runs with, the kernels of `pytest --nbval-lax notebooks` included: offline, without bars, in seconds."""

import os

from lessonlib.lessons.amounts import FEW_MINUTES, TRAINING_MINUTES

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault(TRAINING_MINUTES, str(FEW_MINUTES))
