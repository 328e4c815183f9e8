"""fetch: what a line reads from the hub, from a stand-in of it, to a cache that jobs read."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hub_repositories
import pytest
from command_line import CommandResult, run_command
from hub_stand_in import GOOD_TOKEN, HubStandIn
from in_one_process import run_commands
from message_checks import assert_message
from small_disks import small_disk

#: Each fetch imports transformers in two processes, and the first test waits for all of a fixture.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

MODELS = (
    "absent",
    "other",
    "shard",
    "cut",
    "config",
    "words",
    "blob",
    "begun",
    "changed",
    "garbled",
)
DATA = ("rows", "rowscut", "rowsabsent")
#: One of which no weights are read, and one of a single file.
VOCABULARY, LONG = "vocabulary", "long"
#: Where the line to the hub breaks once, and how many bytes come before; huggingface_hub keeps what
#: came in blocks of so many bytes.
CUT, CUT_BYTES, BLOCK_BYTES = "model.safetensors", 12 * 2**20, 10 * 2**20


class Fetched(NamedTuple):
    """A run whose dependencies were fetched, and the requests to the hub meanwhile."""

    folder: Path
    arguments: list[str]
    hub: HubStandIn
    ended: CommandResult
    requests: list[str]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubStandIn]:
    """A stand-in with a repository for each thing that goes wrong."""
    with HubStandIn() as stand_in:
        for number, name in enumerate((*MODELS, VOCABULARY)):
            stand_in.put("models", f"lab/{name}", hub_repositories.model(number))
        stand_in.put("models", f"lab/{LONG}", hub_repositories.model_of_one_file(CUT_BYTES + 2**20))
        stand_in.put("models", "lab/other", hub_repositories.model(99), "v2")
        for name in DATA:
            stand_in.put("datasets", f"lab/{name}", hub_repositories.data_set())
        yield stand_in


def write_recipe(folder: Path) -> list[str]:
    """The arguments of a run whose nodes read all repositories."""
    nodes = [
        f'[{name}]\nstage = "quantize"\nscheme = "none"\nmodel = "lab/{name}{revision}"\n'
        for name in (*MODELS, LONG)
        for revision in ["@v2" if name == "other" else ""]
    ]
    nodes += [
        f'[{name}]\nstage = "prepare"\ndata = "lab/{name}"\nsubset = "easy"\nunits = 1\n'
        for name in DATA
    ]
    nodes.append(
        f'[tokens]\nstage = "tokenize"\nmodel = "lab/{VOCABULARY}"\ntrain = "@rows"\nunits = 1\n'
    )
    (folder / "recipe.toml").write_text("\n".join(nodes))
    site = folder / "site.toml"
    site.write_text(f'backend = "local"\n[environment]\nHF_HOME = "{folder}/home"\n')
    recipe, work = f"recipe={folder}/recipe.toml", f"work={folder}/work"
    return ["stage=all", recipe, work, f"launcher={site}"]


def fetch(hub: HubStandIn, *arguments: str, **env: str) -> CommandResult:
    """Run the command with the variables of the stand-in, but its cache: the launcher's counts."""
    found = hub.environment(Path("/nowhere")) | env
    return run_command(*arguments, module="fetch", cwd=None, **found)


@pytest.fixture(scope="module")
def fetched(hub: HubStandIn, tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """All that the recipe reads, over a line that is refused twice and breaks once."""
    folder = tmp_path_factory.mktemp("fetched")
    arguments = write_recipe(folder)
    hub.refused_as_too_many, hub.cut_after[CUT], hub.cuts[CUT] = 2, CUT_BYTES, 1
    before = len(hub.requests)
    ended = fetch(hub, *arguments)
    assert ended.code == 0, ended
    return Fetched(folder, arguments, hub, ended, hub.requests[before:])


@pytest.fixture
def damaged(fetched: Fetched, tmp_path: Path) -> list[str]:
    """The arguments of the same run in a folder of its own, with everything damaged."""
    arguments = write_recipe(tmp_path)
    shutil.copytree(fetched.folder / "home", tmp_path / "home", symlinks=True)
    for name, damage in DAMAGES.items():
        kind = "datasets" if name in DATA else "models"
        repository = tmp_path / "home" / "hub" / f"{kind}--lab--{name}"
        [snapshot] = (repository / "snapshots").iterdir()
        damage(snapshot)
    return arguments


def without(name: str) -> Callable[[Path], None]:
    """Damage: a file has no name in the snapshot."""
    return lambda snapshot: (snapshot / name).unlink()


def content_gone(snapshot: Path) -> None:
    """Damage: a name that leads nowhere."""
    (snapshot / "model.safetensors.index.json").resolve().unlink()


def cut(name: str) -> Callable[[Path], None]:
    """Damage: the second half of a file is missing."""

    def damage(snapshot: Path) -> None:
        path = (snapshot / name).resolve()
        os.truncate(path, path.stat().st_size // 2)

    return damage


def gone(snapshot: Path) -> None:
    """Damage: nothing was ever fetched."""
    shutil.rmtree(snapshot.parent.parent)


def of_another_revision(snapshot: Path) -> None:
    """Damage: the snapshot is that of main, not of the requested revision."""
    references = snapshot.parent.parent / "refs"
    (references / "v2").rename(references / "main")


def begun(snapshot: Path) -> None:
    """Damage: an older huggingface_hub was killed while it fetched the last file."""
    repository = snapshot.parent.parent
    shutil.rmtree(repository / "trees")
    link = snapshot / "model-00002-of-00002.safetensors"
    content = link.resolve()
    link.unlink()
    content.rename(content.with_name(f"{content.name}.incomplete"))


def changed(snapshot: Path) -> None:
    """Damage: a bit of the weights is another, on a disk that does not know it."""
    path = (snapshot / "model-00001-of-00002.safetensors").resolve()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def garbled(snapshot: Path) -> None:
    """Damage: a file of the right size with nothing in it."""
    path = (snapshot / "tokenizer.json").resolve()
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "absent": gone,
    "other": of_another_revision,
    "shard": without("model-00002-of-00002.safetensors"),
    "cut": cut("model-00001-of-00002.safetensors"),
    "config": without("config.json"),
    "words": without("tokenizer.json"),
    "blob": content_gone,
    "begun": begun,
    "changed": changed,
    "garbled": garbled,
    "rows": without("easy/train-00001-of-00002.jsonl"),
    "rowscut": cut("easy/train-00000-of-00002.jsonl"),
    "rowsabsent": gone,
}
#: What is reported of each; those that only their content shows, `changed`, are not among them.
FAULTS_REPORTED = {
    "model lab/absent": "is not in the hub cache",
    "model lab/other@v2": "its revision main is",
    "model lab/shard": "model-00002-of-00002.safetensors is missing",
    "model lab/cut": "model-00001-of-00002.safetensors is truncated",
    "model lab/config": "config.json is missing",
    "model lab/words": "tokenizer.json is missing",
    "model lab/blob": "model.safetensors.index.json is missing",
    "model lab/begun": ".incomplete is partly downloaded",
    "data set lab/rows": "easy/train-00001-of-00002.jsonl is missing",
    "data set lab/rowscut": "easy/train-00000-of-00002.jsonl is truncated",
    "data set lab/rowsabsent": "is not in the hub cache",
}


def names_all(text: str) -> None:
    """Assert that every damage is reported, in a line of its dependency."""
    for dependency, fault in FAULTS_REPORTED.items():
        lines = [line for line in text.splitlines() if f"{dependency}: " in line]
        assert any(fault in line for line in lines), (dependency, fault, text)


def test_only_what_is_read_is_fetched_and_its_size_printed_first(fetched: Fetched) -> None:
    output, requests = fetched.ended.out, "\n".join(fetched.requests)
    assert output.index("GB in all; ") < output.index("[1/15] ")
    assert "model lab/shard, commit " in output
    assert (
        f"all {len(FAULTS_REPORTED) + 4} are here, complete, and open without a network" in output
    )
    for needless in ("pytorch_model.bin", "consolidated", "onnx", "/hard/", "/test-"):
        assert f"GET /{needless}" not in requests
        assert needless not in requests.replace("/api/", "")
    lists = [line for line in fetched.requests if f"lab/{VOCABULARY}/resolve" in line]
    assert lists
    assert not any("safetensors" in line and ".json" not in line for line in lists)


def test_an_interrupted_download_resumes_where_it_stopped(fetched: Fetched) -> None:
    assert any(line.endswith(f"{CUT} bytes={BLOCK_BYTES}-") for line in fetched.hub.ranges)


def test_what_is_missing_or_cut_is_named_by_dry_run_launch_and_doctor(damaged: list[str]) -> None:
    planned, launched, examined = run_commands(
        [
            ["launch", *damaged, "dry_run=true"],
            ["launch", *damaged],
            ["doctor", *damaged],
        ]
    )
    command = f"python -m hala_hpc.fetch {' '.join(damaged)}"
    assert planned.code == 0
    assert launched.code == 66
    assert examined.code == 78
    for text in (planned.out, launched.err, examined.out):
        names_all(text)
    for text in (planned.out, launched.err):
        assert command in text
    assert "lab/changed" not in launched.err, "only its content is another"


def test_the_check_without_a_network_names_them_too_and_what_only_content_shows(
    damaged: list[str], fetched: Fetched
) -> None:
    hub = fetched.hub
    before = len(hub.requests)
    checked = fetch(hub, *damaged, "check=true")
    assert checked.code == 66, checked
    assert hub.requests[before:] == []
    names_all(checked.err)
    assert_message(
        checked.err, "lab/changed: model-00001-of-00002.safetensors has the right size but diffe"
    )
    assert_message(
        checked.err, "lab/garbled: tokenizer.json has the right size but different content"
    )
    assert_message(checked.err, "model lab/garbled: cannot be opened")
    assert_message(checked.out, "opening them in a process with")


def test_a_fetch_mends_all_and_brings_only_what_is_lost(
    damaged: list[str], fetched: Fetched
) -> None:
    hub = fetched.hub
    before = len(hub.requests)
    mended = fetch(hub, *damaged)
    assert mended.code == 0, mended
    asked = [line for line in hub.requests[before:] if line.startswith("GET /store/")]
    whole = [line for line in asked if line.endswith(".safetensors")]
    # Both of `absent`, and one each of `cut`, `begun` and `changed`. The content of the others was
    # still in the cache: only its names were lost, and it was read to be sure.
    assert len(whole) == 5, asked


def test_what_is_complete_is_not_queried_twice(fetched: Fetched) -> None:
    before = len(fetched.hub.requests)
    ended = fetch(fetched.hub, *fetched.arguments, "dry_run=true")
    assert ended.code == 0
    assert "no model or data set has to be fetched" in ended.out
    assert fetched.hub.requests[before:] == []


def test_terms_that_are_not_accepted_are_reported_with_the_page_and_never_the_token(
    hub: HubStandIn, tmp_path: Path
) -> None:
    hub.put("models", "lab/gated", hub_repositories.model(50))
    hub.gate("models", "lab/gated")
    arguments = ["model.model=lab/gated", *one_model(tmp_path), "dry_run=true"]
    for token in ({}, {"HF_TOKEN": "hf_of_somebody_else"}):
        refused = fetch(hub, *arguments, **token)
        assert refused.code == 66, refused
        assert f"{hub.endpoint}/lab/gated" in refused.err
        assert "hf auth login" in refused.err
        assert "hf_of_somebody_else" not in refused.out + refused.err
    welcome = fetch(hub, *arguments, HF_TOKEN=GOOD_TOKEN)
    assert welcome.code == 0, welcome
    assert GOOD_TOKEN not in welcome.out + welcome.err


def one_model(folder: Path, home: str = "home") -> list[str]:
    """The arguments of a recipe with one node, `model`."""
    (folder / "one.toml").write_text('[model]\nstage = "quantize"\nmodel = "lab/nothing"\n')
    site = folder / "site.toml"
    site.write_text(f'backend = "local"\n[environment]\nHF_HOME = "{folder}/{home}"\n')
    recipe, work = f"recipe={folder}/one.toml", f"work={folder}/work"
    return ["stage=all", recipe, work, f"launcher={site}"]


def test_what_the_hub_does_not_have_is_reported(hub: HubStandIn, tmp_path: Path) -> None:
    arguments = one_model(tmp_path)
    unknown = fetch(hub, *arguments)
    assert unknown.code == 66
    assert_message(unknown.err, "model lab/nothing is not on the hub, or not visible to you")
    other = fetch(hub, *arguments, "model.model=lab/shard@v9")
    assert other.code == 66
    assert_message(other.err, "has no revision 'v9'")


def test_a_hub_that_is_out_of_order_is_69_and_nothing_is_lost(
    hub: HubStandIn, tmp_path: Path
) -> None:
    hub.is_down = True
    try:
        ended = fetch(hub, *one_model(tmp_path), "model.model=lab/shard")
    finally:
        hub.is_down = False
    assert ended.code == 69, ended
    assert_message(ended.err, "fetched files are kept; run the same command again to resume")


def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    hub: HubStandIn, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", 4):
        before = len(hub.requests)
        ended = fetch(hub, *one_model(tmp_path, "small"), "model.model=lab/shard")
    assert ended.code == 73, ended
    assert_message(ended.err, "GB are to be fetched", "HF_HOME")
    assert not any(line.startswith("GET /store/") for line in hub.requests[before:])
