"""The work of `prepare` on an Alpaca file, written with `datasets` only.

`python -m benchmarks.prepare.with_datasets FILE FOLDER SHARDS PROCESSES WAY`, where WAY is

- rows: `map` row by row in several processes, as scripts usually have it, then `filter` keeps first
  occurrences;
- filter: the same with `map` in batches;
- one_pass: `map` in batches in one process, which leaves duplicates out as well: the fastest way
  that was found.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

Columns = dict[str, list[Any]]


def conversations(batch: Columns) -> Columns:
    """Messages and ids of a batch of rows, equal to those of `prepare`."""
    made: Columns = {"id": [], "origin": [], "messages": []}
    for question, more, answer in zip(
        batch["instruction"], batch["input"], batch["output"], strict=True
    ):
        asked = f"{question}\n\n{more}" if more and more.strip() else question
        joined = "\0".join(["user", "assistant", "", asked, answer])
        made["id"].append(hashlib.blake2b(joined.encode(), digest_size=16).hexdigest())
        made["origin"].append("rows")
        turns = (("user", asked), ("assistant", answer))
        made["messages"].append([{"role": role, "content": text} for role, text in turns])
    return made


def conversation(row: dict[str, Any]) -> dict[str, Any]:
    """Messages and id of one row."""
    made = conversations({name: [value] for name, value in row.items()})
    return {name: values[0] for name, values in made.items()}


class First:
    """Detects the first occurrence of ids."""

    def __init__(self) -> None:
        self.known_ids: set[str] = set()

    def __call__(self, ids: list[str]) -> list[bool]:
        """Whether each is new."""
        new = []
        for name in ids:
            new.append(name not in self.known_ids)
            self.known_ids.add(name)
        return new

    def rows(self, batch: Columns) -> Columns:
        """Messages and ids of the new rows of a batch."""
        made = conversations(batch)
        new = self(made["id"])
        return {
            name: [value for value, is_new in zip(values, new, strict=True) if is_new]
            for name, values in made.items()
        }


def prepare(file: str, folder: Path, shards: int, processes: int, way: str) -> None:
    """Write the shards of a file."""
    import datasets

    datasets.disable_progress_bars()
    data = datasets.load_dataset("json", data_files=file, split="train", cache_dir=folder / "cache")
    names, first = data.column_names, First()
    if way == "one_pass":
        data = data.map(first.rows, batched=True, remove_columns=names)
    else:
        work: Any = conversation if way == "rows" else conversations
        batched = way != "rows"
        data = data.map(work, batched=batched, remove_columns=names, num_proc=processes)
        data = data.filter(first, input_columns=["id"], batched=True)
    for number in range(shards):
        part = data.shard(shards, number, contiguous=True)
        part.to_parquet(folder / f"part-{number:05d}.parquet")


if __name__ == "__main__":
    _file, _folder, _shards, _processes, _way = sys.argv[1:]
    prepare(_file, Path(_folder), int(_shards), int(_processes), _way)
