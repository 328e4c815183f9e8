"""prepare: make a corpus of Parquet shards of files, folders and data sets of the hub."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import link_tree
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import FilesRef, StageSettings
from hala_hpc.core.stage import Facts, Out, Stage
from hala_hpc.data.corpus import part_kind, part_name, part_note, rejected_name
from hala_hpc.data.corpus_writer import GROUP_CHARACTERS
from hala_hpc.data.intake import Shape, Taken, intake
from hala_hpc.data.peek import peek
from hala_hpc.data.shard import Shard, read_back
from hala_hpc.data.sources import Choice, sources

#: Characters that all shards of a job hold together before they write: a few GB as objects.
HELD_CHARACTERS = 200_000_000
#: Rows between two looks at the clock and at the wish to stop.
STEP_ROWS = 500
#: Rejections that the user asked for, which tell nothing of the quality of the data.
WANTED = {"duplicate", "code", "dropped"}
INPUT_ROWS = "hala.input_rows"
Code = Annotated[str, Field(pattern=r"^[a-z]{2,3}([-_][A-Za-z0-9]+)*$")]


class Settings(StageSettings):
    """Settings of prepare."""

    data: list[FilesRef]
    """Files or folders of JSONL, JSON, CSV or Parquet, hub ids, or `@node/path`; read in order."""
    rows: Literal["auto", "alpaca", "sharegpt", "messages", "openorca", "opus"] = "auto"
    """Shape of the rows; auto tells it from the fields of the first rows of each file."""
    split: str | None = None
    """Split of a folder or hub id; without one a folder is read whole, of a hub id `train`."""
    subset: str | None = None
    """Configuration of a hub id, or subfolder of a folder, e.g. `ar-en`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id; without one the newest."""
    languages: tuple[Code, Code] = ("en", "ar")
    """Source and target of OPUS rows, as their fields name them."""
    limit: PositiveInt | None = None
    """Rows that are read at most, from the start of the data."""
    units: Annotated[int, Field(ge=1, le=256)] = 8
    """Shards that are written. A row's content decides its shard."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Fail above this share of bad rows; duplicates and dropped rows are not bad."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Fields with other names than the row shape has, e.g. `problem = "instruction"`."""
    drop: dict[str, list[str]] = Field(default_factory=dict)
    """Reject rows of which a field (before renaming) has one of these values."""
    drop_code: bool = False
    """Reject rows with a fenced block of code, as the paper does with Hermes."""
    resources: Resources = Resources(cpus_per_rank=2, mem_gb=16)
    """What each job gets. Every worker reads the whole input, so one is enough for most."""

    @field_validator("data", mode="before")
    @classmethod
    def one_or_many(cls, value: Any) -> Any:
        """A single word is a list of one."""
        return [value] if isinstance(value, str) else value

    @field_validator("data")
    @classmethod
    def not_empty(cls, value: list[str]) -> list[str]:
        """Some data must be named."""
        if not value or not all(value):
            raise ValueError("names no data; give a file, a folder, a hub id or `@node/path`")
        return value

    @field_validator("languages")
    @classmethod
    def two_languages(cls, value: tuple[str, str]) -> tuple[str, str]:
        """Source and target must differ."""
        if value[0] == value[1]:
            raise ValueError(f"source and target are both {value[0]!r}; give two, e.g. en,ar")
        return value

    @property
    def shape(self) -> Shape:
        """How rows are to be read."""
        return Shape(self.rows, self.languages, self.rename, self.drop, self.drop_code)

    @property
    def choice(self) -> Choice:
        """Which part of the data is meant."""
        return Choice(self.split, self.subset, self.revision)


class Prepare(Stage[Settings]):
    """Units are shards; a row goes to one by its content, so equal rows meet in one."""

    name = "prepare"
    produces = "corpus"
    Settings = Settings

    def plan(self) -> int:
        """A unit for each shard."""
        return self.settings.units

    def preflight(self) -> list[str]:
        """Look into local files: are they there, have they rows, and of one kind."""
        mistakes, codes, kinds = [], [], {}
        for word in self.settings.data:
            if word.startswith("@"):
                continue
            path = self.inputs.path(word)
            try:
                kinds[word] = peek(str(Path(path).expanduser()), *self._view)
            except UserError as error:
                mistakes += error.mistakes
                codes.append(error.code)
        if mistakes:
            raise UserError(mistakes, codes[0])
        if len(set(kinds.values()) - {None}) > 1:
            listing = ", ".join(f"{word} holds {kind}" for word, kind in kinds.items() if kind)
            raise UserError(f"data mixes kinds of rows: {listing}; make a node for each", BAD_DATA)
        return []

    @property
    def _view(self) -> tuple[Choice, Shape]:
        return self.settings.choice, self.settings.shape

    def run(self, units: Sequence[int], out: Out) -> None:
        """Read the input once and write the shards of the given units."""
        rows = self._rows()
        first = next(rows)
        size = min(HELD_CHARACTERS // len(units), GROUP_CHARACTERS)
        with ExitStack() as stack:
            shards = {
                unit: stack.enter_context(Shard(out.folder(unit), unit, first.kind, size))
                for unit in units
            }
            totals = self._fill(shards, chain([first], rows), out)
            for shard in shards.values():
                shard.writer.note(INPUT_ROWS, str(totals.total()))
        if not out.stop:
            self._require_good(totals, units, out)
        for unit in units:
            if out.stop:
                return
            out.commit(unit)

    def _rows(self) -> Iterator[Taken]:
        """The rows that are asked for. Raises UserError 65 when there are none."""
        found = [
            source
            for word in self.settings.data
            for source in sources(self.inputs.path(word), self.settings.choice)
        ]
        empty = True
        for taken in islice(intake(found, self.settings.shape), self.settings.limit):
            empty = False
            yield taken
        if empty:
            named = ", ".join(self.settings.data)
            raise UserError(f"data {named}: is empty, there are no rows to prepare", BAD_DATA)

    def _fill(self, shards: dict[int, Shard], rows: Iterator[Taken], out: Out) -> Counter[str]:
        """Give each row to its shard; count all rows by reason, the good ones under ''."""
        totals: Counter[str] = Counter()
        for number, taken in enumerate(rows, start=1):
            totals[taken.reason] += 1
            shard = shards.get(taken.unit(self.settings.units))
            if shard is not None:
                shard.add(taken)
            if number % STEP_ROWS == 0:
                out.progress(rows=number)
                if out.stop:
                    break
        out.progress(rows=totals.total())
        return totals

    def _require_good(self, totals: Counter[str], units: Sequence[int], out: Out) -> None:
        """Raise UserError 65 when too many rows cannot be used; the rejected ones are kept."""
        bad = {word: count for word, count in totals.most_common() if word not in {"", *WANTED}}
        share = sum(bad.values()) / totals.total()
        if totals[""] and share <= self.settings.max_rejected_fraction:
            return
        for unit in units:
            name = rejected_name(unit)
            shutil.copyfile(out.folder(unit) / name, out.kept(unit) / name)
        reasons = ", ".join(f"{word} {totals[word]}" for word in totals if word)
        raise UserError(
            f"data: {totals.total() - totals['']} of {totals.total()} rows are rejected "
            f"({reasons}), max_rejected_fraction is {self.settings.max_rejected_fraction}; they "
            f"are kept in {out.kept(units[0]) / rejected_name(units[0])} and beside; mend the "
            "data, or raise max_rejected_fraction to go on without them",
            BAD_DATA,
        )

    def check(self, unit: int, folder: Path) -> Facts:
        """Read back both files: every row is what its id says, none is missing."""
        part = folder / part_name(unit)
        rows_in, rows_out, rejected = read_back(folder, unit)
        return Facts(
            rows_in=rows_in,
            rows_out=rows_out,
            rows_rejected=sum(rejected.values()),
            rejected=rejected,
            details={"kind": part_kind(part), "input_rows": int(part_note(part, INPUT_ROWS))},
        )

    def collect(self, marks: list[dict[str, Any]], folders: list[Path], output: Path) -> Any:
        """Put the shards beside each other. Raises UserError 65 when workers read other data."""
        rows = sum(mark["rows_in"] for mark in marks)
        seen = {mark["details"]["input_rows"] for mark in marks}
        if seen != {rows}:
            raise UserError(
                f"data: the shards hold {rows} rows, but workers counted "
                f"{' and '.join(map(str, sorted(seen)))} in the input: it was changed while it was "
                "read; launch the same line to prepare what it is now",
                BAD_DATA,
            )
        for folder in folders:
            link_tree(folder, output)
        return {"kind": marks[0]["details"]["kind"], "input_rows": rows}


STAGE = Prepare
