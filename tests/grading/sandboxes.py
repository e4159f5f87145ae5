"""Which tests need a working sandbox."""

from __future__ import annotations

import shutil

import pytest

needs_bwrap = pytest.mark.skipif(
    shutil.which("bwrap") is None,
    reason="bubblewrap is not installed: the sandbox cannot be tested (apt-get install bubblewrap)",
)
