"""The engine of docs/adding-an-engine.md, as it stands there, translates rows."""

import re
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import launch, recipe
from corpora import pair, write_corpus

from benchmarks.kills.node import DISABLED_CHECKS, empty_model
from hala_hpc.data.corpus.reader import read_rows

PAGE = ROOT / "docs" / "adding-an-engine.md"
TEXTS = [f"The boy in house {number} reads." for number in range(5)]


def block(kind: str) -> str:
    """The one block of code of this kind on the page."""
    [found] = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.slow
def test_the_class_and_the_setting_of_the_page_run_a_node(tmp_path: Path, work: Path) -> None:
    (tmp_path / "capitals.py").write_text(block("python"))
    corpus = write_corpus(tmp_path / "c", [pair(text, "") for text in TEXTS])
    more = (
        f'model = "{empty_model(tmp_path / "model")}"\ncorpus = "{corpus}"\nunits = 2\n'
        f'prompt = "{{text}}"\nchecks.disabled = {DISABLED_CHECKS}\n'
    )
    arguments = ("stage=all", recipe(tmp_path, block("toml") + more), f"work={work}")
    ended = launch(*arguments, PYTHONPATH=str(tmp_path))
    assert ended.code == 0, ended
    made = [row["target"] for row in read_rows(work / "latest" / "arabic" / "output")]
    assert made == [text.upper() for text in TEXTS]
