"""The folder of a tokens product: check each unit, and collect all units."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import Field

from hala_hpc.core.errors import BAD_DATA, INTERNAL, UserError
from hala_hpc.core.files import link_tree
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.stage import UnitCounts
from hala_hpc.engines.models.files import copy_tokenizer
from hala_hpc.engines.training.tokens.names import (
    TOKENIZER_FACTS_FILE,
    TOKENIZER_FOLDER,
    TOKENS_FILE,
    TokenCounts,
    TokenFacts,
    TokenizerFacts,
)

#: Counts of each file.
COUNTED = ("rows", "sequences", "tokens", "loss_tokens")


@dataclass(frozen=True)
class UnitFiles:
    """The files of a unit."""

    folder: Path
    unit: int

    @property
    def train(self) -> Path:
        """Training sequences; absent if there are none."""
        return self.folder / f"part-{self.unit:05d}.arrow"

    @property
    def held_out(self) -> Path:
        """Held-out rows, never packed; absent if there are none."""
        return self.folder / f"held-out-{self.unit:05d}.arrow"

    @property
    def notes(self) -> Path:
        """Counts of the unit from its run."""
        return self.folder / f"notes-{self.unit:05d}.json"


class UnitNotes(JsonRecord):
    """`notes-00007.json`: the counts of a unit's run."""

    rows_in: int
    rows_repeated: int
    rejected: dict[str, int]
    lengths: dict[int, int]
    """Training examples by their number of tokens."""
    template_errors: dict[str, int] = Field(default_factory=dict)
    """Rows that the chat template refused, by its error."""


@dataclass
class UnitTally:
    """Counts of a unit during its run."""

    rows_in: int = 0
    rows_repeated: int = 0
    """Repetitions of rows whose corpus has a weight above 1."""
    rejected: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Training examples by their number of tokens."""
    template_errors: Counter[str] = field(default_factory=Counter)
    """Rows that the chat template refused, by its error."""

    def write(self, path: Path) -> None:
        """Write the counts for the check and the collection of units."""
        UnitNotes(
            rows_in=self.rows_in,
            rows_repeated=self.rows_repeated,
            rejected={reason: number for reason, number in self.rejected.items() if number},
            template_errors=dict(self.template_errors),
            lengths={length: self.lengths[length] for length in sorted(self.lengths)},
        ).write(path)


def read_notes(files: UnitFiles) -> UnitNotes:
    """Read the counts of a unit. Raises: UserError (INTERNAL) if the file is missing."""
    notes = UnitNotes.read(files.notes)
    if notes is None:
        raise UserError(f"{files.notes} is missing: a defect", INTERNAL)
    return notes


def check_token_unit(files: UnitFiles, max_length: int) -> UnitCounts:
    """Read the files of a unit back and count them.

    Raises: UserError (INTERNAL) if an example is missing, extra or too long.
    """
    notes = read_notes(files)
    train, examples = count_or_zeros(files.train)
    held_out, _ = count_or_zeros(files.held_out)
    if dict(examples) != notes.lengths:
        raise UserError(f"{files.train} does not contain the examples that were written", INTERNAL)
    if max(examples, default=0) > max_length:
        raise UserError(f"{files.train} has an example of {max(examples)} tokens", INTERNAL)
    return UnitCounts(
        rows_in=notes.rows_in,
        rows_out=train["rows"] + held_out["rows"],
        rows_rejected=sum(notes.rejected.values()),
        rejected=notes.rejected,
        tokens_out=train["tokens"] + held_out["tokens"],
        details={
            **{name: train[name] for name in COUNTED},
            **{f"held_out_{name}": held_out[name] for name in COUNTED},
            "rows_repeated": notes.rows_repeated,
            "largest_token": max(train["largest_token"], held_out["largest_token"]),
        },
    )


def count_or_zeros(path: Path) -> tuple[dict[str, int], Counter[int]]:
    """Return the counts of a token file; zeros if a unit has none."""
    from hala_hpc.engines.training.tokens.files import count_token_file

    if path.exists():
        return count_token_file(path)
    return {**dict.fromkeys(COUNTED, 0), "largest_token": -1}, Counter()


def collect_token_units(
    markers: list[UnitMarker], folders: list[Path], output: Path, max_length: int, packing: bool
) -> dict[str, Any]:
    """Collect the files of all units and write tokens.json; return the figures of the summary.

    `max_length` and `packing` are recorded for the trainer.

    Raises: UserError (BAD_DATA) if no row is left.
    """
    counts = [TokenCounts.model_validate(marker.details) for marker in markers]
    whole = add_up(counts)
    if not whole.rows:
        raise UserError(describe_empty_result(markers, whole.held_out_rows), BAD_DATA)
    lengths: Counter[int] = Counter()
    for unit, folder in enumerate(folders):
        link_tree(folder, output)
        lengths.update(read_notes(UnitFiles(folder, unit)).lengths)
    tokenizer = TokenizerFacts.read(folders[0] / TOKENIZER_FOLDER / TOKENIZER_FACTS_FILE)
    assert tokenizer is not None, folders[0]
    places = [UnitFiles(Path(), unit) for unit in range(len(markers))]
    parts = list(zip(places, counts, strict=True))
    facts = TokenFacts(
        **whole.to_values(),
        **tokenizer.to_values(),
        max_length=max_length,
        packing=packing,
        length_p50=percentile(lengths, 0.5),
        length_p95=percentile(lengths, 0.95),
        length_max=max(lengths),
        fill=round(whole.tokens / (whole.sequences * max_length), 5) if packing else None,
        parts=tuple(place.train.name for place, unit in parts if unit.sequences),
        held_out_parts=tuple(
            place.held_out.name for place, unit in parts if unit.held_out_sequences
        ),
    )
    facts.write(output / TOKENS_FILE)
    return facts.model_dump(mode="json", exclude={"parts", "held_out_parts"})


def add_up(counts: list[TokenCounts]) -> TokenCounts:
    """Return the sum of the counts of all units."""
    added = TokenCounts.model_fields.keys() - {"largest_token"}
    sums = {name: sum(getattr(one, name) for one in counts) for name in added}
    return TokenCounts(**sums, largest_token=max(one.largest_token for one in counts))


def describe_empty_result(markers: list[UnitMarker], held_out: int) -> str:
    """Describe why there are no training rows."""
    reasons = sum((Counter(marker.rejected) for marker in markers), Counter[str]())
    rows_in = sum(marker.rows_in for marker in markers)
    return (
        f"no row is left to train on: {rows_in} read, rejected {dict(reasons)}, held out {held_out}"
    )


def percentile(examples: Counter[int], share: float) -> int:
    """Return the length that this share of the examples does not exceed."""
    wanted, counted = share * examples.total(), 0
    for length in sorted(examples):
        counted += examples[length]
        if counted >= wanted:
            return length
    return 0


def copy_tokenizer_with_template(model: Path, folder: Path, tokenizer: Any, supplied: bool) -> None:
    """Copy the tokenizer of a model, with the chat template if one was supplied to it."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(model, folder)
    # That file belongs to the model; transformers reads the kind of tokenizer from the config.
    (folder / "generation_config.json").unlink(missing_ok=True)
    if (model / "config.json").is_file():
        shutil.copyfile(model / "config.json", folder / "config.json")
    if supplied:
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    facts = TokenizerFacts(vocabulary=vocabulary_digest(tokenizer), template_supplied=supplied)
    facts.write(folder / TOKENIZER_FACTS_FILE)


def vocabulary_digest(tokenizer: Any) -> str:
    """Return a hash of all tokens and their ids, 32 hexadecimal digits."""
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    digest = blake2b(digest_size=16)
    for token, number in tokens:
        digest.update(f"{number} {token}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()
