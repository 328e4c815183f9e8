"""Speed of `sft`: passes by tokens, grouped, packed; with each attention kernel."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.checkpoints import attention_alone, lfm2
from benchmarks.gpu.rows import make_tokens, mixed_lengths
from benchmarks.gpu.scale import Place
from benchmarks.gpu.trial import TrialFigures, tried
from hala_hpc.engines.models.attention import EAGER, FLASH, FLEX, SDPA
from hala_hpc.engines.models.compile_cache import CompileCache
from hala_hpc.engines.training.settings import TrainingSettings
from hala_hpc.engines.training.training_run import Training


class Trial(NamedTuple):
    """One training of the comparison."""

    name: str
    packs: bool = False
    attends_alone: bool = False
    """Whether all layers have attention: LFM2's convolutions let packed rows see each other."""
    group_by_length: bool = True
    attention: str = SDPA
    liger: bool = False
    pass_share: float = 1.0
    """Padded tokens of a pass, as a share of the usual number."""
    gradient_checkpointing: bool = False
    for_gpus: bool = False
    """Whether it is meaningless on a CPU, or cannot run there."""


#: The most important first: the part may be ended before the last.
TRIALS = (
    Trial("lfm2 token batches, grouped, sdpa"),
    Trial("lfm2 token batches, not grouped, sdpa", group_by_length=False),
    Trial("lfm2 grouped, passes of twice the tokens", pass_share=2.0),
    Trial("attention alone, grouped, sdpa", attends_alone=True),
    Trial("attention alone, packed, sdpa", attends_alone=True, packs=True),
    Trial("lfm2 grouped, eager", attention=EAGER, pass_share=0.25),
    Trial("attention alone, packed, flex", attends_alone=True, packs=True, attention=FLEX,
          for_gpus=True),
    Trial("attention alone, packed, sdpa, liger", attends_alone=True, packs=True, liger=True,
          for_gpus=True),
    Trial("attention alone, packed, flash", attends_alone=True, packs=True, attention=FLASH,
          for_gpus=True),
    Trial("lfm2 grouped, flex", attention=FLEX, for_gpus=True),
    Trial("lfm2 grouped, passes of half the tokens", pass_share=0.5, for_gpus=True),
    Trial("lfm2 grouped, checkpointed", gradient_checkpointing=True, for_gpus=True),
)  # fmt: skip


def run(place: Place) -> Iterator[TrialFigures]:
    """The figures of each training."""
    with CompileCache(None) as compiled:
        for number, trial in enumerate(TRIALS):
            if place.scale.is_thin and trial.for_gpus:
                yield TrialFigures(trial=trial.name, error="not run: it needs a GPU")
                continue
            training = training_of(trial, place, number)
            yield tried(trial.name, training, place.scale.warm_steps, compiled)


def training_of(trial: Trial, place: Place, number: int) -> Training:
    """Return the training of a trial, with its input files."""
    scale = place.scale
    model = attention_alone(place) if trial.attends_alone else lfm2(place)
    settings = TrainingSettings(
        zero_stage=0,
        max_steps=scale.steps,
        global_batch_size=scale.rows,
        micro_batch_tokens=round(trial.pass_share * scale.pass_tokens),
        group_by_length=trial.group_by_length,
        gradient_checkpointing=trial.gradient_checkpointing,
        attention=trial.attention,
        liger=trial.liger,
        save_every_min=0,
    )
    if trial.packs:
        # As many tokens a step as the others have: a sequence holds about nine rows.
        settings = settings.model_copy(update={"global_batch_size": max(2, scale.rows // 9)})
    state_dir = place.work / f"training-{number}" / "kept"
    return Training(model, tokens_of(place, trial.packs), state_dir, settings)


def tokens_of(place: Place, packs: bool) -> Path:
    """Rows for all steps of a training, the same for all trials."""
    lengths = mixed_lengths(place, (place.scale.steps + 1) * place.scale.rows)
    folder = place.work / ("packed" if packs else "rows")
    return make_tokens(folder, place, lengths, packing=packs)
