"""Whether a translation preserves code, math, addresses, tags and placeholders.

    python -m benchmarks.protected FOLDER_OR_PARQUET...

Reads the `output` folder of a translate artifact: `messages_source` against `messages`, or
`source` against `target`. Shares no code with the span protection: it searches kind by kind with
one simple pattern each and removes the matches. The last line of stdout is a JSON object; the first
broken rows are printed on stderr. Exits with 1 if a row is broken.
"""

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MAX_EXAMPLES = 5
HIDDEN = "\0"
Pair = tuple[str, str]
Range = tuple[int, int]
Finder = Callable[[str], list[Range]]

CODE = [
    re.compile(r"(?ms)^[ \t>]*(```+|~~~+)[^`\n]*\n(?:.*?\n)?[ \t>]*\1[ \t\r]*$"),
    re.compile(r"(?s)(?<!`)(`{3,})(?!`).+?(?<!`)\1(?!`)"),
    re.compile(r"(?<!`)``(?![`\s])(?:(?!``)[^\n])+(?<!\s)``(?!`)"),
    re.compile(r"(?<!`)`(?![`\s])[^`\n]*(?<!\s)`(?!`)"),
]
DISPLAY = [
    re.compile(r"(?s)\$\$(?!\$)(?:(?!\n\s*\n)[^$])+?\$\$"),
    re.compile(r"(?s)\\\((?:(?!\n\s*\n|\\\)).)+\\\)|\\\[(?:(?!\n\s*\n|\\\]).)+\\\]"),
]
ATTRIBUTE = r"\s+[\w:@.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)"
SPAN_PATTERNS = [
    re.compile(r"(?s)<!--.*?-->"),
    re.compile(rf"</?[a-zA-Z][\w:.-]*(?:{ATTRIBUTE})*\s*/?>"),
    re.compile(r"<<[^<>\n]*=[^<>\n]*>>"),
    re.compile(r"\b(?:https?|ftp)://[^\s<>\"'`(){}\[\]|\\^،؛؟«»]*[\w/]"),
    re.compile(r"\b[A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b"),
    re.compile(r"&(?:[A-Za-z][A-Za-z0-9]+|#\d+|#x[0-9A-Fa-f]+);"),
    re.compile(r"\{\{[^{}\n]+\}\}|\$?\{[A-Za-z_][\w.]*\}|\{\d*\}"),
    re.compile(r"(?<![\w%])%(?:\([A-Za-z_]\w*\)|\d+\$)?(?:\.\d+)?[sdifr](?!\w)"),
]
ENVIRONMENT = re.compile(r"\\(begin|end)\{(\w+\*?)\}")
DOLLARS = re.compile(r"(?<![\\$\w])\$(?![\s$])((?:\\.|[^$\\\n])*)(?<!\s)\$(?![\d$])")


def ranges_of(pattern: re.Pattern[str]) -> Finder:
    """Return a finder of all matches of a pattern."""
    return lambda text: [found.span() for found in pattern.finditer(text)]


def environments(text: str) -> list[Range]:
    """Return the outermost closed LaTeX environments, by counting."""
    ranges, depth, start = [], 0, 0
    for delimiter in ENVIRONMENT.finditer(text):
        if delimiter[1] == "begin":
            start = start if depth else delimiter.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                ranges.append((start, delimiter.end()))
    return ranges


def formulas(text: str) -> list[Range]:
    """Return spans of dollars with a LaTeX command or an equation without words: no amounts."""
    ranges = []
    for found in DOLLARS.finditer(text):
        inner = found[1]
        words = re.findall(r"[^\W\d_]{2,}", inner)
        equation = not words and re.search(r"[A-Za-z=^].*[\w)}\]]\Z", inner)
        if "\\" in inner or equation:
            ranges.append(found.span())
    return ranges


# The strongest first: the matches of one kind are hidden from the next.
FINDERS: list[Finder] = [
    *map(ranges_of, CODE),
    environments,
    *map(ranges_of, DISPLAY),
    formulas,
    *map(ranges_of, SPAN_PATTERNS),
]


def protected(text: str) -> list[str]:
    """Return every part of `text` that a translation must preserve character by character."""
    parts: list[str] = []
    for find in FINDERS:
        for start, end in find(text):
            parts.append(text[start:end])
            # Same length, so that the offsets stay; no pattern begins with it.
            text = text[:start] + HIDDEN * (end - start) + text[end:]
    # A part around an earlier match has a hole; the part in the hole is counted.
    return [part for part in parts if HIDDEN not in part]


def broken(pairs: list[Pair]) -> tuple[int, list[str]]:
    """Count the parts in the sources of a row, and return those that are missing."""
    count, lost = 0, []
    for source, translation in pairs:
        wanted = Counter(protected(source))
        count += wanted.total()
        lost += [part for part, times in wanted.items() if translation.count(part) < times]
    return count, lost


def pairs_of(row: dict[str, Any]) -> list[Pair]:
    """Return source and translation of each text of a row."""
    if "messages_source" not in row:
        return [(row["source"] or "", row["target"] or "")]
    before, after = row["messages_source"] or [], row["messages"] or []
    # A missing message has lost all its parts.
    both = itertools.zip_longest(before, after, fillvalue={"content": ""})
    texts = ((old["content"], new["content"]) for old, new in both)
    return [(old or "", new or "") for old, new in texts]


def rows(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all Parquet files; in folders those named `part-*.parquet`."""
    import pyarrow.parquet

    for path in paths:
        files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
        assert files, f"no part-*.parquet in {path}"
        for file in files:
            table = pyarrow.parquet.ParquetFile(file)
            wanted = ("messages", "messages_source", "source", "target")
            columns = [name for name in table.schema_arrow.names if name in wanted]
            for batch in table.iter_batches(batch_size=256, columns=columns):
                yield from batch.to_pylist()


def main() -> int:
    """Count over the files in the arguments."""
    counts = dict.fromkeys(("rows", "rows_with_spans", "spans", "rows_broken"), 0)
    for number, row in enumerate(rows([Path(argument) for argument in sys.argv[1:]])):
        count, lost = broken(pairs_of(row))
        counts["rows"] += 1
        counts["rows_with_spans"] += count > 0
        counts["spans"] += count
        counts["rows_broken"] += bool(lost)
        if lost and counts["rows_broken"] <= MAX_EXAMPLES:
            print(f"row {number} lost {lost[:3]!r}", file=sys.stderr)
    print(json.dumps(counts))
    return 1 if counts["rows_broken"] else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main())
