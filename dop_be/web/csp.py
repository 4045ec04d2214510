"""The headers of HTML pages, which are self-contained and held to it by a strict Content-Security-Policy (CSP)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from hashlib import sha256
from html.parser import HTMLParser

# Scripts may ask the page's own origin, which is how a maintenance page learns that it is over.
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; font-src data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_headers(renderings: Iterable[str]) -> dict[str, str]:
    """The headers of a page that may run the scripts and apply the styles written into these renderings of it.

    They allow by hash (CSP level 3, section 2.3.1). Give it renderings without anything from outside, so that what
    slips into a later one through a variable stays without effect.
    """
    inline = _Inline()
    for rendering in renderings:
        inline.feed(rendering)
    sources = {tag: " ".join(sorted({_source(text) for text in texts})) for tag, texts in inline.texts.items()}
    policy = POLICY.format_map({tag: found or "'none'" for tag, found in sources.items()})
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


class _Inline(HTMLParser):
    """Gathers the contents of script and style elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {"script": [], "style": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag in self.texts and self.cdata_elem == self.lasttag:
            self.texts[self.lasttag][-1] += data
