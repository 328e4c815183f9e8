"""What the card of a model states, for the cards of models that are made of it."""

from pathlib import Path
from typing import Any

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
