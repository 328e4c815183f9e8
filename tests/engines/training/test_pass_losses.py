"""The same rows give the same loss, for any split into passes and any number of ranks."""

import random
from pathlib import Path
from typing import Any

import pytest
from corpora import pair, write_corpus
from plain_out import FUSED_HEAD
from random_models import random_lfm2
from real_ranks import Ranks
from tiny_models import SENTENCES, untrained_model
from token_folders import make_tokens

from hala_hpc.core.errors import RETRY
from hala_hpc.engines.training.figures import TrainingFigures
from hala_hpc.engines.training.metrics import METRICS, METRICS_FILE, StepFigures, read_metrics
from hala_hpc.stages.sft import FIGURES_FILE

#: Of rows of 40 to 500 tokens; no two of them share a pass of 64.
ALONE = {"micro_batch_tokens": 64}
TOGETHER = {"micro_batch_tokens": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and tokens of rows of very different lengths; `packed` has some of them in each."""
    folder = tmp_path_factory.mktemp("passes")
    random_lfm2(folder / "lfm2")
    chance = random.Random(1)
    known, rows = list(SENTENCES.items()), []
    for _ in range(90):
        chosen = chance.choices(known, k=min(24, round(2 + chance.lognormvariate(0.7, 1))))
        rows.append(pair(*(" ".join(side) for side in zip(*chosen, strict=True))))
    write_corpus(folder / "pairs", rows)
    options: dict[str, Any] = {"train": str(folder / "pairs"), "objective": "translate"}
    options |= {"max_length": 512, "held_out": 0.1}
    make_tokens(folder / "apart", model=str(folder / "lfm2"), **options)
    return folder


def training(folder: Path, **more: Any) -> dict[str, Any]:
    """Settings of a training of six steps of 16 rows."""
    options: dict[str, Any] = {"model": str(folder / "lfm2"), "learning_rate": 1e-3, "max_steps": 6}
    options |= {"tokens": str(folder / "apart" / "tokens"), "global_batch_size": 16}
    return options | {"group_by_length": False, "save_every_min": 0, "eval_steps": 3} | more


def trained(base: Path, ranks: int, **options: Any) -> Path:
    """Train to the end; the folder of the model."""
    running = Ranks(base, ranks, **options)
    assert running.end() == [0] * ranks, running.logs()[0][-3000:]
    return base / "output" / "0"


def steps_of(made: Path) -> list[StepFigures]:
    """The figures of every step, and of every evaluation on the held-out rows."""
    return read_metrics(made / METRICS / METRICS_FILE)


def require_equal(one: Path, other: Path) -> None:
    """Losses, gradients and held-out losses of two trainings are equal to 1e-5, tokens exactly."""
    lines = list(zip(steps_of(one), steps_of(other), strict=True))
    assert len(lines) == 6 + 2
    for a, b in lines:
        assert (a.step, a.tokens) == (b.step, b.tokens)
        for name in ("loss", "held_out_loss", "grad_norm"):
            mine, theirs = getattr(a, name) or 0.0, getattr(b, name) or 0.0
            assert mine == pytest.approx(theirs, rel=1e-5), (name, a.step)


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """A training on one rank, by plain torch, one row at a time."""
    made = trained(folder / "alone", 1, **training(folder, zero_stage=0, **ALONE))
    figures = TrainingFigures.read(made / FIGURES_FILE)
    assert figures
    assert (figures.passes_per_step, figures.batch_fill) == (16, 1.0)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zero_stage", "ranks"),
    [
        (2, 2),
        pytest.param(0, 2, marks=pytest.mark.long),
        pytest.param(1, 2, marks=pytest.mark.long),
        pytest.param(3, 2, marks=pytest.mark.long),
        pytest.param(3, 4, marks=pytest.mark.long),
    ],
)
def test_passes_of_many_rows_on_many_ranks_train_as_one_row_at_a_time(
    folder: Path, alone: Path, zero_stage: int, ranks: int
) -> None:
    options = training(folder, zero_stage=zero_stage, **TOGETHER)
    made = trained(folder / f"zero-{zero_stage}-{ranks}", ranks, **options)
    require_equal(made, alone)
    figures = TrainingFigures.read(made / FIGURES_FILE)
    assert figures
    assert figures.passes_per_step
    assert 1 < figures.passes_per_step < 16 / ranks, "several in a step, and of several rows"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_one_rank_resumes_with_other_passes_where_two_stopped(
    folder: Path, alone: Path, zero_stage: int
) -> None:
    base, options = folder / f"resumed-{zero_stage}", training(folder, zero_stage=zero_stage)
    first = Ranks(base, 2, stop_at=2, **options, **TOGETHER)
    assert first.end() == [RETRY, 0], first.logs()[0][-3000:]
    require_equal(trained(base, 1, **options, micro_batch_tokens=700), alone)


@pytest.mark.slow
@pytest.mark.long
def test_packed_sequences_and_an_optimizer_on_the_host_change_no_loss(folder: Path) -> None:
    model = str(untrained_model(folder))
    tokens = {"train": str(folder / "pairs"), "objective": "translate", "max_length": 512}
    make_tokens(folder / "packed", model=model, **tokens, held_out=0.1, packing=True)
    options = training(folder, model=model, tokens=str(folder / "packed" / "tokens"))
    options |= {"global_batch_size": 8}
    one = trained(folder / "packed-alone", 1, **options | {"zero_stage": 0} | ALONE)
    for zero_stage, offload in ((2, "none"), (2, "optimizer"), (3, "all")):
        more = options | TOGETHER | {"zero_stage": zero_stage, "offload": offload}
        require_equal(trained(folder / f"packed-{zero_stage}-{offload}", 2, **more), one)


@pytest.mark.slow
@pytest.mark.long
def test_the_fused_loss_of_a_gpu_is_the_same(
    folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FUSED_HEAD, "1")
    made = trained(folder / "fused", 2, **training(folder, zero_stage=2, **TOGETHER))
    require_equal(made, alone)
