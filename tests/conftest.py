"""Tests run offline, keep to one core a process, and leave the reader's own progress alone.

Shapes in the signatures of `lessonlib.scratch` are checked: beartype enforces jaxtyping's annotations while the tests run.
The hook stands here, before any folder's tests are imported: a module that was imported without it stays unchecked.
"""

import os
import signal
import tempfile

from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
_state = tempfile.TemporaryDirectory(prefix="lesson-state-")  # removed when the tests end
os.environ.setdefault("LESSON_STATE", _state.name)
# A background job of a script inherits an ignored Ctrl-C, and what is ignored stays ignored: tests that send one would wait.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the tower: a whole number is a float too, as PEP 484 has it
install_import_hook(
    "lessonlib.scratch", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)
