"""Read a page with an HTML parser: its elements, attributes, and the texts of its cells."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

#: Elements that have no end tag.
VOID = {"meta", "br", "hr", "img", "input", "link", "base"}
#: Attributes that make a browser ask for something.
ADDRESSES = {
    "src",
    "href",
    "srcset",
    "action",
    "data",
    "poster",
    "background",
    "xlink:href",
    "formaction",
}


class PageMarkup(HTMLParser):
    """The start tags of a page outside of drawings, and whether all are ended in their order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        """Each as `td class dir`: the name and the names of its attributes."""
        self.attributes: list[tuple[str, str, str]] = []
        """Element, name and value, those of drawings as well."""
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.open_tags: list[str] = []
        self.faults: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> is not ended" for tag in self.open_tags]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if "svg" not in self.open_tags:
            self.tags.append(" ".join([tag, *(name for name, _ in attrs if name != "tabindex")]))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open_tags.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open_tags or self.open_tags.pop() != tag:
            self.faults.append(f"</{tag}> ends nothing at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def addresses(self) -> Iterator[str]:
        """All that a browser may request or follow, but places on the page."""
        for tag, name, value in self.attributes:
            is_address = name in ADDRESSES or "url(" in value
            if is_address and not value.startswith(("#", "url(#")) and "url(#" not in value:
                yield f"{tag} {name}={value}"

    def scripts(self) -> list[str]:
        """Elements and attributes that run something."""
        found = [
            tag for tag in self.tags if tag.split()[0] in ("script", "iframe", "object", "embed")
        ]
        return found + [f"{t} {n}" for t, n, _ in self.attributes if n.startswith("on")]


def read_page(folder: Path) -> PageMarkup:
    """The markup of the page in a folder."""
    return PageMarkup((folder / "report.html").read_text(encoding="utf-8"))
