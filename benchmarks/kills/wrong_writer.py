"""A wrong writer: appends rows, records its position beside them, and rewrites at the end.

`python -m benchmarks.kills.wrong_writer CORPUS ARTIFACT STEP_S` leaves the same layout as a node,
so that the same check reads it. Several published pipelines write in this way.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

UNITS = 1
#: Rows between two records of the position.
NOTE_EVERY = 50
#: Upper-case letters for lower-case ones: a translation that a check can follow.
GAP = ord("A") - ord("a")


def run(corpus: Path, artifact: Path, step_s: float) -> None:
    """Append the missing rows, then write all to their final file."""
    import pyarrow.parquet as pq

    output, done = artifact / "output", artifact / "done"
    output.mkdir(parents=True, exist_ok=True)
    done.mkdir(exist_ok=True)
    (artifact / "config.json").write_text(json.dumps({"units": UNITS}))
    parts = sorted(corpus.glob("part-*.parquet"))
    rows: list[dict[str, Any]] = [row for part in parts for row in pq.read_table(part).to_pylist()]
    lines, place = artifact / "rows.jsonl", artifact / "place.txt"
    start = int(place.read_text() or 0) if place.exists() else 0
    with lines.open("a", buffering=1, encoding="utf-8") as file:
        for number, row in enumerate(rows[start:], start=start + 1):
            time.sleep(step_s)
            file.write(json.dumps({**row, "target": shout(row["source"])}) + "\n")
            if number % NOTE_EVERY == 0:
                place.write_text(str(number))
    rewrite(lines, output / "part-00000.parquet")
    count = pq.read_metadata(output / "part-00000.parquet").num_rows
    counts = {"rows_in": count, "rows_out": count, "rows_rejected": 0, "rejected": {}}
    (done / "00000.json").write_text(json.dumps(counts))
    (artifact / "summary.json").write_text(json.dumps(counts))


def shout(text: str) -> str:
    """Lower-case letters as upper-case ones."""
    return "".join(chr(ord(c) + GAP) if "a" <= c <= "z" else c for c in text)


def rewrite(lines: Path, part: Path) -> None:
    """Read what was appended, skip lines that are no JSON, and write the final file in place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for line in lines.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            print(f"skipped a bad line of {lines}", file=sys.stderr)
    pq.write_table(pa.Table.from_pylist(rows), part)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
