"""`python -m lessonlib.cli` is `lesson`."""

from lessonlib.cli import main

main()
