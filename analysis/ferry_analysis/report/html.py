"""Text of HTML: elements whose contents are escaped unless they are HTML already."""

from __future__ import annotations

import html


_EMPTY_ELEMENTS = frozenset({"br", "col", "hr", "meta"})


class Html(str):
    """Markup; any other text is escaped where it meets markup."""



def tag(element: str, /, *contents: object, **attributes: object) -> Html:
    """`<element ...>contents</element>`. Attributes that are None are left out, True ones have no value;
    `class_` and `data_v` are written `class` and `data-v`."""
    parts = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{html.escape(str(value), quote=True)}"')
    opening = f"<{' '.join(parts)}>"
    if element in _EMPTY_ELEMENTS:
        return Html(opening)
    return Html(f"{opening}{joined(contents)}</{element}>")


def joined(contents: object) -> Html:
    """Contents one after the other; None is nothing."""
    if contents is None:
        return Html("")
    if isinstance(contents, Html):
        return contents
    if isinstance(contents, (str, int, float)):
        return Html(html.escape(str(contents), quote=False))
    return Html("".join(joined(content) for content in contents))
