"""Pictures that explain: every function draws one figure, with a caption and a text for those who cannot see it.

    grid(pictures)                 pictures in rows
    film_strip(rows, labels)       how pictures change over the steps
    compare(first, second)         two pictures and their difference
    curves(x, lines)               measured values with their 95 % intervals
    bar_chart(rows, bars)          amounts side by side
    diagram(boxes, arrows)         what goes where in a network
    attention_maps(picture, ...)   where a picture's parts look among the tokens
    overlay(picture, control)      a control map, the picture, and both
    progress(steps)                a progress bar that leaves nothing behind

Figures have a light ground of their own, so that they read on dark pages, and colours that the colour-blind tell
apart. Importing this package is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

# public name -> the module that defines it
_EXPORTS = {
    "Box": "lessonlib.show.diagrams",
    "Figure": "lessonlib.show.figures",
    "attention_maps": "lessonlib.show.heatmaps",
    "bar_chart": "lessonlib.show.bar_charts",
    "compare": "lessonlib.show.differences",
    "curves": "lessonlib.show.charts",
    "diagram": "lessonlib.show.diagrams",
    "film_strip": "lessonlib.show.strips",
    "grid": "lessonlib.show.grids",
    "overlay": "lessonlib.show.overlays",
    "progress": "lessonlib.show.bars",
}

if TYPE_CHECKING:
    from lessonlib.show.bar_charts import bar_chart as bar_chart
    from lessonlib.show.bars import progress as progress
    from lessonlib.show.charts import curves as curves
    from lessonlib.show.diagrams import Box as Box
    from lessonlib.show.diagrams import diagram as diagram
    from lessonlib.show.differences import compare as compare
    from lessonlib.show.figures import Figure as Figure
    from lessonlib.show.grids import grid as grid
    from lessonlib.show.heatmaps import attention_maps as attention_maps
    from lessonlib.show.overlays import overlay as overlay
    from lessonlib.show.strips import film_strip as film_strip


__getattr__, __dir__ = lazy(__name__, _EXPORTS)
