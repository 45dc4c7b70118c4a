"""What a browser would make of a page, by the standard library's parser: elements, handlers and addresses."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """Collects elements, text and every attribute that could run or load something."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tags: dict[str, int] = {}
        self.scripts: list[dict[str, str | None]] = []
        self.handlers: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.unlabelled: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        given = dict(attrs)
        if tag == "script":
            self.scripts.append(given)
        if tag not in ("script", "style"):
            self.open.append(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append((tag, name))
            if name in ("src", "href", "srcset", "action", "data", "poster", "background", "formaction"):
                self.loads.append(value or "")
            if name == "style" and "url(" in (value or ""):
                self.loads += re.findall(r"url\(([^)]*)\)", value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag == "svg" and not given.get("aria-label"):
            self.unlabelled.append("svg")

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[\s\u202f]+", " ", " ".join(self.words))

    def assert_harmless(self) -> None:
        """Only our own scripts, no handler, nothing that leaves the page, accessible plots."""
        assert {s.get("type") for s in self.scripts[:-1]} == {"application/json"}
        assert self.scripts[-1].get("type") is None
        assert all("src" not in s for s in self.scripts)
        assert self.handlers == []
        assert [a for a in self.loads if not a.startswith(("#", "data:,"))] == []
        assert not {"iframe", "img", "object", "embed", "base", "form"} & set(self.tags)
        assert "default-src 'none'" in self.source
        assert self.unlabelled == []
        assert self.tags["h1"] == self.tags["main"] == self.tags["title"] == 1
