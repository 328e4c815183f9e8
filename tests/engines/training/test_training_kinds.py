"""sft: LoRA, offload to host memory, metrics of every step, and what a step computes."""

from math import prod
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from plain_out import PlainInputs
from random_models import random_lfm2
from real_ranks import Ranks, losses_of
from tiny_models import SENTENCES
from token_folders import make_tokens

from hala_hpc.engines.models.architecture import flops_per_token
from hala_hpc.engines.models.gpus import peak_flops
from hala_hpc.engines.models.tensors import iter_tensors, tensor_headers
from hala_hpc.engines.training.figures import loss_curve
from hala_hpc.engines.training.metrics import METRICS_FILE, MetricsFile, StepFigures, read_metrics
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.stages.sft import Sft

QUICK: dict[str, Any] = {
    "max_steps": 8,
    "global_batch_size": 16,
    "micro_batch_tokens": 256,
    "learning_rate": 0.003,
    "logging_steps": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model and the tokens of 96 pairs."""
    folder = tmp_path_factory.mktemp("kinds")
    random_lfm2(folder / "model")
    rows = [pair(f"{text} {n}", target) for n in range(12) for text, target in SENTENCES.items()]
    write_corpus(folder / "pairs", rows)
    options = {"model": str(folder / "model"), "max_length": 256, "objective": "translate"}
    make_tokens(folder, **options, train=str(folder / "pairs"))
    return folder


def trained(folder: Path, name: str, ranks: int, stop_at: float = 1e9, **settings: Any) -> Path:
    """Train to the end, or to a stop; the base folder."""
    given = QUICK | {"model": str(folder / "model"), "tokens": str(folder / "tokens")} | settings
    attempt = Ranks(folder / name, ranks, stop_at, **given, resources={"nodes": ranks})
    codes = attempt.end()
    assert stop_at < 1e9 or codes == [0] * ranks, attempt.logs()[0][-3000:]
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, pytest.param(3, marks=pytest.mark.long)])
def test_lora_trains_small_matrices_and_leaves_a_plain_model(folder: Path, zero_stage: int) -> None:
    options = {"lora_rank": 4, "learning_rate": 0.02, "zero_stage": zero_stage}
    ranks = 2 if zero_stage else 1
    base = trained(folder, f"lora-{zero_stage}", ranks, **options)
    losses = losses_of(base)
    assert losses[-1] < losses[0]
    model = base / "output" / "0"
    assert tensor_headers(model) == tensor_headers(folder / "model")
    before, after = dict(iter_tensors(folder / "model")), dict(iter_tensors(model))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed
    assert all(".norm" not in name and "embed" not in name for name in changed)
    if zero_stage:
        stopped = trained(folder, "lora-stopped", ranks, stop_at=4, **options)
        trained(folder, "lora-stopped", ranks, **options)
        assert losses_of(stopped) == losses


@pytest.mark.parametrize(
    ("targets", "fault"),
    [
        ("all-linear", ""),
        (["q_proj", "w1"], ""),
        (r".*\.(q|k)_proj", ""),
        (["q_proj", "embed_tokens"], "model.embed_tokens is an embedding"),
        (r".*embed_tokens", "model.embed_tokens is an embedding"),
        (["conv"], "model.layers.0.conv.conv is not a matrix"),
        (["lm_head"], "lm_head is tied to the embedding"),
    ],
)
def test_lora_is_refused_where_it_cannot_be_added_to_the_weights(
    targets: str | list[str], fault: str, folder: Path
) -> None:
    options = {"model": str(folder / "model"), "tokens": str(folder / "tokens")}
    settings = Sft.Settings.model_validate(options | {"lora_rank": 4, "lora_targets": targets})
    faults = Sft(settings, PlainInputs()).preflight()
    assert len(faults) == bool(fault)
    assert all(fault in line for line in faults)


@pytest.mark.long
@pytest.mark.slow
def test_what_the_host_keeps_changes_no_loss(folder: Path) -> None:
    there = trained(folder, "there", 2, zero_stage=3)
    host = trained(folder, "host", 2, zero_stage=3, offload="all")
    assert losses_of(host) == pytest.approx(losses_of(there), rel=1e-5)


def test_the_host_keeps_only_what_the_stage_of_zero_cuts_up() -> None:
    settings = TrainingSettings(offload="all", zero_stage=2)
    assert settings.offload_faults() == ["offload=all needs zero_stage=3 or more, not 2"]
    assert TrainingSettings(offload="optimizer").offload_faults() == []


def test_metrics_continue_at_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    first = MetricsFile(tmp_path, 0)
    for step in range(1, 6):
        first.write(StepFigures(step=step, loss=float(step)))
    first.close()
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"step": 6, "lo')
    second = MetricsFile(tmp_path, 3)
    second.write(StepFigures(step=4, loss=40.0))
    second.close()
    lines = read_metrics(tmp_path / METRICS_FILE)
    assert [(line.step, line.loss) for line in lines] == [(1, 1), (2, 2), (3, 3), (4, 40)]
    text = (tmp_path / METRICS_FILE).read_text()
    assert "mfu" not in text
    # Whole numbers stay whole.
    assert '"step": 4, "loss": 40.0' in text


def test_a_curve_has_the_first_step_and_means_of_the_rest() -> None:
    lines = [
        StepFigures(step=n, loss=n, learning_rate=0.1, tokens_per_s=100.0, step_s=1.0)
        for n in range(1, 8)
    ]
    lines.insert(4, StepFigures(step=4, held_out_loss=9.0))
    found = [(point.step, point.loss) for point in loss_curve(lines, 3)]
    assert found == [(1, 1), (3, 2.5), (6, 5), (7, 7)]


def test_a_step_computes_six_times_weights_and_what_attends(tmp_path: Path) -> None:
    random_lfm2(tmp_path)
    weights = sum(prod(header.shape) for header in tensor_headers(tmp_path).values())
    # One of three layers is attention, over 64 channels; the output head is tied to the embedding.
    assert flops_per_token(tmp_path, 100.0) == 6 * weights + 12 * 1 * 64 * 100


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 9.89e14),
        ("NVIDIA H100 PCIe", 7.56e14),
        ("NVIDIA A100-SXM4-40GB", 3.12e14),
        ("NVIDIA L40S", 3.62e14),
        ("NVIDIA L4", 1.21e14),
        ("NVIDIA A40", 1.50e14),
        ("NVIDIA GeForce GTX 970", None),
    ],
)
def test_the_peak_of_a_gpu_is_known_by_its_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak
