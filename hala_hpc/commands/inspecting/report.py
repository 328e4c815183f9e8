"""Format what `inspect` found: as text for a terminal, or as JSON."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hala_hpc.commands.text_table import text_table
from hala_hpc.core.printable import escape_controls
from hala_hpc.data.ingest.adapt import EXPECTED_REASONS, hint_for_reasons
from hala_hpc.data.ingest.inspection import Inspection, ShownRow
from hala_hpc.data.readers.data_files import FolderContent

#: Characters of a text that is shown.
SHOWN_CHARACTERS = 160
#: Files that are not read, fields, and languages of a role that are listed.
LISTED_FILES, LISTED_FIELDS, LISTED_LANGUAGES = 20, 40, 4
#: Bidirectional classes of letters that are written from right to left.
RIGHT_TO_LEFT = ("R", "AL")
#: Unicode isolates: a text in its own direction, whatever is around it.
START_RIGHT_TO_LEFT, START_LEFT_TO_RIGHT, END_ISOLATE = "\u2067", "\u2066", "\u2069"


@dataclass(frozen=True)
class DataReport:
    """What is reported about some data."""

    found: Inspection
    content: FolderContent
    max_rejected_fraction: float

    @property
    def bad_rows(self) -> int:
        """Rows that count against `max_rejected_fraction`."""
        rejected = self.found.rejected.items()
        return sum(number for reason, number in rejected if reason not in EXPECTED_REASONS)

    @property
    def is_refused(self) -> bool:
        """Whether prepare would end with an error."""
        rows = max(self.found.rows, 1)
        too_many = self.bad_rows / rows > self.max_rejected_fraction
        return too_many or not self.found.accepted or bool(self.found.mistakes)

    def to_json(self) -> dict[str, Any]:
        """Return the report as values of JSON."""
        found = self.found
        return {
            "files_read": [str(path) for path in self.content.files],
            "files_unread": {str(each.path): each.reason for each in self.content.unread},
            "kind": found.kind,
            "formats": dict(found.formats),
            "rows": found.rows,
            "all_rows_read": found.is_whole,
            "rows_accepted": found.accepted,
            "rejected": dict(found.rejected.most_common()),
            "fields": {
                name: {"rows": facts.rows, "types": dict(facts.types)}
                for name, facts in found.fields.items()
            },
            "turn_fields": dict(found.turn_fields),
            "languages": {role: dict(counts) for role, counts in found.languages.items()},
            "lengths": {role: summarize_lengths(each) for role, each in found.lengths.items()},
            "mistakes": found.mistakes,
            "would_be_refused": self.is_refused,
            "samples": [
                {
                    "where": row.where,
                    "line": row.line,
                    "texts": [*zip(row.roles, row.texts, strict=True)],
                }
                for row in found.shown
            ],
        }

    def to_text(self) -> str:
        """Return the report for a terminal."""
        sections = [
            self._files(),
            self._rows(),
            self._fields(),
            self._roles(),
            self._rejections(),
            *(format_row(row) for row in self.found.shown),
        ]
        return "\n\n".join(section for section in sections if section)

    def _files(self) -> str:
        unread = self.content.unread
        lines = [f"files: {len(self.content.files)} to read, {len(unread)} not read"]
        lines += [
            f"  not read: {escape_controls(e.path)} ({e.reason})" for e in unread[:LISTED_FILES]
        ]
        if len(unread) > LISTED_FILES:
            lines.append(f"  and {len(unread) - LISTED_FILES} more")
        return "\n".join(lines)

    def _rows(self) -> str:
        found = self.found
        extent = "all rows" if found.is_whole else "the first rows; more follow"
        formats = ", ".join(found.formats)
        return f"rows: {found.rows:,} read ({extent}), {found.kind}, read as {formats}"

    def _fields(self) -> str:
        rows = [
            [escape_controls(name), str(facts.rows), " ".join(name_types(facts.types))]
            for name, facts in list(self.found.fields.items())[:LISTED_FIELDS]
        ]
        table = text_table(rows, ["field", "rows", "types"])
        turns = ", ".join(escape_controls(name) for name in self.found.turn_fields)
        return f"{table}\nfields of turns: {turns}" if turns else table

    def _roles(self) -> str:
        rows = []
        for role, lengths in self.found.lengths.items():
            facts = summarize_lengths(lengths)
            rows.append(
                [
                    role,
                    *(str(facts[name]) for name in ("texts", "median", "p95", "max")),
                    format_shares(self.found.languages[role]),
                ]
            )
        heads = ["role", "texts", "median", "95 %", "max characters", "languages"]
        return text_table(rows, heads) if rows else ""

    def _rejections(self) -> str:
        found = self.found
        if not found.rejected and not found.mistakes:
            return "rejected: none"
        rows = [
            [reason, str(number), f"{escape_controls(first.where)}:{first.line}"]
            for reason, number in found.rejected.most_common()
            for first in [found.first_rejected[reason]]
        ]
        lines = [text_table(rows, ["rejected as", "rows", "first"])] if rows else []
        if hint := hint_for_reasons(set(found.rejected)).removeprefix("; "):
            lines.append(f"fix: {hint}")
        lines += [f"mistake: {mistake}" for mistake in found.mistakes]
        if self.is_refused and not found.mistakes:
            lines.append(
                f"prepare would refuse this: {self.bad_rows} of {found.rows} rows are bad "
                f"(max_rejected_fraction={self.max_rejected_fraction})"
            )
        return "\n".join(lines)


def summarize_lengths(lengths: Sequence[int]) -> dict[str, int]:
    """Return number, median, 95th percentile and maximum of some lengths."""
    ordered = sorted(lengths)
    at = {"median": 0.5, "p95": 0.95}
    shares = {name: ordered[int(share * (len(ordered) - 1))] for name, share in at.items()}
    return {"texts": len(ordered), **shares, "max": ordered[-1]}


def format_shares(counts: Counter[str]) -> str:
    """Format languages with their share of the texts."""
    total = counts.total() or 1
    return ", ".join(
        f"{language} {100 * number / total:.0f} %"
        for language, number in counts.most_common(LISTED_LANGUAGES)
    )


def name_types(types: Counter[str]) -> Iterator[str]:
    """Yield the types of a field with their rows; the name alone if there is only one."""
    for name, number in types.most_common():
        yield name if len(types) == 1 else f"{name}:{number}"


def format_row(row: ShownRow) -> str:
    """Format a row: a line for each text, in the direction of its script."""
    lines = [f"{escape_controls(row.where)}:{row.line}"]
    width = max(map(len, row.roles))
    for role, text in zip(row.roles, row.texts, strict=True):
        lines.append(f"  {role:<{width}}  {isolate(shorten(text))}")
    return "\n".join(lines)


def shorten(text: str) -> str:
    """Return the start of a text on one line."""
    line = text[: SHOWN_CHARACTERS + 1].replace("\n", " ⏎ ")
    end = " ..." if len(text) > SHOWN_CHARACTERS else ""
    return escape_controls(line[:SHOWN_CHARACTERS]) + end


def isolate(text: str) -> str:
    """Return a text between the Unicode isolates of its direction."""
    directions = Counter(map(unicodedata.bidirectional, text))
    is_right_to_left = sum(directions[each] for each in RIGHT_TO_LEFT) > directions["L"]
    start = START_RIGHT_TO_LEFT if is_right_to_left else START_LEFT_TO_RIGHT
    return f"{start}{text}{END_ISOLATE}"
