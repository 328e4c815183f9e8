"""The card of a merged model: parents, method and parameters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hala_hpc.core.hub import is_hub_id, parse_hub_reference
from hala_hpc.engines.models.card_data import CARD_FILE, read_card_data
from hala_hpc.engines.models.merging.merge_record import MergeRecord


def write_merge_card(folder: Path, record: MergeRecord, base: Path) -> None:
    """Write README.md; license and languages are those that the card of the base states."""
    from huggingface_hub import ModelCard

    parents = [record.base, *record.models]
    lines = [
        f"# {parent_title(record.base)}, merged",
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
    header = merge_card_data(parents, base / CARD_FILE).to_yaml()
    ModelCard("\n".join(["---", header, "---", *lines])).save(folder / CARD_FILE)


def parent_title(reference: str) -> str:
    """The name of a model in a title."""
    return reference if is_hub_id(reference) else Path(reference).name.removeprefix("@")


def table(first: str, others: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one behind; none without rows."""
    if not rows:
        return []
    head = [first, *others]
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def join_numbers(numbers: Sequence[float]) -> str:
    """`0.52, 0.61`: a number for each tuned model."""
    return ", ".join(f"{number:g}" for number in numbers)


def merge_card_data(parents: Sequence[str], base_card: Path) -> Any:
    """Metadata of the card, a `ModelCardData`: the parents that have an id on the hub are named.

    Where none has, as for nodes and folders, the base that the card of the base names.
    """
    from huggingface_hub import ModelCardData

    stated = read_card_data(base_card)
    ids = [parse_hub_reference(one).name for one in parents if is_hub_id(one)]
    return ModelCardData(
        base_model=ids or stated.get("base_model"),
        base_model_relation="merge",
        language=stated.get("language"),
        library_name="transformers",
        license=stated.get("license"),
        license_name=stated.get("license_name"),
        license_link=stated.get("license_link"),
        pipeline_tag="text-generation",
        tags=["merge", "hala_hpc"],
    )
