"""The tokens of a training set in one Arrow file, made once by rank 0 and read by all ranks."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json, whole_file, write_json
from hala_hpc.engines.examples import NOT_LEARNT, Example, ExampleMaker, Message

#: Rows tokenized and written at a time: bounds memory, and lets the tokenizer use all cores.
BATCH_ROWS = 1000

TOKENS_FILE = "tokens.arrow"
COUNTS_FILE = "tokens.json"


def write_tokens(
    folder: Path,
    rows: Iterable[list[Message]],
    maker: ExampleMaker,
    stopped: Callable[[], bool],
) -> dict[str, Any] | None:
    """Tokenize rows into `folder` unless that was done before; None when told to stop.

    Returns what was counted: rows_in, rows, tokens, tokens_learnt and rejected by reason.
    Raises UserError 65 when no row is left.
    """
    counted: dict[str, Any] | None = read_json(folder / COUNTS_FILE)
    if counted is not None:
        return counted
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    source = iter(rows)
    with whole_file(folder / TOKENS_FILE) as file, arrow_writer(file) as write:
        while batch := list(islice(source, BATCH_ROWS)):
            if stopped():
                return None
            kept = list(examples(batch, maker, rejected))
            write(kept)
            counts.update(counts_of(kept), rows_in=len(batch))
    if not counts["rows"]:
        raise UserError(
            f"no row is left to train on: {counts['rows_in']} read, rejected {dict(rejected)}",
            BAD_DATA,
        )
    result = {**counts, "rejected": dict(rejected)}
    write_json(folder / COUNTS_FILE, result)
    return result


def wait_for_tokens(folder: Path, stopped: Callable[[], bool]) -> dict[str, Any] | None:
    """What rank 0 counted, once it is done; None when told to stop."""
    while not stopped():
        counted: dict[str, Any] | None = read_json(folder / COUNTS_FILE)
        if counted is not None:
            return counted
        time.sleep(0.2)
    return None


def examples(
    batch: list[list[Message]], maker: ExampleMaker, rejected: Counter[str]
) -> Iterator[Example]:
    """Examples of those rows that give one; the others are counted."""
    for example in maker.encode(batch):
        if isinstance(example, str):
            rejected[example] += 1
        else:
            yield example


def counts_of(examples: list[Example]) -> dict[str, int]:
    """Rows and tokens of some examples."""
    return {
        "rows": len(examples),
        "tokens": sum(len(e.input_ids) for e in examples),
        "tokens_learnt": sum(len(e.labels) - e.labels.count(NOT_LEARNT) for e in examples),
    }


class arrow_writer:  # noqa: N801 (used as a function in `with`)
    """Writes lists of examples as record batches of the kind that `datasets` maps into memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        numbers = pa.list_(pa.int32())
        self.schema = pa.schema(
            [("input_ids", numbers), ("labels", numbers), ("length", pa.int32())]
        )
        self.path = path

    def __enter__(self) -> Callable[[list[Example]], None]:
        import pyarrow as pa

        self.stream = pa.ipc.new_stream(str(self.path), self.schema)
        return self.write

    def write(self, batch: list[Example]) -> None:
        """Write one record batch."""
        import pyarrow as pa

        columns = [
            [e.input_ids for e in batch],
            [e.labels for e in batch],
            [len(e.input_ids) for e in batch],
        ]
        arrays = [pa.array(c, type=t) for c, t in zip(columns, self.schema.types, strict=True)]
        self.stream.write_batch(pa.record_batch(arrays, schema=self.schema))

    def __exit__(self, *error: object) -> None:
        self.stream.close()
