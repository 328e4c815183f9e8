"""Select the files of a hub data set that are read, from the paths of all its files."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.data.readers.data_files import find_unread_reason
from hala_hpc.data.readers.hub_cards import (
    CARD,
    choose_configuration,
    has_card_block,
    match_configuration,
    parse_card,
)
from hala_hpc.data.readers.sources import DatasetSelection, filter_split, has_word


def select_hub_files(
    names: Sequence[str], selection: DatasetSelection, card: str = ""
) -> list[str]:
    """Select the data files of a hub data set, and its card, from the paths of all its files.

    `card` is the text of the card; empty if there is none or it was not fetched.

    Raises: UserError (NO_INPUT) if a subset or split has no data files, or if it is unknown which
    configuration is meant.
    """
    card_name = [CARD] if CARD in names else []
    if has_card_block(card):
        if find_spec("yaml") is None:
            # A light environment: which files the card names is known where jobs run.
            return card_name
        if found := parse_card(card, CARD):
            chosen = choose_configuration(found, selection.subset, "the data set")
            if chosen.patterns:
                split = selection.on_hub.split or "train"
                return sorted({*card_name, *match_configuration(names, chosen, split)})
            return select_by_names(names, DatasetSelection(selection.split, chosen.folder or None))
    return select_by_names(names, selection)


def select_by_names(names: Sequence[str], selection: DatasetSelection) -> list[str]:
    """Select the files by folder and name of the split, and the card."""
    root = Path("/", selection.subset or "")
    every = [Path("/", name) for name in sorted(names)]
    inside = [file for file in every if root in file.parents]
    if CARD in names and not inside:
        # The subset may be a configuration of the card: its files have the name as a word.
        root, inside = Path("/"), [file for file in every if has_word(file, selection.subset or "")]
    files = [file for file in inside if not find_unread_reason(file.relative_to(root))]
    files = filter_split(files, root, selection.on_hub.split)
    if not files:
        where = f"subset={selection.subset}" if selection.subset else "the data set"
        raise UserError(
            f"{where} has no data files on the hub; it has {list_some_names(names)}", NO_INPUT
        )
    card = [Path("/", CARD)] if CARD in names else []
    return [str(file.relative_to("/")) for file in sorted({*card, *files})]


def list_some_names(names: Sequence[str]) -> str:
    """Format the first five of some names."""
    return ", ".join(sorted(names)[:5]) or "none"
