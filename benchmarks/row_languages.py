"""Error rate of `only_languages` in prepare: `python -m benchmarks.row_languages en ROWS.jsonl`.

Prints a line of JSON for each file: rows, excluded rows, and rows read per core and second. In
files with rows of that language only, every excluded row is a false alarm. Each side of an OPUS row
counts as a row.
"""

import json
import sys
import time
from pathlib import Path

from hala_hpc.data.ingest.adapt import RowFormat, match_adapters
from hala_hpc.data.ingest.row_language import WantedLanguages
from hala_hpc.data.readers.adapters import Texts
from hala_hpc.data.readers.sources import DatasetSelection, find_sources


def rows_of(path: str) -> list[Texts]:
    """Return roles and texts of all rows; for pairs the sources first, then the targets."""
    shape = RowFormat("auto", ("en", "ar"))
    rows = [
        adapter.read(record.value)
        for _, adapter, records in match_adapters(find_sources(path, DatasetSelection()), shape)
        for record in records
        if record.value is not None
    ]
    turned = [Texts([], row.texts[::-1]) for row in rows if not row.roles]
    return rows + turned


def measure(path: str, wanted: WantedLanguages) -> dict[str, object]:
    """Count the rows and the excluded ones, and measure the rows per second of CPU."""
    rows = rows_of(path)
    began = time.process_time()
    foreign = sum(wanted.excludes({}, row.roles, row.texts) for row in rows)
    rate = len(rows) / (time.process_time() - began)
    return {"file": Path(path).name, "rows": len(rows), "left_out": foreign, "rows_per_s": rate}


def main(code: str, *paths: str) -> None:
    """Measure some files."""
    wanted = WantedLanguages((code,))
    # The model is loaded on first use.
    wanted.excludes({}, [], ["The children were playing beside the river all day long."])
    for path in paths:
        found = measure(path, wanted)
        print(json.dumps(found | {"rows_per_s": round(float(str(found["rows_per_s"])))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
