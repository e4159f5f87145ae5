"""What is left of a widget where no kernel runs: on GitHub, in a printed notebook, in the stored outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lessonlib.grading.cards import Card

CSS = Path(__file__).with_name("widgets.css")  # one look for all of them


class Fallback:
    """Comes before a widget's class: the widget is shown with a card beside it, in HTML and in plain text.

    A front end that knows widgets shows the widget, any other the card. `lesson notebooks run` stores the card alone.
    """

    def card(self) -> Card:
        """What the widget says, without its controls."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        card = self.card()
        return {**data, "text/html": card._repr_html_(), "text/plain": str(card)}, metadata
