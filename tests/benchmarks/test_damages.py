"""The campaign of damages: which cells there are, and that its check sees what is lost."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.damages.cells import copy_of
from benchmarks.damages.contents import contents_of
from benchmarks.damages.drawn import drawn
from benchmarks.damages.listed import listed

RESULTS = {node: [f"units/00001/{node}.parquet", "output/x"] for node in ("mine", "tok", "arabic")}
NODES = ("mine",)


def finished(folder: Path) -> Path:
    """A work folder of one node, as far as the check looks at it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    output = folder / "mine-0123456789ab" / "output"
    output.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["one", "two"]}), output / "part-00000.parquet")
    (output / "notes.jsonl").write_text("{}\n")
    names = ("part-00000.parquet", "notes.jsonl")
    digests = {name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in names}
    summary = {"rows_in": 2, "rows_out": 2, "rows_rejected": 0, "sha256": digests}
    (output.parent / "summary.json").write_text(json.dumps(summary))
    (folder / "latest").mkdir()
    (folder / "latest" / "mine").symlink_to("../mine-0123456789ab")
    return folder


def change_a_row(output: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["one", "twp"]}), output / "part-00000.parquet")


def lose_the_rows(output: Path) -> None:
    (output / "part-00000.parquet").unlink()


def cut_the_rows(output: Path) -> None:
    part = output / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:100])


def change_the_notes(output: Path) -> None:
    (output / "notes.jsonl").write_text("[]\n")


def lose_the_summary(output: Path) -> None:
    (output.parent / "summary.json").unlink()


def test_there_are_88_listed_cells_and_as_many_others_as_are_asked_for() -> None:
    known = listed()
    assert len({cell.name for cell in known}) == 88
    cells = drawn(100, 1, known, RESULTS)
    assert len({cell.name for cell in (*known, *cells)}) == 188
    assert [cell.name for cell in cells] == [cell.name for cell in drawn(100, 1, known, RESULTS)]
    assert [cell.name for cell in cells] != [cell.name for cell in drawn(100, 2, known, RESULTS)]


@pytest.mark.parametrize(
    "damage", [change_a_row, lose_the_rows, cut_the_rows, change_the_notes, lose_the_summary]
)
def test_the_check_sees_what_is_lost(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    work = finished(tmp_path / "work")
    copy = copy_of(work, tmp_path / "copy")
    whole = contents_of(work, NODES)
    assert contents_of(copy, NODES).losses(whole) == []
    damage(copy / "mine-0123456789ab" / "output")
    assert contents_of(copy, NODES).losses(whole) != []
