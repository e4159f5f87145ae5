"""docs/corrections.md says under which heading of which notebook each correction is met."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/corrections.md").read_text(encoding="utf-8")


def headings(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.findall(r"^#+ (.+)$", text, re.M)


def test_every_heading_that_is_named_stands_in_its_notebook() -> None:
    there = {path.name[1]: headings(path) for path in (ROOT / "notebooks").glob("0*.ipynb")}
    rows = [
        line
        for line in TEXT.splitlines()
        if line.startswith("|") and not line.startswith(("|---", "| the lesson"))
    ]
    assert len(rows) > 60
    met = [row.rstrip("| ").rsplit("| ", 1)[1] for row in rows if not row.endswith("| |")]
    assert len(met) > 0.9 * len(rows)
    for place in met:
        number, heading = re.fullmatch(r"(\d) \*(.+)\*", place).groups()
        assert heading in there[number], place
