"""How many lines of human prose are taken for code, data or formulas and left as they are.

    python -m benchmarks.prose_left [--texts FILE] [--count 2000]

Without `--texts` it reads paragraphs of this machine: descriptions of Debian packages
(`/var/lib/dpkg/status`), their manual pages and `/usr/share/doc`. FILE is JSON lines with `text`,
`source`, `translation.en` or `messages`, or plain paragraphs. A line counts if it has four words in
a row, and is left if none of such words are in the language of a segment, whose lines may have been
joined. The last line of stdout is a JSON object; the lines left are printed on stderr. Exits with 1
above 0.1 %.
"""

import argparse
import gzip
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.data.segmentation.spans import language_between

MAX_LEFT_SHARE = 0.001
# Four words in a row, none of them a part of an address.
PROSE = re.compile(r"(?<![^\s(\"'])(?:[A-Za-z]{2,}+[,;:']?\s){3}[A-Za-z]{2,}+(?![@/]|[.:]\S)")
ROFF = re.compile(r"\\f[BIRP]|\\&|\\(?=-)|\\\(..")


def shuffled(folder: Path, pattern: str) -> list[Path]:
    """Return files in an order that is the same each time."""
    paths = sorted(folder.glob(pattern))
    random.Random(0).shuffle(paths)
    return paths


def descriptions() -> Iterator[str]:
    """Yield the paragraphs of the descriptions of Debian packages."""
    status = Path("/var/lib/dpkg/status").read_text(errors="replace")
    for found in re.finditer(r"^Description: .*\n((?: .*\n)+)", status, re.MULTILINE):
        text = re.sub(r"^ ", "", found[1], flags=re.MULTILINE)
        yield from re.split(r"^\.\n", text, flags=re.MULTILINE)


def manual_pages() -> Iterator[str]:
    """Yield the paragraphs of text of English manual pages, without their macros."""
    for path in shuffled(Path("/usr/share/man"), "man*/*.gz"):
        text = gzip.decompress(path.read_bytes()).decode(errors="replace")
        for part in re.split(
            r"^\.(?:PP|P|LP|TP|SH|SS|IP|RS|RE|nf|fi|EX|EE)\b.*\n", text, flags=re.M
        ):
            if not re.search(r"^[.']", part, re.MULTILINE):
                yield ROFF.sub("", part)


def documentation() -> Iterator[str]:
    """Yield the paragraphs of plain files in /usr/share/doc."""
    for path in shuffled(Path("/usr/share/doc"), "*/*"):
        is_plain = path.suffix in ("", ".md") and path.is_file()
        if is_plain and path.name.startswith(("README", "copyright", "NEWS")):
            yield from path.read_text(errors="replace").split("\n\n")


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of JSON lines, or the paragraphs of another file."""
    if path.suffix != ".jsonl":
        yield from path.read_text().split("\n\n")
        return
    for line in path.read_text().splitlines():
        row = json.loads(line)
        pair = row.get("translation") or {}
        text = row.get("text") or row.get("source") or pair.get("en")
        for message in row.get("messages") or [{"content": text}]:
            yield message["content"] or ""


def find_left_lines(text: str) -> tuple[int, list[str]]:
    """Return the number of lines of prose of a text, and those that are in no segment."""
    segments = lay_out(text, LayoutRules(512, lambda part: len(part) // 4)).segments
    parts = (part for each in segments for part in language_between(each.text, each.spans))
    # A segment of several lines has the markers of its paragraph's lines no more.
    language = " ".join(" ".join(parts).split())
    lines = [line for line in text.split("\n") if PROSE.search(line)]
    left = [
        line
        for line in lines
        if not any(" ".join(run.split()) in language for run in PROSE.findall(line))
    ]
    return len(lines), left


def main() -> int:
    """Count over the texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    sources = [texts_of(arguments.texts)] if arguments.texts else []
    sources = sources or [descriptions(), manual_pages(), documentation()]
    counts = {"texts": 0, "lines": 0, "lines_left": 0}
    for source in sources:
        prose = (text for text in source if PROSE.search(text))
        for text in itertools.islice(prose, arguments.count):
            lines, left = find_left_lines(text)
            counts["texts"] += 1
            counts["lines"] += lines
            counts["lines_left"] += len(left)
            for line in left:
                print(line, file=sys.stderr)
    share = counts["lines_left"] / max(1, counts["lines"])
    print(json.dumps({**counts, "share_left": round(share, 6)}))
    return 1 if share > MAX_LEFT_SHARE else 0


if __name__ == "__main__":
    sys.exit(main())
