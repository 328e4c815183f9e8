"""The card of a merged model: parents, method and parameters."""

from collections.abc import Sequence
from pathlib import Path

from hala_hpc.engines.models.card_data import (
    CARD_FILE,
    derive_card_data,
    model_title,
    write_derived_card,
)
from hala_hpc.engines.models.merging.merge_record import MergeRecord
from hala_hpc.engines.publishing.job_license import state_license
from hala_hpc.engines.reporting.safe_text import format_markdown_row


def write_merge_card(folder: Path, record: MergeRecord, base: Path) -> None:
    """Write README.md; its languages are those of the base, its license follows from all inputs."""
    parents = [record.base, *record.models]
    lines = [
        f"# {model_title(record.base)}, merged",
        "",
        f"Made with hala_hpc of `{record.base}` and "
        f"{', '.join(f'`{one}`' for one in record.models)} by the method `{record.method}`.",
        "",
        *table("parameter", ["value"], [(name, text) for name, text in record.parameters.items()]),
        "Weights: " + f"{record.weights:,} in {record.tensors} tensors, {record.dtype}.",
        "",
        "## How far the tuned models are from the base",
        "",
        *table(
            "layers",
            ["angle, degrees", "relative change"],
            [
                (
                    change.kind,
                    join_numbers(change.angle_degrees),
                    join_numbers(change.relative_change),
                )
                for change in record.changes
            ],
        ),
    ]
    data = derive_card_data(parents, base / CARD_FILE, "merge", relation="merge")
    write_derived_card(folder, data, [*lines, *state_license(data, folder)])


def table(first: str, others: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one behind; none without rows."""
    if not rows:
        return []
    head = [first, *others]
    return [*map(format_markdown_row, (head, ["---"] * len(head), *rows)), ""]


def join_numbers(numbers: Sequence[float]) -> str:
    """`0.52, 0.61`: a number for each tuned model."""
    return ", ".join(f"{number:g}" for number in numbers)
