"""What all notebooks share: how much work a machine is given, the first cells, and how they are run and checked.

    from lessonlib.lessons import work

`work()` is for the notebooks' readers; the rest is behind `lesson notebooks`.
"""

from lessonlib.lessons.amounts import Work as Work
from lessonlib.lessons.amounts import work as work

__all__ = ["Work", "work"]
