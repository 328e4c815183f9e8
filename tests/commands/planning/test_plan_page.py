"""The nodes of a plan as a page, and the one that docs/ has of the recipe `hala`."""

from pathlib import Path

from checkout import ROOT
from command_line import launch

PAGE = ROOT / "docs" / "hala-nodes.md"
ARGUMENTS = ("recipe=hala", "stage=all", "launcher=h100-site", "dry_run=true", "format=markdown")


def test_the_page_of_the_shipped_recipe_is_what_its_command_prints(tmp_path: Path) -> None:
    # Nothing is fetched: a model on the disk would give more than the tables.
    ended = launch(*ARGUMENTS, f"work={tmp_path}/work", HF_HOME=str(tmp_path / "hf"))
    # Printed in full before the environments of this clone are refused, which are for CPUs.
    assert ended.code in (0, 78), ended.err
    mend = (
        f"HF_HOME=$(mktemp -d) python -m hala_hpc.launch {' '.join(ARGUMENTS)} > docs/{PAGE.name}"
    )
    assert ended.out == PAGE.read_text(encoding="utf-8"), mend


def test_the_page_calculates_what_a_training_takes_and_names_a_faster_way(tmp_path: Path) -> None:
    arguments = [argument.replace("stage=all", "stage=sft-9b") for argument in ARGUMENTS]
    slower = ("sft-9b.zero_stage=3", f"work={tmp_path}/work")
    page = launch(*arguments, *slower, HF_HOME=str(tmp_path / "hf")).out
    row = next(line for line in page.splitlines() if line.startswith("| sft-9b |"))
    for part in ("h of products", "h of attention", "h of network", "activations", "fit 80.0 GB"):
        assert part in row
    assert "zero_stage=1 and gradient_checkpointing=true would be faster" in row
    own = next(line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| sft-9b"))
    assert "would be faster" not in own


def test_every_row_of_the_page_has_as_many_cells_as_the_head() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) > 40


def test_a_format_is_for_a_dry_run_and_one_of_two() -> None:
    arguments = ("recipe=hala", "stage=all", "launcher=h100-site")
    alone = launch(*arguments, "format=markdown")
    assert (alone.code, "add dry_run=true" in alone.err) == (64, True), alone
    other = launch(*arguments, "dry_run=true", "format=html")
    assert (other.code, "format=html: write text or markdown" in other.err) == (64, True), other
