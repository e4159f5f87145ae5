"""The one error a reader of the course ever has to read."""

from __future__ import annotations


class LessonError(Exception):
    """Something the user can put right.

    Its text is one clear sentence: what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with `exit_code`.
    """

    exit_code = 1
