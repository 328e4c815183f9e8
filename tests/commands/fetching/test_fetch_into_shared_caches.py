"""fetch: hub caches that others fill, files on Xet storage, repositories of another user."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import hub_repositories
import pytest
from command_line import CommandResult, command_without_root_rights, run_command
from hub_stand_in import HubStandIn
from message_checks import assert_message

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

RECIPE = """
[linked]
stage = "quantize"
scheme = "none"
model = "lab/{model}"
[rows]
stage = "prepare"
data = "lab/rows"
subset = "easy"
units = 1
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubStandIn]:
    """A stand-in with a data set and models, one of them on Xet storage, one of another user."""
    with HubStandIn() as stand_in:
        stand_in.put("datasets", "lab/rows", hub_repositories.data_set())
        for number, name in enumerate(("shared", "later", "closed")):
            stand_in.put("models", f"lab/{name}", hub_repositories.model(number))
        stand_in.put("models", "lab/xet", hub_repositories.model_of_one_file(3 * 2**20))
        stand_in.repositories["models", "lab/xet"].is_on_xet = True
        stand_in.repositories["models", "lab/closed"].is_closed = True
        yield stand_in


def arguments_for(folder: Path, model: str) -> list[str]:
    """The arguments of a run that reads a model and a data set, from a hub cache in its folder."""
    (folder / "recipe.toml").write_text(RECIPE.format(model=model))
    (folder / "site.toml").write_text(
        f'backend = "local"\n[environment]\nHF_HOME = "{folder}/home"\n'
    )
    named = [f"recipe={folder}/recipe.toml", f"launcher={folder}/site.toml"]
    return ["stage=all", *named, f"work={folder}/work"]


def fetch(hub: HubStandIn, *arguments: str, has_rights: bool = True, **env: str) -> CommandResult:
    """Run the command, as a user to whom file modes apply or not."""
    found = hub.environment(Path("/nowhere")) | env
    if has_rights:
        return run_command(*arguments, module="fetch", cwd=None, **found)
    return command_without_root_rights(*arguments, module="fetch", **found)


def close(folder: Path) -> None:
    """Make a folder and all below it read-only."""
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    folder.chmod(0o555)


def test_jobs_read_from_a_hub_cache_that_is_not_writable_and_a_fetch_names_a_fix(
    hub: HubStandIn, tmp_path: Path
) -> None:
    arguments = arguments_for(tmp_path, "shared")
    assert fetch(hub, *arguments).code == 0
    close(tmp_path / "home")

    whole = fetch(hub, *arguments, has_rights=False)
    assert whole.code == 0, whole
    assert_message(whole.out, "are here, complete, and open without a network")
    ran = command_without_root_rights(*arguments, HF_HUB_OFFLINE="1")
    assert ran.code == 0, ran
    assert (tmp_path / "work/latest/linked/output/config.json").is_file()

    before = len(hub.requests)
    refused = fetch(hub, *arguments_for(tmp_path, "later"), has_rights=False)
    assert refused.code == 73, refused
    assert_message(
        refused.err,
        f"hub cache: {tmp_path}/home/hub is not writable",
        "model lab/later is to be fetched into it",
        "HF_HOME",
    )
    assert not any(line.startswith("GET /store/") for line in hub.requests[before:])

    shard = next((tmp_path / "home/hub").rglob("model-00001-of-00002.safetensors")).resolve()
    content = shard.read_bytes()
    shard.chmod(0o644)
    shard.write_bytes(content[:-1] + b"\7")
    *arguments, _ = arguments_for(tmp_path, "shared")
    damaged = fetch(hub, *arguments, f"work={tmp_path}/other", has_rights=False)
    assert damaged.code == 73, damaged
    assert_message(damaged.err, "is not writable", "model lab/shared, damaged,")


def test_a_repository_that_a_colleague_fetched_is_closed_to_others(
    hub: HubStandIn, tmp_path: Path
) -> None:
    home = tmp_path / "home" / "hub"
    repository = home / "models--lab--later"
    for name in ("blobs", "refs", "snapshots"):
        (repository / name).mkdir(parents=True)
        (repository / name).chmod(0o555)
    refused = fetch(hub, *arguments_for(tmp_path, "later"), "dry_run=true", has_rights=False)
    assert refused.code == 73, refused
    assert_message(
        refused.err, f"{repository}/blobs is not writable", f"{repository}/refs is not writable"
    )


def test_large_files_come_from_xet_storage_and_where_it_is_refused_the_fix_is_printed(
    hub: HubStandIn, tmp_path: Path
) -> None:
    arguments = arguments_for(tmp_path, "xet")
    hub.is_xet_down = True
    try:
        refused = fetch(hub, *arguments)
        assert refused.code == 69, refused
        assert_message(refused.err, "model lab/xet cannot be fetched from", "HF_HUB_DISABLE_XET=1")
    finally:
        hub.is_xet_down = False
    before = len(hub.requests)
    fetched = fetch(hub, *arguments)
    assert fetched.code == 0, fetched
    asked = hub.requests[before:]
    assert any(line.startswith("GET /xet/chunks/") for line in asked)
    assert not any(line.startswith("GET /store/") and ".safetensors" in line for line in asked)

    weights = next((tmp_path / "home/hub").rglob("model.safetensors")).resolve()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\7")
    mended = fetch(hub, *arguments, HF_HUB_DISABLE_XET="1")
    assert mended.code == 0, mended
    assert_message(mended.out, "model.safetensors has the right size but different content")


def test_a_token_that_may_not_read_a_repository_is_reported(
    hub: HubStandIn, tmp_path: Path
) -> None:
    arguments = arguments_for(tmp_path, "closed")
    refused = fetch(hub, *arguments, "dry_run=true", HF_TOKEN="hf_of_somebody_else")
    assert refused.code == 66, refused
    assert_message(
        refused.err,
        "model lab/closed cannot be read with this token",
        f"{hub.endpoint}/lab/closed",
        "hf auth login",
    )
    assert "accept its terms" not in refused.err
    assert "hf_of_somebody_else" not in refused.out + refused.err
