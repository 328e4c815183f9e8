"""Paragraphs of English prose from the manual pages of this machine."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path("/usr/share/man/man1")
#: Minimum and maximum words of a paragraph.
MIN_WORDS, MAX_WORDS = 40, 120
#: Maximum paragraphs of a page, so that no page dominates.
OF_A_PAGE = 2
#: roff requests that end a paragraph; all other lines that begin with a dot are dropped.
BREAK = re.compile(r"^[.'](PP|P|LP|SH|SS|TP|IP|HP|sp|RS|RE)\b")
#: `\fB`, `\-`, `\(em` and the like.
ESCAPES = (
    (re.compile(r"\\f(?:[A-Za-z]|\(\w\w|\[\w*\])"), ""),
    (re.compile(r"\\\(\w\w|\\\[\w+\]"), " "),
)


def paragraphs(count: int, folder: Path = FOLDER) -> list[str]:
    """Return the first `count` paragraphs of the pages of a folder, in name order."""
    found: list[str] = []
    for page in sorted(folder.glob("*.1.gz")):
        found += list(paragraphs_of(text_of(page)))[:OF_A_PAGE]
        if len(found) >= count:
            break
    return found[:count]


def text_of(page: Path) -> str:
    """Return the source of a page; "" if it is damaged or a broken link."""
    try:
        return gzip.decompress(page.read_bytes()).decode("utf-8", errors="replace")
    except OSError:
        return ""


def paragraphs_of(source: str) -> Iterator[str]:
    """Yield the prose paragraphs in the source of a page, without roff markup."""
    held: list[str] = []
    for line in (*source.splitlines(), ".PP"):
        if BREAK.match(line):
            text = plain(" ".join(held))
            held = []
            if MIN_WORDS <= len(text.split()) <= MAX_WORDS and is_prose(text):
                yield text
        elif not line.startswith((".", "'")):
            held.append(line)


def plain(text: str) -> str:
    """Remove the roff markup of a text."""
    for pattern, instead in ESCAPES:
        text = pattern.sub(instead, text)
    return " ".join(text.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\").split())


def is_prose(text: str) -> bool:
    """Whether a text is sentences: it begins with a capital, ends with a stop, has no backslash."""
    return text[0].isupper() and text.endswith(".") and "\\" not in text
