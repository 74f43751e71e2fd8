"""Pictures inside a page: SVG in the page itself, whose colours follow the page's."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable

from ..load import InputError
from ..palette import SERIES_COLOURS
from ..plot.picture import Picture, style
from .html import Html, tag

# Colours of the pictures that the page's scheme decides; all others are good on light and dark.
_VARIABLES = {
    "#222222": "--ink", "#000000": "--ink", "#666666": "--faint", "#dddddd": "--grid",
    "#ffffff": "--paper", "#e4e4e4": "--shade",
    **{colour.lower(): f"--{colour[1:].lower()}" for colour in SERIES_COLOURS},
}


class Figures:
    """Turns pictures into parts of one page, in which every id is used once."""

    def __init__(self) -> None:
        self._count = 0

    def figure(self, draw: Callable[[], Picture], label: str) -> Html:
        """The picture, or, where it cannot be drawn, the reason."""
        try:
            picture = draw()
        except InputError as error:
            return tag("p", f"{label}: not drawn: {error}", class_="note")
        self._count += 1
        return tag(
            "figure", inline_svg(picture, f"f{self._count}-", label), class_="scroll",
        )


def inline_svg(picture: Picture, prefix: str, label: str) -> Html:
    """The picture's SVG element, with `prefix` before every id, and no more colours of its own than
    it needs."""
    file = io.StringIO()
    with style():
        picture.figure.savefig(file, format="svg", facecolor="none",
                               metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(xlink:href|href)="#', rf'\1="#{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}")
    text = re.sub(r"#[0-9a-fA-F]{6}\b", _variable, text)
    inches = picture.figure.get_size_inches()
    opening = re.match(r"<svg[^>]*>", text)
    view = re.search(r'viewBox="[^"]*"', opening[0])
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'class="plot" role="img" aria-label="{html.escape(label)}" {view[0]} '
        f'style="width:{inches[0]:.2f}in;aspect-ratio:{inches[0]:.3f}/{inches[1]:.3f}">'
    )
    return Html(head + text[opening.end() :].strip())


def _variable(match: re.Match[str]) -> str:
    name = _VARIABLES.get(match[0].lower())
    return f"var({name})" if name else match[0]
