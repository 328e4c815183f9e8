"""The outcome of every item of a benchmark: a row each, in Parquet files that pandas reads.

The output of an evaluation has a file for each unit, `items-00003.parquet`. An item that cannot be
scored has a row with the reason, and no score.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import atomic_file

#: Names of the item files of all units.
ITEM_FILES = "items-*.parquet"


@dataclass(frozen=True)
class ItemOutcome:
    """What a model answered to one item, and how that was scored."""

    task: str
    item: int
    """Number of the item in the data of its task, from 0."""
    doc_hash: str
    prompt_hash: str
    target_hash: str
    """SHA-256 of document, prompt and target, as lm-eval computes them."""
    target: str
    answer: str = ""
    """Text of the choice with the highest probability, or the generated answer."""
    metric: str = ""
    """First metric of the task; `correct` is its value."""
    correct: float | None = None
    """Score of the item, 0 or 1 for wrong or right answers; None for an excluded item."""
    scores: dict[str, float] = field(default_factory=dict)
    """Values of all metrics that are numbers."""
    log_probabilities: list[float] = field(default_factory=list)
    """Natural logarithm of the probability of each choice, summed over its tokens."""
    excluded: str = ""
    """Why the item is not scored; empty if it is."""
    cluster: str = ""
    """Hash of the passage or subject that items of its task share; empty if it has none."""

    @property
    def pair_hash(self) -> str:
        """Hash of document, prompt and target together: equal for items that can be paired."""
        return f"{self.doc_hash[:16]}-{self.prompt_hash[:16]}-{self.target_hash[:16]}"


def items_name(unit: int) -> str:
    """Name of the item file of a unit."""
    return f"items-{unit:05d}.parquet"


def make_item_schema() -> Any:
    """The columns of an item file, without that of the model."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("doc_hash", "prompt_hash", "target_hash")]
    return pa.schema(
        [
            ("task", pa.string()),
            ("item", pa.int64()),
            *texts,
            ("target", pa.string()),
            ("answer", pa.string()),
            ("metric", pa.string()),
            ("correct", pa.float64()),
            ("scores", pa.map_(pa.string(), pa.float64())),
            ("log_probabilities", pa.list_(pa.float64())),
            ("excluded", pa.string()),
            ("cluster", pa.string()),
        ]
    )


def write_items(path: Path, items: Iterable[ItemOutcome]) -> None:
    """Write items, without their model, as one Parquet file; whole or not at all."""
    import pyarrow as pa

    schema = make_item_schema()
    rows = [
        {name: getattr(item, name) for name in schema.names} | {"scores": list(item.scores.items())}
        for item in items
    ]
    write_item_table(path, pa.Table.from_pylist(rows, schema))


def write_items_of_model(source: Path, model: str, target: Path) -> None:
    """Copy an item file, with the label of the model as its first column."""
    import pyarrow as pa

    table = read_item_table(source)
    column = pa.array([model] * table.num_rows, pa.string())
    write_item_table(target, table.add_column(0, "model", column))


def write_item_table(path: Path, table: Any) -> None:
    """Write a table whole or not at all, with checksums of its pages."""
    import pyarrow.parquet as pq

    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_item_table(path: Path) -> Any:
    """Read an item file. Raises: UserError (BAD_DATA) if it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}", BAD_DATA) from None


def read_items(path: Path) -> list[ItemOutcome]:
    """Read the items of a file, in its order. Raises: UserError (BAD_DATA) if it is damaged."""
    rows = read_item_table(path).to_pylist()
    for row in rows:
        row.pop("model", None)
        row["scores"] = dict(row["scores"])
    return [ItemOutcome(**row) for row in rows]


def read_items_by_model(folder: Path) -> dict[str, list[ItemOutcome]]:
    """All items in the output of an evaluation by model, each once, in the order of the tasks.

    Raises: UserError (BAD_DATA) if a file is damaged.
    """
    found: dict[str, dict[tuple[str, int], ItemOutcome]] = {}
    for path in sorted(folder.glob(ITEM_FILES)):
        labels = read_item_table(path).column("model").to_pylist()
        for label, item in zip(labels, read_items(path), strict=True):
            # A task that two groups have is evaluated in both.
            found.setdefault(label, {}).setdefault((item.task, item.item), item)
    return {
        label: sorted(items.values(), key=lambda one: (one.task, one.item))
        for label, items in found.items()
    }


def count_excluded(items: Sequence[ItemOutcome]) -> Counter[str]:
    """Number of excluded items by reason."""
    return Counter(item.excluded for item in items if item.excluded)
