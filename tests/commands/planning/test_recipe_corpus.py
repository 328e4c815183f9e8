"""The corpus that the recipe `hala` makes is the paper's, by the planner's own estimates.

The numbers are those of the sources, not of the planner's table.
"""

import re

import pytest
from checkout import ROOT
from command_line import launch

#: Rows of each data set, and their source.
CITED = {
    "orca-405k": (405_000, "arXiv 2509.14008: the first 405K of OpenOrca"),
    "scp": (116_756, "the paper of SCP-116K"),
    "realign": (52_002, "Alpaca, of which it was made"),
    "lamini": (2_590_000, "the hub's page: 2.59M rows"),
    "tulu": (839_343, "its card: 939,343 samples, of which 100,000 are of Aya"),
    "opus": (1_000_000, "arXiv 2004.11867: up to a million pairs for each language"),
    "opus-judged": (439_592, "arXiv 2509.14008: accepted by the judge"),
    "translator-tokens": (1_260_000, "arXiv 2509.14008: examples of the translator"),
}
#: Data sets of which the hub gives the order of magnitude alone.
HUB_SIZES = {"hermes": (100_000, 1_000_000), "synthetic": (10_000, 100_000)}
SEVEN = {"orca-405k", "hermes", "scp", "realign", "lamini", "tulu", "synthetic"}
LETTERS = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Rows of each node of the recipe as a dry run estimates them; nothing is fetched."""
    folder = tmp_path_factory.mktemp("plan")
    arguments = (
        "recipe=hala",
        "stage=all",
        "launcher=h100-site",
        "dry_run=true",
        "format=markdown",
    )
    ended = launch(*arguments, f"work={folder}/work", HF_HOME=str(folder / "hf"))
    table = [
        arguments.split("|") for arguments in ended.out.splitlines() if arguments.startswith("| ")
    ]
    return {cells[1].strip(): number(cells[3].strip()) for cells in table[2:]}


def number(cell: str) -> float:
    """`4.99M` as a number; 0 if unknown."""
    digits = re.fullmatch(r"([\d.]+)([KMB]?)", cell)
    return float(digits[1]) * LETTERS[digits[2]] if digits else 0.0


def test_each_data_set_brings_the_rows_of_its_source(rows: dict[str, float]) -> None:
    found = {name: rows[name] for name in CITED}
    assert found == {name: pytest.approx(count, rel=0.1) for name, (count, _) in CITED.items()}
    for name, (min_rows, max_rows) in HUB_SIZES.items():
        assert min_rows <= rows[name] <= max_rows


def test_the_arabic_corpus_is_as_large_as_the_papers(rows: dict[str, float]) -> None:
    # The paper gives about 4.5M; 4,060,575 rows of it are published.
    assert 4.0e6 <= rows["arabic-tokens"] <= 5.1e6
    assert rows["arabic-tokens"] == pytest.approx(sum(rows[name] for name in SEVEN), rel=0.01)


def test_the_head_of_the_recipe_lists_the_rows_of_each_data_set(rows: dict[str, float]) -> None:
    head = (ROOT / "hala_hpc/recipes/hala.toml").read_text().partition("[teacher]")[0]
    listed = dict(re.findall(r"^#   ([\w-]+) .*? ([\d,]{5,}) ", head, re.MULTILINE))
    counts = {name: float(digits.replace(",", "")) for name, digits in listed.items()}
    assert {name: counts[name] for name in SEVEN} == {
        name: pytest.approx(rows[name], rel=0.01) for name in SEVEN
    }
    assert counts["together"] == sum(counts[name] for name in SEVEN)
