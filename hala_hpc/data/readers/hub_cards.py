"""Read the configurations of a hub data set from its card, as `datasets` does with a network.

huggingface_hub's DatasetCard is not used: it validates and prints, and needs the hub's libraries on
a node that only reads files. PyYAML, which these libraries bring, reads the same block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError

CARD = "README.md"
FENCE = "---"
#: The split of files for which a card names none.
DEFAULT_SPLIT = "train"


@dataclass(frozen=True)
class HubConfiguration:
    """A configuration of a data set, also called subset."""

    name: str
    is_default: bool
    folder: str
    """Folder of its files below the data set; "" for the data set itself."""
    patterns: dict[str, list[str]]
    """For each split the patterns of its files; none if the card gives no files."""


def read_configurations(folder: Path) -> list[HubConfiguration]:
    """Return the configurations that the card in a folder lists; none if there is no list.

    Raises: UserError (BAD_DATA) if the card cannot be read.
    """
    card = folder / CARD
    return parse_card(read_card(folder), card) if card.is_file() else []


def read_card(folder: Path) -> str:
    """Return the text of the card in a folder; "" if there is none."""
    card = folder / CARD
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def has_card_block(text: str) -> bool:
    """Whether a card begins with a block of YAML."""
    lines = text.removeprefix("\ufeff").splitlines()
    return bool(lines) and lines[0].strip() == FENCE


def parse_card(text: str, source: object) -> list[HubConfiguration]:
    """Return the configurations that a card lists; none if there is no list.

    Raises: UserError (BAD_DATA) if the list cannot be read; it names `source`.
    """
    import yaml

    if not has_card_block(text):
        return []
    lines = text.splitlines()
    ends = (number for number, line in enumerate(lines[1:], 1) if line.strip() == FENCE)
    block = "\n".join(lines[1 : next(ends, len(lines))])
    try:
        found = yaml.safe_load(block)
        listing = found.get("configs") if isinstance(found, dict) else None
        return [parse_configuration(each) for each in listing or []]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"data file {source}: its list of configurations cannot be read "
            f"({type(error).__name__}); fetch the data set again, or remove the card",
            BAD_DATA,
        ) from error


def parse_configuration(entry: dict[str, Any]) -> HubConfiguration:
    """Parse one entry of the list: `data_files` is a pattern, a list, or one of splits."""
    files: Any = entry.get("data_files") or []
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    patterns: dict[str, list[str]] = {}
    for each in [files] if isinstance(files, str) else files:
        split, path = (each["split"], each["path"]) if isinstance(each, dict) else ("", each)
        paths = [path] if isinstance(path, str) else list(path)
        patterns.setdefault(str(split) or DEFAULT_SPLIT, []).extend(paths)
    folder = str(entry.get("data_dir") or "").strip("/")
    return HubConfiguration(
        str(entry.get("config_name", "default")), entry.get("default") is True, folder, patterns
    )


def choose_configuration(
    found: list[HubConfiguration], subset: str | None, reference: str
) -> HubConfiguration:
    """Return the configuration that is read: `subset`, or the default of the card.

    Raises: UserError (NO_INPUT) if it is unknown which one; it names them.
    """
    names = ", ".join(each.name for each in found)
    if subset is not None:
        chosen = [each for each in found if each.name == subset]
        if not chosen:
            raise UserError(
                f"subset={subset}: {reference} has no such configuration; it has {names}", NO_INPUT
            )
        return chosen[0]
    defaults = [each for each in found if each.is_default]
    defaults = defaults or [each for each in found if each.name == "default"]
    if not defaults and len(found) > 1:
        raise UserError(
            f"data set {reference}: has several configurations and no default: {names}; set "
            f'subset = "{found[0].name}" or another one',
            NO_INPUT,
        )
    return (defaults or found)[0]


def list_configuration(folder: Path, chosen: HubConfiguration, split: str) -> list[Path]:
    """Return the files of a split of a configuration, sorted.

    Raises: UserError (NO_INPUT) if it has no such split or if a pattern has no file.
    """
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [folder / name for name in match_configuration(files, chosen, split, str(folder))]


def match_configuration(
    names: Sequence[str], chosen: HubConfiguration, split: str, where: str = "the data set"
) -> list[str]:
    """Return the paths, of all those of a data set, that a split of a configuration has, sorted.

    Raises: UserError (NO_INPUT) if it has no such split or if a pattern has no file.
    """
    patterns = chosen.patterns.get(split)
    if patterns is None:
        listing = ", ".join(chosen.patterns)
        raise UserError(
            f"split={split}: configuration {chosen.name} of {where} has no such split; it has "
            f"{listing}",
            NO_INPUT,
        )
    found: set[str] = set()
    for pattern in patterns:
        parts = PurePosixPath(chosen.folder, pattern).parts
        matched = {name for name in names if matches_parts(name.split("/"), parts)}
        if not matched:
            raise UserError(
                f"data folder {where}: has no file {pattern!r}, which its card names for the "
                f"configuration {chosen.name}; fetch the data set again",
                NO_INPUT,
            )
        found |= matched
    return sorted(found)


def matches_parts(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a pattern; `**` stands for any number of parts."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        rest = patterns[1:]
        # As the last part it stands for files at any depth.
        return not rest or any(matches_parts(names[n:], rest) for n in range(len(names)))
    return (
        bool(names)
        and fnmatchcase(names[0], patterns[0])
        and matches_parts(names[1:], patterns[1:])
    )
