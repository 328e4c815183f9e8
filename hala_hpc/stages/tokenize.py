"""tokenize: make token files of corpora, once and on CPUs; a training starts on them at once."""

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
from hala_hpc.core.settings import CorpusRef, ModelRef, OneOrMany, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import list_parts, require_kind
from hala_hpc.engines.generation.prompts import find_missing_fields
from hala_hpc.engines.generation.settings import PromptStyle
from hala_hpc.engines.models.files import TOKENIZER_FILES, local_model

if TYPE_CHECKING:
    # What only jobs need is imported there: a dry run loads this file for its settings.
    from hala_hpc.engines.training.tokens.pair_choice import PairChoice
    from hala_hpc.engines.training.tokens.rows import RowChoice, TokenRow, TrainingCorpus

Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]

#: Bytes of the result for each byte of the corpora: a token is four bytes with its weight, and a
#: word has several.
SIZE_FACTOR = 2.0


class Settings(StageSettings):
    """Settings of tokenize."""

    model: ModelRef
    """The model whose tokenizer and chat template are used: hub id, folder or `@node`. Models with
    the same vocabulary can learn from the same token files."""
    train: OneOrMany[CorpusRef]
    """Corpora to learn from, one or several; their rows are mixed."""
    weights: OneOrMany[Weight] = Field(default_factory=list)
    """How often the rows of each corpus are learnt in an epoch, a number for each; none is 1 for
    all. 2.0 takes every row twice, 0.5 half of the rows, chosen by `seed`."""
    objective: Literal["chat", "translate"] = "chat"
    """chat: answer as the assistant of each conversation does, all its turns.
    translate: write the target of each pair when asked for with `prompt`; a translated
    conversation gives one pair for every message that was translated. Pairs may be any question and
    answer; one that equals an earlier pair of all corpora is not learnt again."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """What the model is asked in objective translate; {text} is the source. The paper's prompt."""
    prompt_style: PromptStyle = "auto"
    """chat puts rows into the model's chat template; auto does where there is one. For objective
    chat a plain template is supplied where there is none, and goes with the trained model."""
    max_length: Annotated[int, Field(ge=2)] = 2048
    """Tokens of a row at most; with packing the tokens of a sequence."""
    long_rows: Literal["reject", "split"] = "reject"
    """What becomes of longer rows: rejected as too_long, or cut into consecutive pieces of
    `max_length` tokens without losing any. A later piece begins where the one before ended."""
    packing: bool = False
    """Put several rows into one sequence. Only for models whose layers keep them apart: the sft
    node tries it out and refuses otherwise; group_by_length is the cure there."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Share of the rows that is never learnt, to measure the loss with; 0 for none. Rows are chosen
    by a hash of `seed` and their id, so a small corpus may have none."""
    seed: int = 0
    """Decides which rows are held out, left out by a weight, or packed together."""
    units: PositiveInt = 16
    """Pieces with a mark of their own, each of the same share of every corpus. Packing fills the
    last sequence of each piece badly: take few for small corpora."""
    resources: Resources = Resources(cpus_per_rank=4, mem_gb=16)
    """What each job gets; no GPU is needed."""


class Tokenize(Stage[Settings]):
    """A unit is the same share of every corpus: one Arrow file, and one of held-out rows."""

    name = "tokenize"
    version = 3
    produces = "tokens"
    Settings = Settings
    work_stealing = True
    reads_weights = False

    def plan(self) -> int:
        """As many units as the settings say."""
        return self.settings.units

    def preflight(self) -> list[str]:
        """Find a missing tokenizer, corpus, place or weight, and packing that is known to leak."""
        settings = self.settings
        require_tokenizer(settings.model)
        faults = []
        if not settings.train:
            faults.append("train=[]: give at least one corpus to learn from")
        for corpus in settings.train:
            if not corpus.startswith("@"):
                list_parts(Path(corpus).expanduser())
        if settings.weights and len(settings.weights) != len(settings.train):
            faults.append(
                f"weights={settings.weights}: {len(settings.weights)} numbers for "
                f"{len(settings.train)} corpora; give one for each, in the order of train"
            )
        if settings.objective == "translate":
            faults += find_missing_fields("prompt", settings.prompt, ["text"])
        if settings.packing:
            from hala_hpc.engines.training.tokens.packing_check import packing_faults

            faults += packing_faults(self.inputs.path(settings.model), settings.model)
        return faults

    def rehearsed(self) -> StageSettings:
        """One unit, of which so many rows are held out that there is a loss to measure."""
        held_out = (
            max(self.settings.held_out, MIN_HELD_OUT_SHARE) if self.settings.held_out else 0.0
        )
        return self.settings.model_copy(update={"units": 1, "held_out": held_out})

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """What a training learns from in an epoch; no GPU is needed."""
        settings = self.settings
        size = SIZE_FACTOR * inputs.size_bytes(settings.train)
        model = inputs.largest_model([settings.model])
        text = inputs.corrected(self.training_amount(inputs))
        breakdown = f"all that is learnt of {len(settings.train)} corpora" if text else ""
        tokens = text.tokens if text else None
        return Estimate(Amount(text, None, size), model, hours_breakdown=breakdown, work=tokens)

    def training_amount(self, inputs: EstimateInputs) -> TextAmount | None:
        """Rows and tokens of all corpora, by their weights; None if one is not known."""
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
        # Packing fills the sequences to the last hundredth.
        sequences = tokens / self.settings.max_length if self.settings.packing else 0.0
        return TextAmount(rows, tokens, sequences=sequences)

    @property
    def weights(self) -> list[float]:
        """The weight of each corpus."""
        return self.settings.weights or [1.0] * len(self.settings.train)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Tokenize the rows of each unit; unit 0 also brings the tokenizer."""
        from transformers import AutoTokenizer

        from hala_hpc.engines.training.tokens.examples import ExampleMaker, supply_chat_template
        from hala_hpc.engines.training.tokens.names import TOKENIZER_FOLDER
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
        """Which rows are held out, and how often the others are learnt."""
        from hala_hpc.engines.training.tokens.rows import RowChoice

        return RowChoice(self.settings.seed, self.settings.held_out)

    def _chosen_pairs(self, out: UnitContext, unit: int) -> "PairChoice | None":
        """What becomes of each pair of all corpora; None when told to stop."""
        from hala_hpc.engines.training.tokens.pair_choice import choose_pairs

        file = out.folder(unit) / "pair-hashes"
        return choose_pairs(
            self.sources, self.choice, self.settings.units, file, lambda: out.stop_requested
        )

    def _rows(self, unit: int, choice: "PairChoice | None") -> "Iterator[TokenRow]":
        """The rows of a unit, of all corpora; pairs where a choice was made among them."""
        units = self.settings.units
        for number, source in enumerate(self.sources):
            if choice is None:
                yield from source.conversations(unit, units)
            else:
                yield from source.pairs(unit, units, choice.reasons(number, unit))

    @cached_property
    def sources(self) -> "list[TrainingCorpus]":
        """The corpora; the footers of all their shards are read once."""
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
            found.append(TrainingCorpus(CorpusIndex(folder), kind, weight, settings.prompt))
        return found

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Read the files back: every row of the corpora is in them once, or was refused."""
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
        """Gather the files of all units and write tokens.json; returns the counts."""
        from hala_hpc.engines.training.tokens.product import collect_token_units

        length, packing = self.settings.max_length, self.settings.packing
        return collect_token_units(markers, folders, output, length, packing)


def require_tokenizer(model: str) -> None:
    """Raise UserError (66) unless `model` is a folder with a tokenizer, a hub id or an `@node`."""
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
