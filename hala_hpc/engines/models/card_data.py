"""What the card of a model states, and the card of a model that is made of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hala_hpc.core.hub import is_hub_id, parse_hub_reference

CARD_FILE = "README.md"


def read_card_data(card: Path) -> Any:
    """Metadata of a card, a `ModelCardData`; empty where there is no card or a damaged one."""
    import yaml
    from huggingface_hub import ModelCard, ModelCardData

    if not card.is_file():
        return ModelCardData()
    try:
        return ModelCard.load(card, ignore_metadata_errors=True).data
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        # Written by others, and no part of the model: a card with faults stops nothing.
        return ModelCardData()


def write_derived_card(folder: Path, data: Any, lines: Sequence[str]) -> None:
    """Write README.md with metadata, a `ModelCardData`, and lines of Markdown."""
    from huggingface_hub import ModelCard

    ModelCard("\n".join(["---", data.to_yaml(), "---", *lines])).save(folder / CARD_FILE)


def derive_card_data(
    parents: Sequence[str], base_card: Path, tag: str, relation: str | None = None
) -> Any:
    """Metadata of a model made of others, a `ModelCardData`; license and languages of the base.

    `parents`: as the settings name them, the base first. `base_model` has their ids on the hub;
    where none has one, as nodes and folders, the base model that the card of the base names. What
    is unknown is left out.
    """
    from huggingface_hub import ModelCardData

    stated = read_card_data(base_card)
    ids = [parse_hub_reference(one).name for one in parents if is_hub_id(one)]
    own = ids[0] if len(parents) == 1 and ids else ids
    return ModelCardData(
        base_model=own or stated.get("base_model"),
        base_model_relation=relation,
        language=stated.get("language"),
        library_name="transformers",
        license=stated.get("license"),
        license_name=stated.get("license_name"),
        license_link=stated.get("license_link"),
        pipeline_tag="text-generation",
        tags=[tag, "hala_hpc"],
    )


def model_title(reference: str) -> str:
    """The name of a model in a title: its id on the hub, else the last part of its path."""
    return reference if is_hub_id(reference) else Path(reference).name.removeprefix("@")
