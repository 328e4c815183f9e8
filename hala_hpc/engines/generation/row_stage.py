"""What stages share that ask a model about every row of a corpus."""

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
    # What only jobs need is imported there: a dry run loads this file for its settings.
    from hala_hpc.engines.generation.row_program import Prompt, RowJob, RowTask

#: What an engine is asked before its rows: as plain as sentences can be.
TRIAL_SENTENCES = (
    "The door is open.",
    "She reads a book every evening.",
    "Water boils at one hundred degrees.",
)


class RowSettings(GenerationSettings):
    """Settings of a stage over the rows of a corpus."""

    model: ModelRef
    """The model that is asked: a hub id, a folder, or `@node` of a node that makes a model."""
    corpus: CorpusRef
    """The rows it is asked about."""
    prompt: str
    """What it is asked, with places for what stands in a row."""
    units: int
    """Pieces with a mark of their own. A number, not a size: known before the corpus exists."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = runtime(1.0)
    """Fail when a larger share of the rows is rejected, as soon as that is certain. Below 1 also
    where over 80 % of the first 200 rows are, for one reason that is no matter of the rows."""
    commit_interval_s: PositiveFloat = runtime(30.0)
    """Seconds of work that a kill may cost: finished rows are put on the disk so often."""


S = TypeVar("S", bound=RowSettings)


class RowStage(Stage[S]):
    """Many units in one engine; a stage of this kind says with `task` what is asked."""

    produces = "corpus"
    extra_outputs = (REJECTED,)
    work_stealing = True
    input_kinds: tuple[Kind, ...]
    """Kinds of corpus that the stage takes."""

    def task(self, kind: Kind) -> "RowTask":
        """What is done with each row of a corpus of this kind."""
        raise NotImplementedError

    @property
    def empty_prompt(self) -> str:
        """The prompt around an empty text."""
        raise NotImplementedError

    def trial(self) -> "Sequence[Prompt]":
        """Questions about `TRIAL_SENTENCES` in the form that rows have; none to go without.

        They come before the rows of every engine: see `engine_trial`.
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
        """As many units as the settings say."""
        return self.settings.units

    def require_inputs(self) -> None:
        """Raise UserError when files of the model or the corpus are missing."""
        require_model(self.settings.model)
        if not self.settings.corpus.startswith("@"):
            list_parts(self.settings.corpus)

    def rehearsed(self) -> S:
        """The rows that there are in one unit, to its end however many are rejected."""
        return self.settings.model_copy(update={"units": 1, "max_rejected_fraction": 1.0})

    def smaller_batch(self, world_size: int) -> StageSettings | None:
        """Half as many rows at once in the engine."""
        del world_size
        return self.settings.smaller_engine_batch()

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Ask about the units' rows, each unit committed when its last row is done."""
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
        first_rows.publish_and_check()  # nor does a worker that begins after the others found a fault
        model = self.inputs.path(self.settings.model)
        settings = self.settings
        config = EngineConfig(
            model, settings.engine, settings.prompt_style, settings.prompt, out.cache
        )
        with closing(make_engine(config)) as engine:
            # What is there now stays: the collector need not look at it again and again.
            gc.freeze()
            check_engine_answers(engine, self.trial(), self.empty_prompt, out)
            RowScheduler(engine, work, out, settings.commit_interval_s, first_rows).run(units)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Every row of the input is answered for or rejected, in its order."""
        from hala_hpc.engines.generation.unit_files import check_corpus_unit

        return check_corpus_unit(unit, folder, self.work)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Gather the shards; returns texts, seconds and speed."""
        from hala_hpc.engines.generation.unit_files import collect_corpus

        return collect_corpus(markers, folders, output, self.work)
