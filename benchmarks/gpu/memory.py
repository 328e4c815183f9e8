"""What `rank_memory` reckons of a training, beside what torch allocates for it on the GPU."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.gpu.checkpoints import lfm2
from benchmarks.gpu.rows import make_tokens
from benchmarks.gpu.scale import Place
from benchmarks.gpu.trial import TrialFigures, tried
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.training_run import Training


class Case(NamedTuple):
    """One size of a pass, as shares of the largest pass and the longest row."""

    pass_share: float
    row_share: float
    gradient_checkpointing: bool = False


CASES = (Case(1.0, 0.25), Case(1.0, 1.0), Case(2.0, 0.25), Case(2.0, 0.25, True))


def run(place: Place) -> Iterator[TrialFigures]:
    """A training of two steps for each size; each step is one pass, and is full."""
    scale = place.scale
    for number, case in enumerate(CASES):
        row_tokens = round(case.row_share * scale.longest_row)
        pass_tokens = round(case.pass_share * scale.pass_tokens)
        rows = max(1, pass_tokens // row_tokens)
        settings = TrainingSettings(
            zero_stage=0,
            max_steps=2,
            global_batch_size=rows,
            micro_batch_tokens=pass_tokens,
            gradient_checkpointing=case.gradient_checkpointing,
            liger=False,
            save_every_min=0,
        )
        folder = place.work / f"memory-{number}"
        tokens = make_tokens(folder / "tokens", place, [row_tokens] * (2 * rows), packing=False)
        training = Training(lfm2(place), tokens, folder / "kept", settings)
        how = "checkpointed" if case.gradient_checkpointing else "kept"
        name = f"{pass_tokens} tokens, rows of {row_tokens}, activations {how}"
        yield tried(name, training, 1)
