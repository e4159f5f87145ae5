"""The table of sd15's settings was measured on the sd15 that ships."""

import json

from lessonlib.grading import measured
from lessonlib.models import store


def test_the_table_is_of_the_shipped_weights():
    told = json.loads(measured.PATH.read_text(encoding="utf-8"))["weights"]
    assert told == {"sd15": store.digest("sd15")}
