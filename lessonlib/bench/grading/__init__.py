"""Graders side by side on the same submissions: `lesson grade`, nbgrader's command and otter's.

`answers` and `rewrites` make right answers, `mutants` wrong ones, `attacks` hostile ones; `submissions` writes
them as each grader wants them, `graders` run the commands, `measure` makes the rows.
"""
