"""Estimates of `rank_memory` for a training, compared with torch's allocation on the GPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.checkpoints import lfm2
from benchmarks.gpu.rows import make_tokens
from benchmarks.gpu.scale import Place
from benchmarks.gpu.trial import TrialFigures, tried
from hala_hpc.engines.models.compile_cache import CompileCache
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.training_run import Training


class Case(NamedTuple):
    """One size of a pass, as shares of the largest pass and the longest row."""

    pass_share: float
    row_share: float
    gradient_checkpointing: bool = False


CASES = (Case(1.0, 0.25), Case(1.0, 1.0), Case(2.0, 0.25), Case(2.0, 0.25, True))


def run(place: Place) -> Iterator[TrialFigures]:
    """Run a training of two steps for each size; each step is one full pass."""
    with CompileCache(None) as compiled:
        for number, case in enumerate(CASES):
            training = training_of(case, place, place.work / f"memory-{number}")
            how = "checkpointed" if case.gradient_checkpointing else "kept"
            tokens = training.settings.micro_batch_tokens
            name = f"{tokens} tokens, rows of {row_tokens(case, place)}, activations {how}"
            yield tried(name, training, 1, compiled)


def row_tokens(case: Case, place: Place) -> int:
    """Tokens of a row."""
    return round(case.row_share * place.scale.longest_row)


def training_of(case: Case, place: Place, folder: Path) -> Training:
    """Return the training of a case, with its rows, all of one length."""
    row, tokens = row_tokens(case, place), round(case.pass_share * place.scale.pass_tokens)
    rows = max(1, tokens // row)
    settings = TrainingSettings(
        zero_stage=0,
        max_steps=2,
        global_batch_size=rows,
        micro_batch_tokens=tokens,
        gradient_checkpointing=case.gradient_checkpointing,
        liger=False,
        save_every_min=0,
    )
    files = make_tokens(folder / "tokens", place, [row] * (2 * rows), packing=False)
    return Training(lfm2(place), files, folder / "kept", settings)
