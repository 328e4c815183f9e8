"""Every example is run as its head describes."""

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import launch

EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*.toml"))
#: What the lines of each file print, in their order: nodes of a recipe, flags of a launcher.
EXPECTED: Mapping[str, list[tuple[str, ...]]] = {
    "own-data.toml": [("arabic  translate", "2 would be run"), ("mine: done", "5 rows in, 5 out")],
    "rejected-again.toml": [("arabic-again  translate", "arabic, arabic-again")],
    "merge-sweep.toml": [
        ("merge-t0.3 ", "merge-t0.5 ", "merge-t0.7 "),
        ("merge-t0.4 ", "merge-t0.6 ", "7 would be run"),
    ],
    "english-french.toml": [("french             translate", "translator, questions")],
    "hala-fr.toml": [("teacher-pairs", "translator-scores  evaluate", "Helsinki-NLP/opus-100")],
    "hala-sw.toml": [("translator-scores  evaluate", "Qwen/Qwen2.5-3B-Instruct")],
    "site-partitions.toml": [
        ("--partition=gpu", "--partition=cpu", "--account=nlp-lab", "--qos=long", "--qos=normal"),
    ],
    "site-modules.toml": [("module load gcc", "HF_HOME=$SCRATCH/huggingface", "TRITON_CACHE_DIR=")],
}


def lines_of(path: Path) -> list[list[str]]:
    """The lines of `hala launch` in the head of a file, without `hala launch`."""
    head = path.read_text(encoding="utf-8").partition("\n\n")[0]
    found = re.findall(r"^#   hala launch (.*)$", head, re.M)
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_does_what_its_head_describes(path: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    lines = lines_of(path)
    for arguments, texts in zip(lines, EXPECTED[path.name], strict=True):
        ended = launch(*arguments, cwd=folder)
        assert ended.code == 0, ended
        assert [text for text in texts if text not in ended.out] == [], ended.out
    assert (folder / "runs").exists() == any("dry_run=true" not in line for line in lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_begins_with_what_it_shows_and_is_listed(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert re.fullmatch(r"# .{30,}[.]", first), first
    assert f"[{path.name}]({path.name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
