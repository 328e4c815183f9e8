"""Tiny models learn French and Swahili from a pattern file, with the prompts of `hala new`."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, run_command
from pattern_pairs import read_pairs, write_pairs

from hala_hpc.core.files import read_json

HELD_OUT = 100
RECIPE = """
[tiny]
family = "lfm2"
text = ["{folder}/pairs.jsonl", "{folder}/test-pairs.jsonl"]
vocab_size = 1200

[pairs]
stage = "prepare"
data = "{folder}/pairs.jsonl"
rows = "opus"
languages = ["en", "{code}"]
units = 1

[test-pairs]
like = "pairs"
data = "{folder}/test-pairs.jsonl"

[translator-tokens]
stage = "tokenize"
model = "@tiny"
train = "@pairs"
objective = "translate"
prompt = {prompt}
max_length = 256
units = 1

[translator]
stage = "sft"
model = "@tiny"
tokens = "@translator-tokens"
max_steps = 300
learning_rate = 4e-3
warmup_ratio = 0.08
global_batch_size = 64
group_by_length = false
zero_stage = 0
resources = {{ cpus_per_rank = 2, mem_gb = 4 }}

[translator-scores]
stage = "evaluate"
translation = "@test-pairs"
prompt = {prompt}
models = {{ base = "@tiny", translator = "@translator" }}
engine = {{ max_model_len = 512, max_new_tokens = 64 }}
resources = {{ cpus_per_rank = 2, mem_gb = 6 }}

[english]
stage = "prepare"
data = "{folder}/english.jsonl"
units = 1

[translated]
stage = "translate"
model = "@translator"
corpus = "@english"
source = "en"
target = "{code}"
prompt = {prompt}
units = 1
segment = "line"
max_rejected_fraction = 0.5
engine = {{ max_model_len = 512, max_new_tokens = 64 }}
resources = {{ cpus_per_rank = 2, mem_gb = 6 }}
"""


def write_recipe(folder: Path, code: str) -> Path:
    """A recipe for tiny models, with the prompt of the recipe that `hala new` writes."""
    done = run_command(f"language={code}", "to=new.toml", module="new", cwd=folder)
    assert done.code == 0, done
    written: Any = tomllib.loads((folder / "new.toml").read_text(encoding="utf-8"))
    prompt = written["translated"]["prompt"].replace("\n", "\\n")
    path = folder / "second.toml"
    text = RECIPE.format(folder=folder, code=code, prompt=f'"{prompt}"')
    path.write_text(text, encoding="utf-8")
    write_pairs(folder, code, HELD_OUT)
    return path


@pytest.mark.parametrize("code", ["fr", "sw"])
def test_a_pattern_file_has_enough_pairs_of_a_language_for_a_recipe(
    code: str, tmp_path: Path
) -> None:
    pairs = read_pairs(code)
    assert len(set(pairs)) > 700
    assert not [pair for pair in pairs if "{" in "".join(pair)]
    recipe = write_recipe(tmp_path, code)
    planned = launch(
        f"recipe={recipe}", "stage=all", "launcher=local", f"work={tmp_path}/run", "dry_run=true"
    )
    assert planned.code == 0, planned


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("code", ["fr", "sw"])
def test_tiny_models_learn_a_second_language(code: str, tmp_path: Path) -> None:
    recipe, work = write_recipe(tmp_path, code), tmp_path / "run"
    ended = launch(f"recipe={recipe}", "stage=all", "launcher=local", f"work={work}")
    assert ended.code == 0, ended
    found = read_json(work / "latest" / "translator-scores" / "summary.json")["details"]["scores"]
    assert found["translator"]["bleu"] >= found["base"]["bleu"] + 20
    counts = read_json(work / "latest" / "translated" / "summary.json")
    assert counts["rows_in"] == counts["rows_out"] + counts["rows_rejected"] == HELD_OUT
    assert counts["rows_out"] >= HELD_OUT / 2
