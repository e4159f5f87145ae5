"""What a command says is its own: the libraries' loading bars and notes stay away."""

from __future__ import annotations

import logging
import os
import warnings


def quiet() -> None:
    """Silence diffusers and transformers, their bars as well, in this process; errors are still raised."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.simplefilter("ignore")
    for library in ("diffusers", "transformers"):
        logging.getLogger(library).setLevel(logging.ERROR)

    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logs in (diffusers_logging, transformers_logging):
        logs.set_verbosity_error()
        logs.disable_progress_bar()
