"""A hub data set with several configurations is read as `datasets` reads it, never as a mixture."""

from pathlib import Path

import pytest
from prepare_runs import row

from hala_hpc.core.errors import UserError
from hala_hpc.data.readers.hub_files import select_hub_files
from hala_hpc.data.readers.sources import (
    DatasetSelection,
    find_contents,
    find_sources,
)

CARD = """---
license: mit
configs:
- config_name: raw
  data_files: "raw/*.jsonl"
- config_name: main
  default: true
  data_files:
  - split: train
    path: ["main/a.jsonl", "main/b*.jsonl"]
  - split: test
    path: main/test.jsonl
---
# Two configurations
"""


def snapshot(folder: Path, card: str) -> Path:
    """Write the files of a data set and its card."""
    for name in ("main/a", "main/b-1", "main/test", "raw/train"):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(row(name))
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def read(folder: Path, selection: DatasetSelection) -> list[str]:
    """The questions that are read of a data set of the hub."""
    found = find_sources(str(folder), selection, "me/two")
    values = (record.value for source in found for record in source.read())
    return [value["instruction"] for value in values if value]


def test_the_default_of_the_card_is_read_or_the_configuration_that_is_set(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, CARD)
    assert read(folder, DatasetSelection()) == ["main/a", "main/b-1"]
    assert read(folder, DatasetSelection("test")) == ["main/test"]
    assert read(folder, DatasetSelection(subset="raw")) == ["raw/train"]
    unread = find_contents(str(folder), DatasetSelection(), "me/two").unread
    assert [each.path for each in unread] == [
        "README.md",
        "main/test.jsonl",
        "raw/train.jsonl",
    ]


def test_without_a_default_the_names_are_listed(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, CARD.replace("  default: true\n", ""))
    with pytest.raises(
        UserError, match="several configurations and no default: raw, main; set sub"
    ):
        read(folder, DatasetSelection())
    with pytest.raises(UserError, match="subset=rwa: me/two has no such configuration; it has raw"):
        read(folder, DatasetSelection(subset="rwa"))
    with pytest.raises(UserError, match=r"split=dev: configuration main .* it has train, test"):
        read(folder, DatasetSelection("dev", "main"))


def test_a_file_of_the_card_that_was_not_fetched_is_named(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, CARD)
    (folder / "main" / "a.jsonl").unlink()
    with pytest.raises(UserError, match=r"has no file 'main/a.jsonl', which its card names"):
        read(folder, DatasetSelection())


def test_the_card_is_fetched_with_the_data() -> None:
    names = ["README.md", "main/a.jsonl", "raw/train.jsonl"]
    assert select_hub_files(names, DatasetSelection(subset="main")) == ["README.md", "main/a.jsonl"]
    names = ["README.md", "data/main-1.jsonl", "data/raw-1.jsonl"]
    expected = ["README.md", "data/main-1.jsonl"]
    assert select_hub_files(names, DatasetSelection(subset="main")) == expected


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("main/*", ["main/a.jsonl"]),
        ("main/**", ["main/a.jsonl", "main/deep/er/b.jsonl"]),
        ("**/*.jsonl", ["main/a.jsonl", "main/deep/er/b.jsonl", "raw/train.jsonl", "top.jsonl"]),
        ("[mr]*/[at]*.jsonl", ["main/a.jsonl", "raw/train.jsonl"]),
        ("top.jsonl", ["top.jsonl"]),
        ("main/?eep/**/b.jsonl", ["main/deep/er/b.jsonl"]),
    ],
)
def test_fetched_are_the_files_that_the_card_names(pattern: str, files: list[str]) -> None:
    card = f'---\nconfigs:\n- config_name: default\n  data_files: "{pattern}"\n---\n'
    names = ["main/a.jsonl", "main/deep/er/b.jsonl", "raw/train.jsonl", "top.jsonl", "README.md"]
    found = select_hub_files(names, DatasetSelection(), card)
    assert found == sorted([*files, "README.md"])
