"""Thin models of the paper's architectures through every stage, as one run of a recipe."""

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, recipe, run_command
from quantize_python import run_heavy
from thin_models import make_thin_model

from hala_hpc.demo.benchmark import TASKS, draw_questions, questions_name, write_tasks
from hala_hpc.demo.pairs import distinct_pairs
from hala_hpc.demo.rows import instruction_rows, opus_row, take_pairs
from hala_hpc.demo.sample_files import write_rows
from hala_hpc.engines.models.tensors import iter_tensors, tensor_headers

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3000)]

TALKS, PAIRS = 24, 30
TASK = TASKS["arabic"]
METRICS = ("bleu", "bleu_intl", "chrf++", "ter", "rouge_l", "rouge_l_ascii", "structure")
#: The teacher in FP8 translates, the judge filters, both bases are trained, merged and scored.
#: Untrained models cannot translate: every row may be rejected.
RECIPE = """
[english]
stage = "prepare"
data = "{folder}/talks.jsonl"
units = 1
[parallel]
stage = "prepare"
data = "{folder}/pairs.jsonl"
rows = "opus"
units = 1
[teacher]
stage = "quantize"
model = "{folder}/cohere2"
resources = {{ cpus_per_rank = 2, mem_gb = 8 }}

[teacher-pairs]
stage = "translate"
model = "@teacher"
corpus = "@english"
prompt = "Translate from English to Arabic: {{text}}"
units = 2
retries = 0
max_rejected_fraction = 1
engine = {{ cpu_cache_gb = 0.1, max_model_len = 1024, max_new_tokens = 12 }}
resources = {{ cpus_per_rank = 2, mem_gb = 8 }}
[arabic]
like = "teacher-pairs"
model = "{folder}/lfm2"
[judged]
stage = "filter"
model = "{folder}/qwen2"
corpus = "@parallel"
units = 2
engine = {{ cpu_cache_gb = 0.1, max_model_len = 1024 }}
resources = {{ cpus_per_rank = 2, mem_gb = 8 }}

[tokens-lfm2]
stage = "tokenize"
model = "{folder}/lfm2"
train = "@english"
objective = "chat"
max_length = 256
units = 1
resources = {{ cpus_per_rank = 1, mem_gb = 4 }}
[tokens-gemma2]
like = "tokens-lfm2"
model = "{folder}/gemma2"
packing = true
[sft-lfm2]
stage = "sft"
model = "{folder}/lfm2"
tokens = "@tokens-lfm2"
zero_stage = 1
max_steps = 2
global_batch_size = 4
learning_rate = 1e-2
warmup_ratio = 0
resources = {{ cpus_per_rank = 2, mem_gb = 8 }}
[sft-gemma2]
like = "sft-lfm2"
model = "{folder}/gemma2"
tokens = "@tokens-gemma2"
zero_stage = 3
gradient_checkpointing = true
[merge-lfm2]
stage = "merge"
base = "{folder}/lfm2"
model = "@sft-lfm2"
resources = {{ cpus_per_rank = 2, mem_gb = 8 }}
[merge-gemma2]
like = "merge-lfm2"
base = "{folder}/gemma2"
model = "@sft-gemma2"

[scores]
stage = "evaluate"
models = {{ lfm2 = "@merge-lfm2", gemma2 = "@merge-gemma2" }}
translation = "@parallel"
tasks = ["{task}"]
include_path = "{folder}/benchmark"
limit = 4
chat_template = true
engine = {{ cpu_cache_gb = 0.1, max_model_len = 1024, max_new_tokens = 12 }}
resources = {{ cpus_per_rank = 2, mem_gb = 8 }}
"""
#: Goals of the launches, one after the other.
GOALS = ("teacher-pairs", "arabic", "judged", "merge-lfm2", "merge-gemma2", "scores")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models in their published data types, the data, and the finished run in `work`."""
    folder = tmp_path_factory.mktemp("chain")
    for family in ("cohere2", "qwen2", "lfm2", "gemma2"):
        make_thin_model(family, folder / family)
    # Gemma's template rejects rows with a system turn.
    draw = random.Random(0)
    write_rows(folder / "talks.jsonl", instruction_rows(TALKS, draw, set()))
    pairs = take_pairs(distinct_pairs(draw), PAIRS)
    write_rows(folder / "pairs.jsonl", [opus_row(pair) for pair in pairs])
    questions = [one.row("arabic") for one in draw_questions(40, draw)]
    write_rows(folder / "benchmark" / questions_name(TASK), questions)
    write_tasks(folder / "benchmark", folder / "benchmark")
    text = RECIPE.format(folder=folder, task=TASK)
    arguments = (recipe(folder, text), f"work={folder / 'work'}", "launcher=local")
    for goal in GOALS:
        done = launch(f"stage={goal}", *arguments)
        assert done.code == 0, (goal, done.err[-3000:])
    return folder


def summary(folder: Path, node: str) -> dict[str, Any]:
    path = folder / "work" / "latest" / node / "summary.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def model_of(folder: Path, node: str) -> Path:
    return folder / "work" / "latest" / node / "output"


def keys_of(model: Path) -> dict[str, Any]:
    """config.json without the data type of the weights."""
    found: dict[str, Any] = json.loads((model / "config.json").read_text())
    return {key: value for key, value in found.items() if key not in ("dtype", "torch_dtype")}


def test_every_row_is_counted_and_every_file_is_whole(folder: Path) -> None:
    rows = {"english": TALKS, "teacher-pairs": TALKS, "arabic": TALKS, "judged": PAIRS}
    for node, number in rows.items():
        found = summary(folder, node)
        assert found["rows_in"] == number, node
        assert found["rows_out"] + found["rows_rejected"] == number, node
    assert summary(folder, "tokens-lfm2")["rejected"] == {}
    assert set(summary(folder, "tokens-gemma2")["rejected"]) == {"refused_by_template"}
    scores = json.loads((model_of(folder, "scores") / "scores.json").read_text())
    assert list(scores["scores"]) == ["lfm2", "gemma2"]
    for label in ("lfm2", "gemma2"):
        assert scores["samples"][label] == {TASK: 4, **dict.fromkeys(METRICS, PAIRS)}
    result = run_command(f"work={folder / 'work'}", module="verify")
    assert result.code == 0, result


def test_the_teacher_has_all_matrices_in_fp8_and_its_keys(folder: Path) -> None:
    before, after = folder / "cohere2", model_of(folder, "teacher")
    small = {name for name, header in tensor_headers(after).items() if header.dtype == "F8_E4M3"}
    # Four attention and three feed-forward weights in each of four layers.
    assert len(small) == 28
    scales = {name.removesuffix("weight") + "weight_scale" for name in small}
    assert tensor_headers(after).keys() == tensor_headers(before).keys() | scales
    assert keys_of(after).items() >= keys_of(before).items()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (after / name).read_bytes() == (before / name).read_bytes()


@pytest.mark.parametrize("family", ["lfm2", "gemma2"])
def test_a_merged_model_is_half_way_on_the_arc_between_both(family: str, folder: Path) -> None:
    base, tuned = folder / family, model_of(folder, f"sft-{family}")
    merged = model_of(folder, f"merge-{family}")
    assert tensor_headers(merged) == tensor_headers(tuned) == tensor_headers(base)
    assert keys_of(merged).items() >= keys_of(base).items()
    one, other = dict(iter_tensors(base)), dict(iter_tensors(tuned))
    for name, tensor in iter_tensors(merged):
        pair = one[name].double(), other[name].double()
        assert not pair[0].equal(pair[1]), name
        cosine = float((pair[0] * pair[1]).sum() / (pair[0].norm() * pair[1].norm()))
        expected = (pair[0] + pair[1]) / (2 * math.cos(math.acos(min(cosine, 1.0)) / 2))
        # Rounded to bfloat16 of eight bits.
        assert (tensor.double() - expected).norm() < 2**-8 * expected.norm(), name


def test_vllm_and_transformers_write_the_same_tokens(folder: Path) -> None:
    models = [folder / "cohere2", folder / "qwen2"]
    models += [model_of(folder, "merge-lfm2"), model_of(folder, "merge-gemma2")]
    command = [sys.executable, "tests/support/ask_both_ways.py", *map(str, models)]
    answers = json.loads(run_heavy(command).splitlines()[-1])
    assert len(answers) == len(models)
    for name, answer in answers.items():
        assert answer["vllm"] == answer["transformers"], (name, answer)
        # Gemma 2 repeats one token, so the tokens alone would prove little.
        assert answer["difference"] < 1e-3, (name, answer)
