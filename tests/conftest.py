"""Tests run offline, keep to one core a process, and leave the reader's own progress alone."""

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("LESSON_STATE", tempfile.mkdtemp(prefix="lesson-state-"))
