"""The frame of a page: one file that needs no other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .html import Html, joined, tag

_HERE = Path(__file__).resolve().parent
# The page may load nothing, from nowhere: what it shows is in it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading that can be linked to."""

    title: str
    contents: object

    @property
    def anchor(self) -> str:
        """The heading as a fragment: `slowest-vms`."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def heading(level: int, title: str, anchor: str) -> Html:
    """A heading that links to itself."""
    return tag(f"h{level}", tag("a", title, href=f"#{anchor}"), id=anchor)


def cards(values: list[tuple[str, object]]) -> Html:
    """The figures that matter most, each with its name."""
    return tag("ul", [tag("li", tag("b", value), tag("span", name)) for name, value in values],
               class_="cards")


def badge(text: str, kind: str) -> Html:
    """A word that stands out: `good`, `bad` or `open`."""
    return tag("span", text, class_=f"badge {kind}")


def page(title: str, lead: object, introduction: object, sections: list[Section]) -> str:
    """The text of the file."""
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "sort.js").read_text(encoding="utf-8")
    links = [tag("li", tag("a", section.title, href=f"#{section.anchor}")) for section in sections]
    body = [
        tag("header", tag("h1", title), tag("p", lead, class_="lead")),
        introduction,
        tag("nav", tag("ul", links), aria_label="Contents"),
        tag("main", [
            tag("section", heading(2, section.title, section.anchor), section.contents)
            for section in sections
        ]),
        tag("footer", "Drawn by ferry plot --kind report. This file is complete: it loads nothing."),
        tag("script", Html(script)),
    ]
    head = joined([
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", f"{title} – Ferry"),
        tag("style", Html(style)),
    ])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n{tag("body", body)}\n</html>\n'
