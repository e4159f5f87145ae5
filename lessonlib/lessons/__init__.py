"""What all notebooks share: how much work a machine is given, the first cells, and how they are run and checked.

    from lessonlib.lessons import ask, training, work

`work()`, `training()` and `ask()` are for the notebooks' readers; the rest is behind `lesson notebooks`.
"""

import logging
import os

from lessonlib.lessons.amounts import Work as Work
from lessonlib.lessons.amounts import training as training
from lessonlib.lessons.amounts import work as work
from lessonlib.lessons.questions import ask as ask

# transformers, when diffusers loads it, advises every reader to install torchvision, which nothing here needs.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# diffusers warns whenever a LoRA leaves the text encoder as it is, which LCM-LoRA is meant to do.
logging.getLogger("diffusers.loaders.lora_base").setLevel(logging.ERROR)

__all__ = ["Work", "ask", "training", "work"]
