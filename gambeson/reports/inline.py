"""An SVG file as part of the page: colours become the page's variables, so that it follows light and dark."""

import re

from gambeson.reports.palette import variables


def inline(svg: str, stem: str, label: str) -> str:
    """`svg` without its XML head, its ids made unique by `stem`, its colours by name; `label` describes it."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{stem}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{stem}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{stem}-\1)", body)
    for colour, name in variables().items():
        body = body.replace(colour, f"var({name})")
    body = re.sub(r'(<g id="[^"]*patch_1">\s*<path [^>]*style=")fill: #ffffff', r"\1fill: none", body, count=1)
    body = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", body, count=1)
    body = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", body, count=1)
    words = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return body.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)
