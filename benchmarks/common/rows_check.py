"""Compare the rows of a translated corpus with its input rows.

`python -m benchmarks.common.rows_check INPUT_FOLDER ARTIFACT [--like ARTIFACT] [--letters]` prints
JSON as its last line. Exits with 1 if a row was lost, duplicated, torn, changed, moved or invented,
or if a count is wrong.

Shares no code with the writer. It knows the documented layout of an artifact: `config.json`,
`summary.json`, `done/00007.json`, and in `output/` `part-00007.parquet` and
`rejected/part-00007.parquet`.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
#: Maximum number of faults with a message; all are counted.
MAX_FAULTS = 20
NO_INDEX = -1


@dataclass
class RowFaults:
    """The faults of an artifact; all zeros if there are none."""

    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    lost: int = 0
    duplicated: int = 0
    torn: int = 0
    """Incomplete rows, and unreadable files."""
    changed: int = 0
    moved: int = 0
    made_up: int = 0
    wrong_counts: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, kind: str, text: str, many: int = 1) -> None:
        """Count a fault, and store the messages of the first few."""
        setattr(self, kind, getattr(self, kind) + many)
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"{kind}: {text}")

    @property
    def is_good(self) -> bool:
        """Whether every row is there once and unchanged, and all counts are right."""
        kinds = ("lost", "duplicated", "torn", "changed", "moved", "made_up", "wrong_counts")
        return not any(getattr(self, kind) for kind in kinds)


class RowsCheck:
    """One comparison; `found` has its result.

    `by_letters` is for the stand-in of the engine, which changes only letters: it finds the
    translation of another row, and half a translation.
    """

    def __init__(self, given: Path, artifact: Path, by_letters: bool = False) -> None:
        self.given, self.artifact, self.by_letters = given, artifact, by_letters
        self.found = RowFaults()
        config = read_json(artifact / "config.json")
        self.units = int(config.get("units", 0))
        settings = config.get("settings", {})
        self.side, self.roles = settings.get("field", "source"), settings.get("roles", [])
        self.letters: dict[str, str] = {}

    def run(self, like: Path | None = None) -> RowFaults:
        """Compare rows, then counts, and the rows with those of another artifact, if given."""
        before = self.rows(self.given)
        self.found.rows_in = len(before)
        good, rejected = self.outcome(self.artifact)
        self.found.rows_out, self.found.rows_rejected = len(good), len(rejected)
        self.compare_ids(before, [row for _, row in (*good, *rejected)])
        self.compare_order(before, good, rejected)
        by_id = {row["id"]: row for row in before}
        for name, row in good:
            if row["id"] in by_id:
                self.compare_good(name, by_id[row["id"]], row)
        for name, row in rejected:
            if row["id"] in by_id and any(row.get(k) != v for k, v in by_id[row["id"]].items()):
                self.found.note("changed", f"{name}: rejected row {row['id']}")
        self.compare_counts(good, rejected)
        if like is not None:
            self.compare_outcomes((good, rejected), self.outcome(like))
        return self.found

    def rows(self, folder: Path) -> list[Row]:
        """Return all rows of a folder in the order of its shards."""
        return [row for path in sorted(folder.glob("part-*.parquet")) for row in self.read(path)]

    def outcome(self, artifact: Path) -> tuple[list[tuple[str, Row]], list[tuple[str, Row]]]:
        """Return accepted and rejected rows, each with the name of its file."""
        output = artifact / "output"
        both = (output.glob("part-*.parquet"), output.glob("rejected/part-*.parquet"))
        good, bad = ([(p.name, row) for p in sorted(side) for row in self.read(p)] for side in both)
        return good, bad

    def read(self, path: Path) -> Iterator[Row]:
        """Return the rows of one shard; an unreadable shard is torn."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            yield from pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            self.found.note("torn", f"{path}: {error}")

    def compare_ids(self, before: list[Row], after: list[Row]) -> None:
        """Check that every input id is there as often as in the input, and no other id."""
        came, went = Counter(row["id"] for row in before), Counter(row["id"] for row in after)
        for id_, many in (came - went).items():
            self.found.note("lost", id_, many)
        for id_, many in (went - came).items():
            self.found.note("duplicated" if id_ in came else "made_up", id_, many)

    def compare_order(
        self, before: list[Row], good: list[tuple[str, Row]], rejected: list[tuple[str, Row]]
    ) -> None:
        """Check that rows are in input order, and that rejected ones have their row number."""
        place = {row["id"]: number for number, row in enumerate(before)}
        last = NO_INDEX
        for name, row in good:
            number = place.get(row["id"], last)
            if number < last:
                self.found.note("moved", f"{name}: {row['id']}")
            last = max(last, number)
        for name, row in rejected:
            line = row["line"]
            if not 0 < line <= len(before) or before[line - 1]["id"] != row["id"]:
                self.found.note("moved", f"{name}: rejected row {row['id']} is not line {line}")

    def compare_good(self, name: str, before: Row, after: Row) -> None:
        """Check that an accepted row has its source unchanged, and a translation of every text."""
        if "messages" in before:
            same = after["messages_source"] == before["messages"]
            roles = [[m["role"] for m in after[key]] for key in ("messages", "messages_source")]
            same = same and roles[0] == roles[1]
            both = list(zip(after["messages_source"], after["messages"], strict=False))
            same = same and all(a == b for a, b in both if a["role"] not in self.roles)
            texts = [(a["content"], b["content"]) for a, b in both if a["role"] in self.roles]
        else:
            same = after["source"] == before[self.side]
            texts = [(after["source"], after["target"])]
        if not same or after["origin"] != before["origin"]:
            self.found.note("changed", f"{name}: {before['id']}")
        for source, target in texts:
            if bool(source.strip()) != bool((target or "").strip()):
                self.found.note("torn", f"{name}: {before['id']} lacks a text")
            elif self.by_letters and not self.is_same_by_letters(source, target):
                self.found.note("torn", f"{name}: {before['id']} has {target!r} for {source!r}")

    def is_same_by_letters(self, source: str, target: str) -> bool:
        """Whether each character has the same replacement everywhere."""
        if len(source) != len(target):
            return False
        pairs = zip(source, target, strict=True)
        return all(self.letters.setdefault(old, new) == new for old, new in pairs)

    def compare_counts(self, good: list[tuple[str, Row]], rejected: list[tuple[str, Row]]) -> None:
        """Check the counts of markers and summary against the files."""
        made, lost = Counter(name for name, _ in good), Counter(name for name, _ in rejected)
        reasons: Counter[tuple[str, str]] = Counter((name, r["reason"]) for name, r in rejected)
        total: Counter[str] = Counter()
        for unit in range(self.units):
            name = f"part-{unit:05d}.parquet"
            marker = read_json(self.artifact / "done" / f"{unit:05d}.json")
            expected = {reason: many for (part, reason), many in reasons.items() if part == name}
            self.expect(f"unit {unit} rows_out", marker.get("rows_out"), made[name])
            self.expect(f"unit {unit} rows_rejected", marker.get("rows_rejected"), lost[name])
            self.expect(f"unit {unit} rows_in", marker.get("rows_in"), made[name] + lost[name])
            self.expect(f"unit {unit} rejected", marker.get("rejected"), expected)
            for file, size in marker.get("files", {}).items():
                path = self.artifact / "output" / file
                self.expect(f"bytes of {file}", size, path.stat().st_size if path.exists() else 0)
            total.update({key: marker.get(key, 0) for key in ("rows_in", "rows_out")})
        summary = read_json(self.artifact / "summary.json")
        self.expect("markers", len(list((self.artifact / "done").glob("*.json"))), self.units)
        self.expect("summary rows_in", summary.get("rows_in"), self.found.rows_in)
        self.expect("summary rows_out", summary.get("rows_out"), len(good))
        self.expect("summary rows_rejected", summary.get("rows_rejected"), len(rejected))
        self.expect("rows_in of all markers", total["rows_in"], self.found.rows_in)

    def expect(self, what: str, reported: Any, true: Any) -> None:
        """Record a count that differs from the files."""
        if reported != true:
            self.found.note("wrong_counts", f"{what}: {reported}, but it is {true}")

    def compare_outcomes(self, one: Any, other: Any) -> None:
        """Check that the rows equal those of another run of the same work."""
        for mine, theirs in zip(one, other, strict=True):
            known = {row["id"]: row for _, row in theirs}
            for name, row in mine:
                if known.get(row["id"]) != row:
                    self.found.note("changed", f"{name}: {row['id']} differs in the other run")


def left_over(artifact: Path) -> list[str]:
    """Return the files of a finished artifact that are not needed any more."""
    patterns = ("claims/*", "kept/*/*", "attempts/*/*", "**/.*.tmp", "output.*.tmp")
    found = {path for pattern in patterns for path in artifact.glob(pattern)}
    return sorted(str(path.relative_to(artifact)) for path in found)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file does not exist."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return value


def main() -> int:
    """Compare, print, and exit with 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("given", type=Path, help="folder of the input corpus")
    parser.add_argument("artifact", type=Path, help="folder of the finished node")
    parser.add_argument("--like", type=Path, help="artifact of another run with the same rows")
    parser.add_argument("--letters", action="store_true", help="the engine was the stand-in")
    given = parser.parse_args()
    found = RowsCheck(given.given, given.artifact, given.letters).run(given.like)
    report = {**asdict(found), "good": found.is_good, "left_over": len(left_over(given.artifact))}
    print(json.dumps(report, ensure_ascii=False))
    return 0 if found.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
