"""Base class of the stages that prompt a model with every row of a corpus."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, PositiveFloat

from hala_hpc.core.records import UnitMarker
from hala_hpc.core.settings import CorpusRef, ModelRef, StageSettings, runtime
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import REJECTED, Kind, list_parts, require_kind
from hala_hpc.engines.generation.engine_choice import make_engine
from hala_hpc.engines.generation.settings import GenerationSettings
from hala_hpc.engines.models.files import require_model

if TYPE_CHECKING:
    # Needed in jobs only: a dry run loads this file for its settings.
    from hala_hpc.engines.generation.row_program import Prompt, RowJob, RowTask

#: Sentences of the test prompts that an engine gets before its rows: as plain as possible.
TRIAL_SENTENCES = (
    "The door is open.",
    "She reads a book every evening.",
    "Water boils at one hundred degrees.",
)


class RowSettings(GenerationSettings):
    """Settings of a stage over the rows of a corpus."""

    model: ModelRef
    """The model: a hub id, a folder, or `@node` of a node that makes a model."""
    corpus: CorpusRef
    """The rows with which the model is prompted."""
    prompt: str
    """Prompt template, with fields for the values of a row."""
    units: int
    """Number of units, each with its own marker. Not a size: known before the corpus exists."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = runtime(1.0)
    """Fail if a larger share of the rows is rejected, as soon as that is certain. Below 1, also if
    over 80 % of the first 200 rows are rejected for one reason that the rows do not cause."""
    commit_interval_s: PositiveFloat = runtime(30.0)
    """Seconds of work that a kill may cost: finished rows are written to the disk so often."""


S = TypeVar("S", bound=RowSettings)


class RowStage(Stage[S]):
    """A stage that runs many units through one engine; `task` defines the prompts."""

    produces = "corpus"
    extra_outputs = (REJECTED,)
    work_stealing = True
    input_kinds: tuple[Kind, ...]
    """Kinds of corpus that the stage accepts."""

    def task(self, kind: Kind) -> "RowTask":
        """What is done with each row of a corpus of this kind."""
        raise NotImplementedError

    @property
    def empty_prompt(self) -> str:
        """The prompt around an empty text."""
        raise NotImplementedError

    def trial(self) -> "Sequence[Prompt]":
        """Test prompts with `TRIAL_SENTENCES`, in the form that rows have; none for no test.

        Every engine gets them before its rows: see `engine_trial`.
        """
        return ()

    @cached_property
    def work(self) -> "RowJob":
        """The corpus and what is done with each of its rows."""
        from hala_hpc.engines.generation.row_program import RowJob

        corpus = Path(self.inputs.path(self.settings.corpus))
        return RowJob(
            corpus,
            self.settings.corpus,
            self.settings.units,
            self.task(require_kind(corpus, *self.input_kinds)),
            self.empty_prompt,
            self.settings.max_rejected_fraction,
            self.resources.nodes * self.resources.gpus_per_node,
        )

    def plan(self) -> int:
        """The number of units in the settings."""
        return self.settings.units

    def require_inputs(self) -> None:
        """Raise UserError if files of the model or the corpus are missing."""
        require_model(self.settings.model)
        if not self.settings.corpus.startswith("@"):
            list_parts(self.settings.corpus)

    def rehearsed(self) -> S:
        """One unit of the rows that there are; it runs to its end however many are rejected."""
        return self.settings.model_copy(update={"units": 1, "max_rejected_fraction": 1.0})

    def smaller_batch(self, world_size: int) -> StageSettings | None:
        """The settings with half as many rows at once in the engine."""
        del world_size
        return self.settings.smaller_engine_batch()

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Prompt the model with the rows of the units; commits each unit after its last row."""
        import gc
        from contextlib import closing

        from hala_hpc.core.environment import set_job_environment
        from hala_hpc.engines.generation.engine import EngineConfig
        from hala_hpc.engines.generation.engine_trial import check_engine_answers
        from hala_hpc.engines.generation.first_rows_check import FirstRowsCheck
        from hala_hpc.engines.generation.row_scheduler import RowScheduler

        set_job_environment()
        work = self.work  # before the engine starts: a bad corpus costs no GPU time
        first_rows = FirstRowsCheck(work, out)
        # Nor does a worker that starts after the others found a fault.
        first_rows.publish_and_check()
        model = self.inputs.path(self.settings.model)
        settings = self.settings
        config = EngineConfig(
            model, settings.engine, settings.prompt_style, settings.prompt, out.cache
        )
        with closing(make_engine(config)) as engine:
            # Objects that exist now stay: the garbage collector need not traverse them each time.
            gc.freeze()
            check_engine_answers(engine, self.trial(), self.empty_prompt, out)
            RowScheduler(engine, work, out, settings.commit_interval_s, first_rows).run(units)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that every input row is in the output or rejected, in the order of the input."""
        from hala_hpc.engines.generation.unit_files import check_corpus_unit

        return check_corpus_unit(unit, folder, self.work)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Link the shards into the output; returns texts, seconds and speed."""
        from hala_hpc.engines.generation.unit_files import collect_corpus

        return collect_corpus(markers, folders, output, self.work)
