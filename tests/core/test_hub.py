"""The hub as a login node knows it: its cache, what is fetched, whether it is offline."""

import json
import os
from pathlib import Path

import pytest
from command_line import launch, recipe

from hala_hpc.core.hub import is_hub_id, is_hub_offline, model_folder
from hala_hpc.data.readers.sources import is_offline
from hala_hpc.engines.training.tokens.packing_check import packing_faults

#: Values of HF_HUB_OFFLINE, and whether huggingface_hub reads them as off.
VALUES = {
    "1": True,
    "true": True,
    "YES": True,
    "on": True,
    "0": False,
    "false": False,
    "False": False,
    "no": False,
    "off": False,
}


@pytest.mark.parametrize(
    "name", ["owner/model", "LiquidAI/LFM2-1.2B", "lab/greetings.v2", "lab/x@v1", "lab/x@refs/pr/1"]
)
def test_an_owner_and_a_name_are_a_hub_id(name: str, tmp_path: Path) -> None:
    assert is_hub_id(name)
    text = f'[rows]\nstage = "prepare"\ndata = "{name}"\n'
    ended = launch("stage=all", recipe(tmp_path, text), f"work={tmp_path}/w", "dry_run=true")
    assert ended.code == 0, ended
    assert f"data set {name}: is not in the hub cache" in ended.out


@pytest.mark.parametrize(
    "name", ["gpt2", "data/rows.csv.gz", "a/b/c", "~/model", "data/x.ndjson", "a/b@../c"]
)
def test_anything_else_is_a_path(name: str, tmp_path: Path) -> None:
    assert not is_hub_id(name)
    for stage, setting in (("prepare", "data"), ("quantize", "model")):
        text = f'[node]\nstage = "{stage}"\n{setting} = "{name}"\n'
        ended = launch("stage=all", recipe(tmp_path, text), f"work={tmp_path}/w", "dry_run=true")
        assert ended.code == 66, ended
        assert "there is no such f" in ended.err


def fetch(cache: Path, name: str, commit: str, **config: object) -> Path:
    """A snapshot of a model in a hub cache."""
    folder = cache / f"models--{name.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache of this process."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_of_several_snapshots_the_one_that_main_names_counts(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = fetch(cache, "owner/model", "0aaa", layer_types=["full_attention"])
    # A later commit by name and by time, fetched as another revision.
    other = fetch(cache, "owner/model", "9fff", model_type="lfm2")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    reference = cache / "models--owner--model" / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0aaa")
    assert model_folder("owner/model") == wanted
    assert packing_faults(str(wanted), "owner/model") == []
    reference.unlink()
    os.utime(wanted, (1, 1))
    assert model_folder("owner/model") == other, "the newest where main names none"
    assert len(packing_faults(str(other), "owner/model")) == 1


def test_a_revision_is_the_commit_that_was_fetched_for_it(cache: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    tagged = fetch(cache, "owner/model", commit)
    for name in ("v1", "refs/pr/1"):
        reference = cache / "models--owner--model" / "refs" / name
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    for revision in ("v1", "refs/pr/1", commit):
        assert model_folder(f"owner/model@{revision}") == tagged
    assert model_folder("owner/model@v2") is None
    assert model_folder("owner/model") is None, "main was not fetched, another revision was"


def test_a_model_that_is_not_fetched_has_no_folder(cache: Path, tmp_path: Path) -> None:
    assert model_folder("owner/model") is None
    assert model_folder("@node") is None
    assert model_folder(str(tmp_path)) == tmp_path
    assert not cache.exists()


@pytest.mark.parametrize(("value", "is_off"), VALUES.items())
def test_one_reading_of_whether_the_hub_is_off(
    value: str, is_off: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_hub_offline({"HF_HUB_OFFLINE": value}, default=not is_off) is is_off
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert is_offline() is is_off
    if value in ("1", "no", "off", "False"):
        # What is offline has to be fetched first; what is not may fetch it itself.
        text = '[compressed]\nstage = "quantize"\nmodel = "owner/model"\n'
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setenv("PATH", "/nowhere")
        site = tmp_path / "site.toml"
        site.write_text('backend = "slurm"\n')
        arguments = [
            "stage=all",
            recipe(tmp_path, text),
            f"work={tmp_path}/work",
            f"launcher={site}",
        ]
        ended = launch(*arguments)
        assert (ended.code, "is not in the hub cache" in ended.err) == (
            66 if is_off else 69,
            is_off,
        )


def test_a_job_is_offline_and_a_shell_is_not_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert is_hub_offline({}, default=True)
    assert not is_offline()
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    assert is_offline()
