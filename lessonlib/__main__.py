"""`python -m lessonlib`: the command `lesson`, where a launcher wants a module."""

from lessonlib.cli import main

main()
