"""Memory of nodes: estimated from their models before a launch, and refused if too little."""

import json
from pathlib import Path

import pytest
from builds import pythons
from checkout import ROOT
from command_line import CommandResult, launch, recipe, run_command
from sparse_models import TEACHER_BYTES, TEACHER_CONFIG, fetched_model, sparse_model

TEACHER = "CohereLabs/command-a-translate-08-2025"
SITE = 'backend = "slurm"\n[resources.options]\ngpu_type = "{gpu}"\n'
TRANSLATE = """
[rows]
stage = "prepare"
data = "{data}"
units = 1
[words]
stage = "translate"
model = "{model}"
corpus = "@rows"
units = 1
[words.resources]
gpus_per_node = 1
"""
TRAIN = """
[rows]
stage = "prepare"
data = "{data}"
units = 1
[tokens]
stage = "tokenize"
model = "{model}"
train = "@rows"
objective = "chat"
units = 1
[tuned]
stage = "sft"
model = "{model}"
tokens = "@tokens"
zero_stage = 1
[tuned.resources]
gpus_per_node = 2
ranks_per_node = 2
"""


@pytest.fixture
def teacher_hub(tmp_path: Path) -> Path:
    """HF_HOME of a hub cache that holds a teacher of 222 GB, by names and sizes alone."""
    fetched_model(tmp_path / "hf", TEACHER, TEACHER_BYTES, TEACHER_CONFIG)
    return tmp_path / "hf"


def site(folder: Path, gpu: str = "h100") -> str:
    """`launcher=` of a SLURM site with GPUs of a type."""
    path = folder / "site.toml"
    path.write_text(SITE.format(gpu=gpu) + pythons(folder / "environments" / gpu, "cuda"))
    return f"launcher={path}"


def teacher_arguments(folder: Path, *overrides: str) -> list[str]:
    return ["stage=teacher", "recipe=hala", site(folder), f"work={folder}/work", *overrides]


def rows_file(folder: Path) -> Path:
    """A file of one row."""
    path = folder / "rows.jsonl"
    path.write_text('{"instruction": "Add", "input": "", "output": "done"}\n')
    return path


def training_arguments(folder: Path, *overrides: str) -> list[str]:
    """A line that trains a model of 9 billion weights on two GPUs."""
    model = sparse_model(folder / "model", 18 * 10**9, {**TEACHER_CONFIG, "hidden_size": 4096})
    text = TRAIN.format(data=rows_file(folder), model=model)
    return ["stage=tuned", recipe(folder, text), f"work={folder}/work", *overrides]


def cell(ended: CommandResult, node: str, column: str) -> str:
    """What the table of a dry run has for a node, in a column before the last."""
    lines = ended.out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("node "))
    begin = lines[head].index(column)
    width = len(lines[head + 1][begin:].split(" ")[0])
    row = next(line for line in lines[head + 2 :] if line.startswith(f"{node} "))
    return row[begin : begin + width].strip()


def test_the_shipped_teacher_fits_what_the_recipe_requests(
    tmp_path: Path, teacher_hub: Path
) -> None:
    for launcher in ("slurm", "h100-site"):
        arguments = [
            argument
            for argument in teacher_arguments(tmp_path, "dry_run=true")
            if "site.toml" not in argument
        ]
        ended = launch(*arguments, f"launcher={launcher}", HF_HOME=str(teacher_hub))
        assert ended.code == 0
        assert " 64 GB, " in ended.out
        # Twice a table of 256,000 tokens and 12,288 channels, and half a GB of libraries.
        assert cell(ended, "teacher", "needs at least") == "12.2 GB"
        assert "would be refused" not in ended.out


def test_a_quantize_node_with_too_little_memory_is_reported_and_then_refused(
    tmp_path: Path, teacher_hub: Path
) -> None:
    arguments = teacher_arguments(tmp_path, "teacher.resources.mem_gb=8")
    fault = (
        "teacher: takes at least 12.2 GB of memory (a part of the weights and its result), and a "
        "job gets 8.0 GB; set resources.mem_gb=14"
    )
    shown = launch(*arguments, "dry_run=true", HF_HOME=str(teacher_hub))
    assert (shown.code, fault in shown.out) == (0, True), shown
    refused = launch(*arguments, HF_HOME=str(teacher_hub), PATH="")
    assert (refused.code, fault in refused.err) == (78, True), refused
    assert not (tmp_path / "work").exists()
    mended = launch(
        *arguments[:-1], "teacher.resources.mem_gb=14", HF_HOME=str(teacher_hub), PATH=""
    )
    # It gets as far as asking for SLURM, which is another matter.
    assert (mended.code, "memory" in mended.err) == (69, False), mended


def test_weights_that_only_load_as_a_whole_need_the_whole_memory(tmp_path: Path) -> None:
    snapshot = fetched_model(tmp_path / "hf", TEACHER, TEACHER_BYTES, TEACHER_CONFIG)
    for path in snapshot.glob("*.safetensors*"):
        path.unlink()
    with (snapshot / "pytorch_model.bin").open("wb") as file:
        file.truncate(TEACHER_BYTES)
    ended = launch(*teacher_arguments(tmp_path), HF_HOME=str(tmp_path / "hf"), PATH="")
    assert ended.code == 78
    assert "the whole model of 206.8 GB: its weights are not safetensors" in ended.err
    # 222 GB, half a GB of libraries, and a tenth more.
    assert "set resources.mem_gb=228" in ended.err


def test_the_doctor_finds_what_a_launch_would_refuse(tmp_path: Path, teacher_hub: Path) -> None:
    arguments = ["launcher=slurm", f"work={tmp_path}/work", "format=json", "stage=teacher"]
    recipe_file = tmp_path / "small.toml"
    text = (ROOT / "hala_hpc/recipes/hala.toml").read_text()
    for mem_gb, state in ((8, "error"), (64, "good")):
        recipe_file.write_text(text.replace("mem_gb = 64\n\n[orca", f"mem_gb = {mem_gb}\n\n[orca"))
        ended = run_command(
            *arguments, f"recipe={recipe_file}", module="doctor", HF_HOME=str(teacher_hub), PATH=""
        )
        found = [one for one in json.loads(ended.out)["findings"] if one["topic"] == "memory"]
        assert [one["state"] for one in found] == [state], ended.out
        assert ("resources.mem_gb=14" in found[0]["what"]) == (state == "error")


def test_a_model_that_is_too_large_for_its_gpus_is_refused_with_the_number_of_gpus(
    tmp_path: Path,
) -> None:
    model = sparse_model(tmp_path / "model", TEACHER_BYTES // 2, TEACHER_CONFIG)
    text = TRANSLATE.format(model=model, data=rows_file(tmp_path))
    arguments = ["stage=words", recipe(tmp_path, text), f"work={tmp_path}/work", "dry_run=true"]
    ended = launch(*arguments, site(tmp_path))
    assert "words: does not fit: 103.4 GB of weights and 1.0 GB of cache" in ended.out, ended
    assert "set engine.tensor_parallel_size=2 and resources.gpus_per_node=2" in ended.out
    more = ("words.engine.tensor_parallel_size=2", "words.resources.gpus_per_node=2")
    fits = launch(*arguments, *more, site(tmp_path))
    assert cell(fits, "words", "needs at least") == "52.2 GB a GPU"
    assert "would be refused" not in fits.out
    # Nothing is reported about an unknown type.
    unknown = launch(*arguments, site(tmp_path, gpu="fast"))
    assert (unknown.code, "would be refused" in unknown.out) == (0, False)
    assert cell(unknown, "words", "needs at least") == "104.4 GB a GPU"


def test_a_training_whose_states_do_not_fit_is_refused_with_the_stage_of_zero(
    tmp_path: Path,
) -> None:
    arguments = training_arguments(tmp_path, "dry_run=true", site(tmp_path, gpu="a100-40gb"))
    ended = launch(*arguments)
    # 2 + 2 bytes for each of 9 billion weights, and half of 12.
    assert cell(ended, "tuned", "needs at least") == "83.8 GB a GPU"
    assert "tuned: its states take at least 83.8 GB of each GPU" in ended.out
    assert "has 40.0 GB; set zero_stage=3 and resources.nodes=2" in ended.out
    whole = launch(*arguments, "tuned.zero_stage=3", "tuned.resources.nodes=2")
    assert (cell(whole, "tuned", "needs at least"), whole.code) == ("33.5 GB a GPU", 0)
    assert "would be refused" not in whole.out


def test_what_is_offloaded_counts_for_the_host(tmp_path: Path) -> None:
    overrides = ("tuned.zero_stage=3", "tuned.offload=all", "tuned.resources.mem_gb=64")
    ended = launch(*training_arguments(tmp_path, *overrides, "dry_run=true", site(tmp_path)))
    # 14 bytes for each of 9 billion weights: weights and the states, over both ranks.
    assert "tuned: its states take at least 117.3 GB of memory on each machine" in ended.out, ended
    assert "set resources.mem_gb=130" in ended.out


def test_a_model_of_unknown_size_is_never_refused(tmp_path: Path) -> None:
    arguments = ["stage=teacher", "recipe=hala", "teacher.model=owner/nameless", site(tmp_path)]
    ended = launch(
        *arguments, f"work={tmp_path}/work", "teacher.resources.mem_gb=1", "dry_run=true"
    )
    assert (ended.code, cell(ended, "teacher", "needs at least")) == (0, "-")
    assert "would be refused" not in ended.out


def test_an_incomplete_model_is_measured_by_its_index(tmp_path: Path, teacher_hub: Path) -> None:
    snapshot = teacher_hub / "hub" / f"models--{TEACHER.replace('/', '--')}" / "snapshots/0123abc"
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    arguments = ["recipe=hala", "stage=teacher-pairs", site(tmp_path), f"work={tmp_path}/work"]
    ended = launch(*arguments, "dry_run=true", HF_HOME=str(teacher_hub))
    # Half of 222 GB over two GPUs, and a third of a GB for a row in FP8.
    assert cell(ended, "teacher-pairs", "needs at least") == "52.0 GB a GPU"
