"""What a launch finds wrong with a model of the hub: looked up where its jobs will read it."""

import json
from pathlib import Path

import hub_repositories
import pytest
from in_one_process import run_commands

COMMIT = "0123abc"
#: A node for each stage that reads a model before it runs, named after the mistake.
RECIPE = """
[merged]
stage = "merge"
base = "lab/pickled"
model = "lab/whole"
[linked]
stage = "quantize"
scheme = "none"
model = "lab/pickled"
[tokens]
stage = "tokenize"
model = "lab/leaking"
train = "{folder}/rows"
packing = true
units = 1
[tuned]
stage = "sft"
model = "lab/whole"
tokens = "@tokens"
lora_rank = 4
lora_targets = ["embed_tokens"]
[learnt]
stage = "sft"
model = "lab/pickled"
tokens = "@tokens"
"""
MISTAKES = (
    "merged: base=lab/pickled: its weights are in pytorch_model.bin",
    "linked: model=lab/pickled: its weights are in pytorch_model.bin",
    "tokens: packing=true: lab/leaking has layers of kind conv",
    "tuned: lora_targets=['embed_tokens']: model.embed_tokens is an embedding",
    "learnt: model=lab/pickled: its weights are in pytorch_model.bin",
)


def put(home: Path, name: str, files: dict[str, bytes]) -> None:
    """A model in the hub cache under an HF_HOME."""
    repository = home / "hub" / f"models--lab--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for path, content in files.items():
        if "/" not in path:
            (snapshot / path).write_bytes(content)


def put_all(home: Path, is_good: bool) -> None:
    """The models of the recipe: all of them good, or each with what its stage refuses."""
    whole = hub_repositories.model()
    del whole["pytorch_model.bin"]
    put(home, "whole", whole)
    if is_good:
        put(home, "pickled", whole)
        put(home, "leaking", whole)
        return
    weights = [name for name in whole if name.startswith("model")]
    pickled = {name: content for name, content in whole.items() if name not in weights}
    put(home, "pickled", pickled | {"pytorch_model.bin": b"pickled"})
    config = json.loads(whole["config.json"]) | {"model_type": "lfm2", "layer_types": ["conv"]}
    put(home, "leaking", whole | {"config.json": json.dumps(config).encode()})


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line whose launcher names another hub cache than the shell has."""
    from pyarrow import parquet, table

    (tmp_path / "rows").mkdir()
    rows = {"id": ["a"], "source": ["One"], "target": ["1"]}
    parquet.write_table(table(rows), tmp_path / "rows" / "part-00000.parquet")
    (tmp_path / "recipe.toml").write_text(RECIPE.format(folder=tmp_path))
    (tmp_path / "site.toml").write_text(
        f'backend = "local"\n[environment]\nHF_HOME = "{tmp_path}/scratch"\n'
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "shell"))
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    named = [f"recipe={tmp_path}/recipe.toml", f"launcher={tmp_path}/site.toml"]
    return ["stage=all", *named, f"work={tmp_path}/work"]


def test_models_are_checked_in_the_hub_cache_of_the_launcher(
    arguments: list[str], tmp_path: Path
) -> None:
    put_all(tmp_path / "scratch", is_good=False)
    put_all(tmp_path / "shell", is_good=True)
    planned, launched, examined = run_commands(
        [["launch", *arguments, "dry_run=true"], ["launch", *arguments], ["doctor", *arguments]]
    )
    assert planned.code == launched.code == 66, planned
    for text in (planned.err, launched.err, examined.out):
        for fault in MISTAKES:
            assert fault in text, (fault, text)


def test_the_hub_cache_of_the_shell_does_not_matter(arguments: list[str], tmp_path: Path) -> None:
    put_all(tmp_path / "scratch", is_good=True)
    put_all(tmp_path / "shell", is_good=False)
    [planned] = run_commands([["launch", *arguments, "dry_run=true"]])
    assert planned.code == 78, planned
    assert "tuned: lora_targets" in planned.err
    assert "pickled" not in planned.err
    assert "leak" not in planned.err
