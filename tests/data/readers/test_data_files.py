"""Every file of a folder is read, or named with the reason why it is not."""

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import pytest
from prepare_runs import prepare, questions, row, summary

from hala_hpc.core.errors import UserError
from hala_hpc.data.readers.data_files import list_folder
from hala_hpc.data.readers.sources import DatasetSelection, find_sources

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


def write_folder(folder: Path) -> list[str]:
    """Write a data folder with files of all kinds; return the questions that can be read."""
    import pyarrow as pa

    data, linked = folder / "data", folder / "linked"
    (data / ".git").mkdir(parents=True)
    linked.mkdir()
    (data / "a.jsonl").write_bytes(row("plain"))
    (data / "b.JSONL").write_bytes(row("capitals"))
    (data / "c.jsonl.gz").write_bytes(gzip.compress(row("gz")))
    (data / "d.jsonl.bz2").write_bytes(bz2.compress(row("bz2")))
    (data / "e.jsonl.xz").write_bytes(lzma.compress(row("xz")))
    (data / "f.jsonl.ZST").write_bytes(pa.Codec("zstd").compress(row("zst"), asbytes=True))
    with zipfile.ZipFile(data / "g.zip", "w") as archive:
        archive.writestr("inner/a.jsonl", row("zip"))
        archive.writestr("inner/b.jsonl.gz", gzip.compress(row("gz in zip")))
        archive.writestr("readme.txt", "no rows")
    (linked / "h.jsonl").write_bytes(row("linked"))
    (data / "h").symlink_to(linked)
    (data / "again").symlink_to(data)
    (data / "i.jsonl").symlink_to(linked / "h.jsonl")
    (data / "dataset_info.json").write_text("{}")
    (data / "notes.txt").write_text("no rows")
    (data / "z.jsonl.7z").write_text("no reader")
    return ["bz2", "capitals", "gz", "gz in zip", "linked", "plain", "xz", "zip", "zst"]


def test_a_folder_is_read_with_all_endings_links_and_compressions(tmp_path: Path) -> None:
    expected = write_folder(tmp_path)
    ended = prepare(tmp_path, [tmp_path / "data"])
    assert ended.code == 0, ended
    assert questions(tmp_path) == expected
    found = summary(tmp_path)
    # The same file behind two names is read twice and counted as a duplicate.
    assert (found["rows_in"], found["rejected"]) == (len(expected) + 1, {"duplicate": 1})
    assert found["details"]["files_read"] == len(expected) + 1
    assert sorted(found["details"]["unread"]) == [
        ".git (a hidden name)",
        "again (a link to a folder that is listed already)",
        "dataset_info.json (describes the data)",
        "g.zip/readme.txt (no reader for the suffix '.txt')",
        "notes.txt (no reader for the suffix '.txt')",
        "z.jsonl.7z (no reader for the suffix '.jsonl.7z')",
    ]
    assert f"{len(expected) + 1} files read, 6 not read: .git (a hidden name)" in ended.out


def test_a_link_that_leads_nowhere_and_a_pointer_are_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    folder, pointed = tmp_path / "data", tmp_path / "pointed"
    folder.mkdir()
    pointed.mkdir()
    (folder / "a.jsonl").write_bytes(row("one"))
    (folder / "gone.jsonl").symlink_to(tmp_path / "nothing.jsonl")
    for name in ("a.jsonl", "a.jsonl.gz", "a.parquet"):
        (pointed / name).write_text(POINTER)
    files = [folder, *sorted(pointed.iterdir())]
    ended = prepare(tmp_path, files)
    assert ended.code == 66, ended
    assert f"gone.jsonl: is a link to {tmp_path / 'nothing.jsonl'}, which does not" in ended.err
    assert ended.err.count("is a pointer of Git LFS") == 3
    assert "git lfs pull" in ended.err
    assert not (tmp_path / "work").exists()


def read_all(path: Path) -> None:
    """Read a file to its end."""
    for source in find_sources(str(path), DatasetSelection()):
        list(source.read())


def test_damaged_archives_are_refused_by_name(tmp_path: Path) -> None:
    damaged = {
        "a.jsonl.gz": gzip.compress(row("one") * 999)[:-9],
        "a.jsonl.bz2": bz2.compress(row("one") * 999)[:-9],
        "a.jsonl.xz": lzma.compress(row("one") * 999)[:-9],
        "a.jsonl.zst": b"(\xb5/\xfd damaged",
        "a.zip": b"PK damaged",
    }
    for name, content in damaged.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: cannot be read after"):
            read_all(path)


def test_a_socket_or_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    import os

    (tmp_path / "a.jsonl").write_bytes(row("one"))
    os.mkfifo(tmp_path / "b.jsonl")
    content = list_folder(tmp_path)
    assert [file.name for file in content.files] == ["a.jsonl"]
    assert content.unread == [("b.jsonl", "no regular file")]
