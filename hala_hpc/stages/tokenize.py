"""tokenize: convert corpora to token files on CPUs, once, so that trainings start at once."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from hala_hpc.core.errors import INTERNAL, NO_INPUT, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, TextAmount
from hala_hpc.core.hub import is_hub_id
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.rehearsal import MIN_HELD_OUT_SHARE
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import CorpusRef, ModelRef, OneOrMany, StageSettings, runtime
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import list_parts, require_kind
from hala_hpc.engines.generation.prompts import find_missing_fields
from hala_hpc.engines.generation.settings import PromptStyle
from hala_hpc.engines.models.files import TOKENIZER_FILES, local_model

if TYPE_CHECKING:
    # Imported where jobs use them: a dry run loads this file only for its settings.
    from hala_hpc.engines.training.tokens.pair_choice import PairChoice
    from hala_hpc.engines.training.tokens.rows import RowChoice, TokenRow, TrainingCorpus

Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]

#: Bytes of the result per byte of the corpora: a token takes four bytes with its weight, and a
#: word has several tokens.
SIZE_FACTOR = 2.0


class Settings(StageSettings):
    """Settings of tokenize."""

    model: ModelRef
    """The model whose tokenizer and chat template are used: hub id, folder or `@node`. Models with
    the same vocabulary can be trained on the same token files."""
    train: OneOrMany[CorpusRef]
    """Training corpora, one or several; their rows are mixed."""
    weights: OneOrMany[Weight] = Field(default_factory=list)
    """Sampling weight of each corpus, one number each; empty means 1 for all. In an epoch 2.0 takes
    every row twice, and 0.5 takes half of the rows, chosen by `seed`."""
    objective: Literal["chat", "translate"] = "chat"
    """chat: train on all assistant turns of each conversation, but those of weight 0.
    translate: train on the target of each pair, given `prompt` with its source. A translated
    conversation gives one pair per translated message. Pairs may be any question and answer; a pair
    that equals an earlier pair of all corpora is left out."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """Prompt of objective translate; {text} is the source. The default is the paper's prompt."""
    prompt_style: PromptStyle = "auto"
    """chat applies the model's chat template to the rows; auto does so if the model has one. For
    objective chat a plain template is supplied if there is none; the trained model keeps it."""
    max_length: Annotated[int, Field(ge=2)] = 2048
    """Max tokens of a row; with packing, of a sequence."""
    long_rows: Literal["reject", "split"] = "reject"
    """reject: reject longer rows as too_long. split: cut them into consecutive segments of
    `max_length` tokens; each segment begins where the previous one ended. Segments without a
    token to learn are left out."""
    system_prompt: Literal["system", "user"] = "system"
    """system: a turn of its own. user: before the text of the first user turn, for models whose
    chat template refuses system turns or leaves them out."""
    packing: bool = False
    """Put several rows into one sequence. Only for models whose layers keep such rows apart: the
    sft node tests it and otherwise refuses to train; use group_by_length for such models."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Fraction of the rows held out for the evaluation loss; 0 for none. Rows are chosen by a hash
    of `seed` and their id, so a small corpus may have none."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = runtime(0.2)
    """Fail if a larger fraction of the rows is rejected. Rows left out by a weight, repeated pairs
    and messages that were not translated do not count."""
    seed: int = 0
    """Seed that decides which rows are held out, left out by a weight, or packed together."""
    units: PositiveInt = 16
    """Number of units, each with its own marker and the same share of every corpus. Packing leaves
    the last sequence of each unit partly empty: use few units for small corpora."""
    resources: Resources = Resources(cpus_per_rank=4, mem_gb=16)
    """Resources of each job; it needs no GPU."""


class Tokenize(Stage[Settings]):
    """A unit is the same share of every corpus: an Arrow file, and another of held-out rows."""

    name = "tokenize"
    version = 4
    produces = "tokens"
    Settings = Settings
    work_stealing = True
    reads_weights = False

    def plan(self) -> int:
        """The number of units in the settings."""
        return self.settings.units

    def preflight(self) -> list[str]:
        """Find a missing tokenizer, corpus, placeholder or weight, and packing known to leak."""
        settings = self.settings
        require_tokenizer(settings.model)
        faults = []
        if not settings.train:
            faults.append("train=[]: no corpus; give at least one")
        for corpus in settings.train:
            if not corpus.startswith("@"):
                list_parts(Path(corpus).expanduser())
        if settings.weights and len(settings.weights) != len(settings.train):
            faults.append(
                f"weights={settings.weights}: {len(settings.weights)} numbers for "
                f"{len(settings.train)} corpora; give one per corpus, in the order of train"
            )
        if settings.objective == "translate":
            faults += find_missing_fields("prompt", settings.prompt, ["text"])
        if settings.packing:
            from hala_hpc.engines.training.tokens.packing_check import packing_faults

            faults += packing_faults(self.inputs.path(settings.model), settings.model)
        return faults

    def rehearsed(self) -> StageSettings:
        """One unit with enough held-out rows to measure a loss, however many are rejected."""
        held_out = (
            max(self.settings.held_out, MIN_HELD_OUT_SHARE) if self.settings.held_out else 0.0
        )
        changes = {"units": 1, "held_out": held_out, "max_rejected_fraction": 1.0}
        return self.settings.model_copy(update=changes)

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The training data of one epoch; the job needs no GPU."""
        settings = self.settings
        size = SIZE_FACTOR * inputs.size_bytes(settings.train)
        model = inputs.largest_model([settings.model])
        text = inputs.corrected(self.training_amount(inputs))
        breakdown = f"all training data of {len(settings.train)} corpora" if text else ""
        tokens = text.tokens if text else None
        return Estimate(Amount(text, None, size), model, hours_breakdown=breakdown, work=tokens)

    def training_amount(self, inputs: EstimateInputs) -> TextAmount | None:
        """Rows and tokens of all corpora, by their weights; None if one is unknown."""
        found = [inputs.text(reference) for reference in self.settings.train]
        known = [corpus for corpus in found if corpus is not None]
        if len(known) < len(found):
            return None
        pairs = list(zip(known, self.weights, strict=True))
        both = self.settings.objective == "translate"
        tokens = sum(
            weight * (corpus.tokens if both else corpus.target or corpus.source)
            for corpus, weight in pairs
        )
        rows = sum(
            weight * corpus.rows * (corpus.texts_of_row if both else 1) for corpus, weight in pairs
        )
        # Packing leaves less than 1 % of the sequences empty.
        sequences = tokens / self.settings.max_length if self.settings.packing else 0.0
        return TextAmount(rows, tokens, sequences=sequences)

    @property
    def weights(self) -> list[float]:
        """The sampling weight of each corpus."""
        return self.settings.weights or [1.0] * len(self.settings.train)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Tokenize the rows of each unit; unit 0 also stores the tokenizer."""
        from transformers import AutoTokenizer

        from hala_hpc.engines.training.tokens.examples import ExampleMaker
        from hala_hpc.engines.training.tokens.names import TOKENIZER_FOLDER
        from hala_hpc.engines.training.tokens.plain_template import supply_chat_template
        from hala_hpc.engines.training.tokens.product import UnitFiles, copy_tokenizer_with_template
        from hala_hpc.engines.training.tokens.unit import TokenPlan, TokenUnit

        settings = self.settings
        model = local_model(self.inputs.path(settings.model))
        tokenizer = AutoTokenizer.from_pretrained(model)
        chat = settings.objective == "chat"
        supplied = chat and supply_chat_template(tokenizer, settings.prompt_style)
        split = settings.long_rows == "split"
        limit = None if split else settings.max_length
        maker = ExampleMaker(tokenizer, limit, settings.prompt_style)
        plan = TokenPlan(settings.max_length, split, settings.packing)
        whole, rows_before = sum(source.index.rows for source in self.sources), 0
        choice: PairChoice | None = None
        for unit in units:
            files = UnitFiles(out.folder(unit), unit)
            work = TokenUnit(maker, self.choice, plan)
            if not chat and choice is None and (choice := self._chosen_pairs(out, unit)) is None:
                return

            def report_rows(rows: int, before: int = rows_before) -> bool:
                out.report_progress(rows=before + rows, rows_of_node=whole)
                return not out.stop_requested

            if not work.write(files, self._rows(unit, choice), report_rows):
                return
            rows_before += work.notes.rows_in
            work.notes.write(files.notes)
            if unit == 0:
                copy_tokenizer_with_template(
                    model, files.folder / TOKENIZER_FOLDER, tokenizer, supplied
                )
            out.commit(unit)

    @property
    def choice(self) -> "RowChoice":
        """Selects held-out rows, and how often each other row is used."""
        from hala_hpc.engines.training.tokens.rows import RowChoice

        return RowChoice(self.settings.seed, self.settings.held_out)

    def _chosen_pairs(self, out: UnitContext, unit: int) -> "PairChoice | None":
        """Decide about each pair of all corpora; None if a stop was requested."""
        from hala_hpc.engines.training.tokens.pair_choice import choose_pairs

        file = out.folder(unit) / "pair-hashes"
        return choose_pairs(
            self.sources, self.choice, self.settings.units, file, lambda: out.stop_requested
        )

    def _rows(self, unit: int, choice: "PairChoice | None") -> "Iterator[TokenRow]":
        """The rows of a unit from all corpora; pairs if `choice` is given."""
        units = self.settings.units
        for number, source in enumerate(self.sources):
            if choice is None:
                yield from source.conversations(unit, units)
            else:
                yield from source.pairs(unit, units, choice.reasons(number, unit))

    @cached_property
    def sources(self) -> "list[TrainingCorpus]":
        """The corpora; the Parquet footers of all their shards are read once."""
        from hala_hpc.data.corpus.index import CorpusIndex
        from hala_hpc.engines.training.tokens.rows import TrainingCorpus

        settings = self.settings
        chat = settings.objective == "chat"
        found = []
        for reference, weight in zip(settings.train, self.weights, strict=True):
            folder = Path(self.inputs.path(reference))
            if chat:
                kind = require_kind(folder, "conversations")
            else:
                kind = require_kind(folder, "pairs", "translations")
            index, merges_system = CorpusIndex(folder), settings.system_prompt == "user"
            found.append(TrainingCorpus(index, kind, weight, settings.prompt, merges_system))
        return found

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Read the files back: each row of the corpora is counted once, written or rejected."""
        from hala_hpc.engines.training.tokens.product import UnitFiles, check_token_unit

        counts = check_token_unit(UnitFiles(folder, unit), self.settings.max_length)
        expected, exact = 0, True
        for source in self.sources:
            first, last = source.range_of(unit, self.settings.units)
            expected += last - first
            # A translated conversation gives a row for every message.
            exact &= self.settings.objective == "chat" or source.kind == "pairs"
        if counts.rows_in < expected or (exact and counts.rows_in != expected):
            raise UserError(f"unit {unit}: {counts.rows_in} of {expected} rows were read", INTERNAL)
        return counts

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Gather the files of all units, write tokens.json, and return the counts."""
        from hala_hpc.engines.training.tokens.product import collect_token_units
        from hala_hpc.engines.training.tokens.rejections import require_few_rejected

        require_few_rejected(markers, folders, self.settings.max_rejected_fraction)
        length, packing = self.settings.max_length, self.settings.packing
        return collect_token_units(markers, folders, output, length, packing)


def require_tokenizer(model: str) -> None:
    """Check that `model` is a folder with a tokenizer, a hub id or an `@node`.

    Raises: UserError (NO_INPUT) if it is a folder without one.
    """
    folder = Path(model).expanduser()
    if model.startswith("@") or is_hub_id(model):
        return
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(
            f"model={model}: no tokenizer (tokenizer.json or tokenizer.model) in that folder; give "
            "a model folder or a hub id such as owner/name",
            NO_INPUT,
        )


STAGE = Tokenize
