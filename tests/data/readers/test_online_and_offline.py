"""A data set of the hub gives the same corpus streamed over the network and fetched before."""

from pathlib import Path

import pytest
from command_line import run_command
from hub_stand_in import HubStandIn
from prepare_runs import row
from test_hub_cards import CARD

from hala_hpc.data.corpus.reader import read_rows

#: Data sets by name: their files, and the settings of the node that reads them.
DATA_SETS: dict[str, tuple[dict[str, bytes], str]] = {
    "default": (
        {
            "README.md": CARD.encode(),
            "main/a.jsonl": row("a 1") + row("a 2"),
            "main/b-1.jsonl": row("b"),
            "main/test.jsonl": row("test"),
            "raw/train.jsonl": row("raw"),
        },
        "",
    ),
    "named": (
        {
            "README.md": CARD.encode(),
            "main/a.jsonl": row("a"),
            "main/test.jsonl": row("test"),
            "raw/1.jsonl": row("raw 1") + row("raw 2"),
        },
        'subset = "raw"\n',
    ),
    "split": (
        {
            "README.md": CARD.encode(),
            "main/a.jsonl": row("a"),
            "main/test.jsonl": row("test"),
            "raw/1.jsonl": row("raw"),
        },
        'split = "test"\n',
    ),
    "plain": (
        {
            "README.md": b"# rows\n",
            "data/train-00000-of-00002.jsonl": row("train 1") + row("train 2"),
            "data/train-00001-of-00002.jsonl": row("train 3"),
            "data/test-00000-of-00001.jsonl": row("test"),
        },
        "",
    ),
}
EXPECTED = {
    "default": ["a 1", "a 2", "b"],
    "named": ["raw 1", "raw 2"],
    "split": ["test"],
    "plain": ["train 1", "train 2", "train 3"],
}
#: Jobs are offline unless a launcher sets this.
ONLINE = 'HF_HUB_OFFLINE = "0"\nHF_DATASETS_OFFLINE = "0"\nTRANSFORMERS_OFFLINE = "0"\n'


def write_launcher(path: Path, hub: HubStandIn, home: Path, more: str) -> Path:
    variables = "".join(f'{name} = "{value}"\n' for name, value in hub.environment(home).items())
    path.write_text(f'backend = "local"\n[environment]\n{variables}{more}', encoding="utf-8")
    return path


def questions(work: Path) -> dict[str, list[str]]:
    """The questions of each node's corpus."""
    return {
        name: sorted(
            each["messages"][0]["content"] for each in read_rows(work / "latest" / name / "output")
        )
        for name in DATA_SETS
    }


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_corpus_is_the_same_online_and_offline(tmp_path: Path) -> None:
    nodes = [
        f'[{name}]\nstage = "prepare"\ndata = "lab/{name}"\nunits = 1\n{settings}'
        for name, (_, settings) in DATA_SETS.items()
    ]
    (tmp_path / "recipe.toml").write_text("\n".join(nodes), encoding="utf-8")
    with HubStandIn() as hub:
        for name, (files, _) in DATA_SETS.items():
            hub.put("datasets", f"lab/{name}", files)
        found = {}
        for state, more, modules in (
            ("online", ONLINE, ["launch"]),
            ("offline", "", ["fetch", "launch"]),
        ):
            launcher = write_launcher(
                tmp_path / f"{state}.toml", hub, tmp_path / f"home-{state}", more
            )
            line = (
                "stage=all",
                f"recipe={tmp_path}/recipe.toml",
                f"work={tmp_path}/{state}",
                f"launcher={launcher}",
            )
            for module in modules:
                hub.is_down = (state, module) == ("offline", "launch")
                variables = hub.environment(tmp_path / f"home-{state}")
                ended = run_command(*line, module=module, cwd=None, **variables)
                assert ended.code == 0, (state, ended)
            found[state] = questions(tmp_path / state)
    assert found["offline"] == EXPECTED
    assert found["online"] == EXPECTED
