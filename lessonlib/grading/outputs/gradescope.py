"""Gradescope's `results.json`, as its autograder specification defines it: one file a submission."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.outputs.feedback import lines

Row = dict[str, Any]


def results(row: Row) -> dict[str, Any]:
    """What Gradescope shows of a row: points and feedback, plain text, nothing of the hidden inputs."""
    stamp = f"Graded {row['isolation']}, seed {row['seed']}, {_versions(row)}."
    return {
        "score": row["points"],
        "output": "\n".join([*row["notes"], stamp]),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [
            {
                "name": line.title,
                "score": line.points,
                "max_score": line.of,
                "status": "passed" if line.points == line.of else "failed",
                "output": line.text,
                "output_format": "text",
                "name_format": "text",
            }
            for line in lines(row)
        ],
        "extra_data": {name: row[name] for name in ("isolation", "seed", "versions", "graded")},
    }


def _versions(row: Row) -> str:
    return ", ".join(f"{name} {version}" for name, version in row["versions"].items())
