"""prepare: convert files, folders and hub data sets to a corpus of Parquet shards."""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, TextAmount, format_amount
from hala_hpc.core.files import link_tree
from hala_hpc.core.hub import fetched_folder, is_hub_id, parse_hub_reference
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.rehearsal import ROWS, cap_setting
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import FilesRef, OneOrMany, RowsRef, StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import part_kind, part_name, read_part_note, rejected_name
from hala_hpc.data.ingest.code_rows import CodeRows
from hala_hpc.data.ingest.damage_settings import Damage, RowSample
from hala_hpc.data.ingest.quality_settings import (
    Finding,
    NearDuplicates,
    QualitySearches,
    RowRules,
)

if TYPE_CHECKING:
    # Imported where jobs use them: a dry run loads this file only for its settings.
    from hala_hpc.data.corpus.reader import Kind
    from hala_hpc.data.ingest.adapt import RowFormat
    from hala_hpc.data.ingest.contamination import SearchedBenchmark
    from hala_hpc.data.ingest.shard_plan import ShardPlan
    from hala_hpc.data.ingest.spill import SpilledSplit, SplitTask
    from hala_hpc.data.readers.sources import DatasetSelection

#: Messages per conversation, for estimates: a question and its answer. Long ones have more.
MESSAGES_PER_ROW = 2.0
INPUT_ROWS = "hala.input_rows"
INPUT_DIGEST = "hala.input"
FILES = "hala.files"
QUALITY = "hala.quality"
DAMAGED = "hala.damaged"
#: Files that are not read and that the summary names.
LISTED_FILES = 100
#: As in `data/readers/turns.py`, which jobs alone need.
Role = Literal["system", "user", "assistant", "tool"]
ToolUse = Literal["keep", "reject"]
Code = Annotated[str, Field(pattern=r"^[a-z]{2,3}([-_][A-Za-z0-9]+)*$")]


def check_encoding(value: str) -> str:
    """Require the name of an encoding that Python knows."""
    import codecs

    try:
        "".encode(codecs.lookup(value).name if value else "utf-8")
    except LookupError:
        raise ValueError(f"unknown encoding {value!r}; give one such as cp1256 or utf-16") from None
    return value


def format_dropped(value: Any) -> Any:
    """Format a number, `true` or `false` as the text that rows are compared with."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Encoding = Annotated[str, AfterValidator(check_encoding)]
DroppedValue = Annotated[str, BeforeValidator(format_dropped)]


class Settings(StageSettings):
    """Settings of prepare."""

    data: OneOrMany[RowsRef]
    """Files or folders of JSON, CSV, TSV, Parquet or Arrow (docs/data.md), hub ids (`owner/name`,
    or with a branch, tag or commit `owner/name@revision`), `@node/path`, or `@node` of a corpus;
    read in this order."""
    rows: Literal["auto", "alpaca", "sharegpt", "messages", "openorca", "prompt", "opus"] = "auto"
    """Row format; auto detects it from the fields of the first rows of each file."""
    split: str | None = None
    """Split of a folder or hub id; unset reads all of a folder, and `train` of a hub id."""
    subset: str | None = None
    """Configuration of a hub id, or subfolder of a folder, for example `ar-en`."""
    languages: tuple[Code, Code] = ("en", "ar")
    """Source and target language of OPUS rows, named as in their fields."""
    encoding: Encoding = ""
    """Encoding of text files, for example `cp1256`; empty takes UTF-16 and UTF-32 from the first
    bytes, and UTF-8 otherwise."""
    separator: Annotated[str, Field(max_length=1)] = ""
    """Separator of CSV and TSV; empty finds `,`, `;`, tab or `|` in the first line."""
    quoting: Literal["auto", "csv", "none"] = "auto"
    """Quotation marks of CSV and TSV. csv: undone; none: part of the text; auto: undone in CSV,
    and in TSV where doubled ones or a quoted first line show that they were added."""
    limit: PositiveInt | None = None
    """Max rows to read, from the start of the data."""
    units: Annotated[int, Field(ge=1, le=256)] = 8
    """Number of shards, of equal length: each row goes to the shortest shard so far."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Fail if a larger fraction of the rows is bad. Duplicates, dropped rows and rows that
    `tool_use` leaves out do not count as bad."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Fields to rename to those of the row format, for example `problem = "instruction"`."""
    role_names: dict[str, Role] = Field(default_factory=dict)
    """Roles of turns whose names are not known, for example `narrator = "system"`; also changes
    those that are known (docs/data.md)."""
    tool_use: ToolUse = "keep"
    """keep: calls and results of tools stay in their turns, for the chat template; reject: leave
    out conversations that have any."""
    drop: dict[str, list[DroppedValue]] = Field(default_factory=dict)
    """Reject rows whose field (named as before `rename`) has one of these values: texts, numbers,
    `true` or `false`. A number is equal to its text."""
    drop_code: CodeRows = "no"
    """fenced: reject rows with a fenced code block; only: rows whose answers are only code."""
    only_languages: OneOrMany[Code] = Field(default_factory=list)
    """Reject rows in languages other than these, for example `en`. The language is taken from
    `language_field`; otherwise a row is rejected if one of its first messages, or the source of a
    pair, is certainly in none of them."""
    language_field: str = ""
    """Column (named as before `rename`) with the language code of a row, for example `lang`. If the
    value is not an ISO 639 code (`en`, `pt-BR`), the language is detected from the texts."""
    rules: RowRules = RowRules()
    """Cheap rules about answers and repeated rows: `off`, `count` or `reject` each."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """Rows that are nearly equal to an earlier one, by MinHash: the min similarity, for example
    `0.8`, or a table; 0 does not search."""
    contamination: OneOrMany[FilesRef] = Field(default_factory=list)
    """Benchmarks: files, folders, hub ids or `@node/path`. Rows that share `contamination_ngram`
    consecutive words with a text in any of their fields are found."""
    contamination_split: str | None = None
    """Split of the benchmarks, for example `test`; unset reads all their files."""
    contamination_ngram: Annotated[int, Field(ge=5, le=50)] = 13
    """Number of consecutive words, without case and punctuation, that a row must share. Texts of
    benchmarks with fewer words are not searched."""
    contamination_action: Finding = "reject"
    """reject: reject the rows that are found; count: only count and list them."""
    sample: RowSample = RowSample()
    """Equal sizes for the arms of an experiment: a sample of the accepted rows by seed. The other
    rows are rejected as `not-sampled`."""
    damage: Damage = Damage()
    """Faults that are put into a share of the translations, to measure how good they have to be:
    targets of pairs, answers of conversations. The summary counts the rows by kind."""
    domain_field: str = ""
    """Column (named as before `rename`) with the domain of a row, which becomes the column
    `domain` of the corpus: scores of translations are then also shown by domain."""
    domain: str = ""
    """Domain of all rows, for data of a single one; not together with domain_field."""
    resources: Resources = Resources(cpus_per_rank=4, mem_gb=8)
    """Resources of each job. Every worker reads the whole input, so one is usually enough."""

    @field_validator("drop_code", mode="before")
    @classmethod
    def yes_or_no(cls, value: Any) -> Any:
        """`true` in a recipe means `fenced`."""
        return {True: "fenced", False: "no"}[value] if isinstance(value, bool) else value

    @field_validator("data")
    @classmethod
    def not_empty(cls, value: list[str]) -> list[str]:
        """Require at least one entry, and no empty one."""
        if not value or not all(value):
            raise ValueError("names no data; give a file, a folder, a hub id or `@node/path`")
        return value

    @field_validator("languages")
    @classmethod
    def two_languages(cls, value: tuple[str, str]) -> tuple[str, str]:
        """Require that source and target differ."""
        if value[0] == value[1]:
            raise ValueError(f"source and target are both {value[0]!r}; give two, e.g. en,ar")
        return value

    @field_validator("only_languages")
    @classmethod
    def known_languages(cls, value: list[str]) -> list[str]:
        """Require codes of languages that can be detected."""
        from hala_hpc.data.text.scripts import known_codes, primary_subtag

        for code in value:
            if primary_subtag(code) not in known_codes():
                raise ValueError(f"unknown language code {code!r}; give codes such as en, fr, ar")
        return value

    @field_validator("contamination")
    @classmethod
    def no_empty_name(cls, value: list[str]) -> list[str]:
        """Require that no entry is empty."""
        if not all(value):
            raise ValueError("has an empty name; give a file, a folder, a hub id or `@node/path`")
        return value

    @model_validator(mode="after")
    def languages_of_field(self) -> "Settings":
        """Require only_languages if language_field is set."""
        if self.language_field and not self.only_languages:
            raise ValueError("language_field is set without only_languages; set both or neither")
        return self

    @model_validator(mode="after")
    def one_domain(self) -> "Settings":
        """Require that not both domain and domain_field are set."""
        if self.domain and self.domain_field:
            raise ValueError("domain and domain_field are both set; give one of them")
        return self

    @property
    def shape(self) -> "RowFormat":
        """How to adapt the rows."""
        from hala_hpc.data.ingest.adapt import RowFormat
        from hala_hpc.data.ingest.row_language import WantedLanguages
        from hala_hpc.data.readers.turns import TurnRules

        wanted = WantedLanguages(tuple(self.only_languages), self.language_field)
        return RowFormat(
            self.rows,
            self.languages,
            self.rename,
            self.drop,
            self.drop_code,
            wanted,
            TurnRules(self.role_names, self.tool_use),
            self.damage,
            self.domain,
            self.domain_field,
        )

    @property
    def selection(self) -> "DatasetSelection":
        """The split and subset to read."""
        from hala_hpc.data.readers.sources import DatasetSelection
        from hala_hpc.data.readers.text_files import TextFormat

        text_format = TextFormat(self.encoding, self.separator, self.quoting)
        return DatasetSelection(self.split, self.subset, text_format)

    @property
    def benchmark_selection(self) -> "DatasetSelection":
        """The files of the benchmarks in `contamination` to read: of all subsets."""
        from hala_hpc.data.readers.sources import DatasetSelection

        return DatasetSelection(self.contamination_split)


class Prepare(Stage[Settings]):
    """A unit is a shard. Every worker decides alike about all rows, and writes its own shards."""

    name = "prepare"
    version = 6
    produces = "corpus"
    Settings = Settings

    def plan(self) -> int:
        """One unit per shard."""
        return self.settings.units

    def preflight(self) -> list[str]:
        """Check that local files exist, have rows, and are all of one kind."""
        mistakes, codes = [], []
        kinds: dict[str, Kind | None] = {}
        for reference in self.settings.data:
            if reference.startswith("@"):
                continue
            if is_hub_id(reference):
                # The kind is known once rows are read, which a login node does not do.
                kinds[reference] = None
                continue
            try:
                kinds[reference] = self._kind_of(
                    str(Path(self.inputs.path(reference)).expanduser())
                )
            except UserError as error:
                mistakes += error.mistakes
                codes.append(error.code)
        for reference in self.settings.contamination:
            try:
                self._check_benchmark(reference)
            except UserError as error:
                mistakes += error.mistakes
                codes.append(error.code)
        if mistakes:
            raise UserError(mistakes, codes[0])
        if len(set(kinds.values()) - {None}) > 1:
            listing = ", ".join(
                f"{reference} holds {kind}" for reference, kind in kinds.items() if kind
            )
            raise UserError(f"data: mixed kinds of rows: {listing}; make a node per kind", BAD_DATA)
        return []

    def _check_benchmark(self, reference: str) -> None:
        """Check that the local files of a benchmark exist and that a reader knows them.

        Raises: UserError (NO_INPUT) or (BAD_DATA).
        """
        from hala_hpc.data.readers.sources import find_sources

        if reference.startswith("@") or is_hub_id(reference):
            return
        path = Path(self.inputs.path(reference)).expanduser()
        if not path.exists():
            raise UserError(
                f"contamination={reference}: there is no such file or folder (a hub id is written "
                "owner/name)",
                NO_INPUT,
            )
        find_sources(str(path), self.settings.benchmark_selection)

    def rehearsed(self) -> StageSettings:
        """The first rows of the data, in one shard."""
        limit = cap_setting(self.settings.limit, ROWS)
        # Half of the rows, as some are rejected; a sample of more rows than there are is an error.
        sample = self.settings.sample
        sample = sample.model_copy(update={"rows": min(sample.rows, ROWS // 2)})
        return self.settings.model_copy(update={"limit": limit, "units": 1, "sample": sample})

    def data_names(self, names: Sequence[str], card: str = "", reference: str = "") -> list[str]:
        """The files of a hub data set that belong to the subset and the split.

        Of a benchmark the files of `contamination_split`, or all.
        """
        from hala_hpc.data.readers.hub_files import select_benchmark_files, select_hub_files

        settings, found = self.settings, set()
        if reference in settings.contamination:
            found.update(select_benchmark_files(names, settings.contamination_split))
        if reference in settings.data or not found:
            found.update(select_hub_files(names, settings.selection, card))
        return sorted(found)

    def open_offline(self) -> list[str]:
        """Read the first row of each hub data set, as the job does."""
        from itertools import islice

        from hala_hpc.data.ingest.adapt import match_adapters
        from hala_hpc.data.readers.sources import find_sources

        mistakes = []
        for reference in self.settings.data:
            folder = fetched_folder("datasets", reference, os.environ)
            if folder is None:
                continue
            try:
                found = find_sources(str(folder), self.settings.selection, reference)
                for _, _, records in match_adapters(found, self.settings.shape):
                    list(islice(records, 1))
            except UserError as error:
                mistakes += error.mistakes
        for reference in self.settings.contamination:
            folder = fetched_folder("datasets", reference, os.environ)
            try:
                if folder is not None:
                    find_sources(str(folder), self.settings.benchmark_selection)
            except UserError as error:
                mistakes += error.mistakes
        return mistakes

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """Rows and tokens of files and data sets; the job needs no GPU."""
        size = inputs.size_bytes(self.settings.data)
        text, breakdown = inputs.corrected(self.expected(inputs)), ""
        if text and text.rows:
            breakdown = f"{format_amount(text.tokens / text.rows)} tokens per row"
        rows = text.rows if text else None
        return Estimate(Amount(text, None, size), hours_breakdown=breakdown, work=rows)

    def expected(self, inputs: EstimateInputs) -> TextAmount | None:
        """Rows and tokens of the data: from file sizes on disk, from a table for the hub."""
        settings, parts = self.settings, []
        for reference in settings.data:
            text = inputs.text(reference)
            if text is None and not reference.startswith("@"):
                name = parse_hub_reference(reference).name
                text = inputs.throughput.data_set(name, settings.split or "train")
            if text is None:
                return None
            parts.append(text)
        whole = TextAmount(sum(part.rows for part in parts), sum(part.source for part in parts))
        if settings.limit and settings.limit < whole.rows:
            whole = whole.times(settings.limit / whole.rows)
        if 0 < settings.sample.rows < whole.rows:
            whole = whole.times(settings.sample.rows / whole.rows)
        if settings.rows == "opus":
            return TextAmount(whole.rows, whole.source / 2, whole.source / 2)
        # With rows=auto it is unknown before reading whether the rows are conversations.
        return whole if settings.rows == "auto" else whole._replace(texts_of_row=MESSAGES_PER_ROW)

    def _kind_of(self, path: str) -> "Kind | None":
        """The kind of the rows at a path; None if unknown."""
        from hala_hpc.data.ingest.adapt import peek_kind

        return peek_kind(path, self.settings.selection, self.settings.shape)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Read the input once, decide about all rows, and write the shards of the units."""
        from concurrent.futures import ThreadPoolExecutor

        from hala_hpc.data.ingest.quality_report import count_damage, make_quality_report
        from hala_hpc.data.ingest.shard_plan import plan_shards
        from hala_hpc.data.ingest.spill import use_system_memory_pool

        units = list(units)
        use_system_memory_pool()
        with spill_folder(out.folder(units[0])) as folder:
            searches, benchmarks = self._searches(folder)
            splits = self._read(folder, searches, out)
            if out.stop_requested:
                return
            plan = plan_shards(splits, self.settings.units, folder, searches)
            notes = {
                FILES: json.dumps(self._list_files()),
                DAMAGED: json.dumps(
                    count_damage(plan, splits) if self.settings.damage.share else {}
                ),
                QUALITY: make_quality_report(plan.searches, benchmarks).model_dump_json(),
            }
            self._write({unit: out.folder(unit) for unit in units}, plan, splits, notes, out)
            rejections = plan.count_rejections()
        if not out.stop_requested:
            self._require_good(splits, rejections, units, out)
        # Threads, as a commit mostly waits for the disk.
        with ThreadPoolExecutor(2 * self._processors) as threads:
            list(threads.map(partial(commit_unless_stopped, out), units))

    @property
    def _processors(self) -> int:
        from hala_hpc.data.ingest.ordered_map import count_processors

        return count_processors(self.settings.resources.cpus_per_rank)

    def _searches(self, folder: Path) -> "tuple[QualitySearches, list[SearchedBenchmark]]":
        """What to search for in the rows; reads the benchmarks of `contamination`.

        Raises: UserError (NO_INPUT) for one of the hub that was not fetched, and as readers do.
        """
        from hala_hpc.data.ingest.contamination import IndexBuilder
        from hala_hpc.data.readers.sources import find_sources

        settings, builder = self.settings, IndexBuilder(self.settings.contamination_ngram)
        for reference in settings.contamination:
            path = Path(self.inputs.path(reference)).expanduser()
            if not path.exists():
                found = fetched_folder("datasets", reference, os.environ)
                if found is None:
                    raise UserError(
                        f"contamination={reference}: is not in the hub cache; run "
                        "`python -m hala_hpc.fetch` with the arguments of the launch",
                        NO_INPUT,
                    )
                path = found
            builder.add(reference, find_sources(str(path), settings.benchmark_selection))
        index = folder / "contamination" if builder.searched else None
        if index is not None:
            builder.save(index)
        near, action = settings.near_duplicates, settings.contamination_action
        found = QualitySearches(settings.rules, near, index, action, settings.sample)
        return found, builder.searched

    def _read(
        self, folder: Path, searches: QualitySearches, out: UnitContext
    ) -> "list[SpilledSplit]":
        """Read and adapt all rows up to `limit`.

        Raises: UserError (BAD_DATA) if there are none.
        """
        from hala_hpc.data.ingest.named_fields import NamedFields
        from hala_hpc.data.ingest.ordered_map import map_in_order
        from hala_hpc.data.ingest.spill import spill_split

        splits: list[SpilledSplit] = []
        rows, limit = 0, self.settings.limit or sys.maxsize
        for split in map_in_order(
            spill_split, self._split_tasks(folder, searches), self._processors
        ):
            if split.rows:
                splits.append(split if rows + split.rows <= limit else split.cut(limit - rows))
                rows += splits[-1].rows
            out.report_progress(rows=rows)
            if out.stop_requested or rows == limit:
                break
        if not splits and not out.stop_requested:
            names = ", ".join(self.settings.data)
            raise UserError(f"data {names}: no rows; give data that has rows", BAD_DATA)
        if not out.stop_requested:
            named = NamedFields()
            named.merge(split.named for split in splits)
            named.require_all(self.settings.shape, is_whole=rows < limit)
        return splits

    def _split_tasks(self, folder: Path, searches: QualitySearches) -> "Iterator[SplitTask]":
        """The splits of the input, in order."""
        from hala_hpc.data.ingest.adapt import match_adapters
        from hala_hpc.data.ingest.spill import SplitTask
        from hala_hpc.data.ingest.splits import split_source
        from hala_hpc.data.readers.sources import find_sources

        found = [
            source
            for reference in self.settings.data
            for place in input_places(self.inputs.path(reference), reference)
            for source in find_sources(place, self.settings.selection, reference)
        ]
        shape, number = self.settings.shape, count()
        for source, adapter, records in match_adapters(found, shape):
            for split in split_source(source, records):
                file = folder / f"{next(number):06d}.arrow"
                yield SplitTask(
                    split, source.where, source.origin, adapter.name, shape, file, searches
                )

    def _list_files(self) -> dict[str, Any]:
        """The number of files that are read and, with names and reasons, of those that are not."""
        from hala_hpc.data.readers.sources import find_contents

        contents = [
            find_contents(place, self.settings.selection, reference)
            for reference in self.settings.data
            for place in input_places(self.inputs.path(reference), reference)
        ]
        unread = [f"{each.path} ({each.reason})" for content in contents for each in content.unread]
        return {
            "files_read": sum(len(content.files) for content in contents),
            "files_unread": len(unread),
            "unread": unread[:LISTED_FILES],
        }

    def _write(
        self,
        folders: dict[int, Path],
        plan: "ShardPlan",
        splits: "list[SpilledSplit]",
        notes: dict[str, str],
        out: UnitContext,
    ) -> None:
        """Write the two files of each unit."""
        from hala_hpc.data.ingest.shard_writer import Shards, write_shards
        from hala_hpc.data.ingest.verify import PLANNED, ROWS_IN

        with Shards(folders, splits, self.settings.units, self._processors) as shards:
            write_shards(shards, plan, splits, lambda: out.stop_requested)
            for unit, shard in shards.shards.items():
                shard.writer.note(ROWS_IN, str(plan.rows_in[unit]))
                shard.writer.note(PLANNED, plan.checksums[unit])
                shard.writer.note(INPUT_ROWS, str(len(plan.assignments)))
                shard.writer.note(INPUT_DIGEST, plan.digest)
                for name, value in notes.items():
                    shard.writer.note(name, value)

    def _require_good(
        self,
        splits: "list[SpilledSplit]",
        rejections: "Counter[str]",
        units: list[int],
        out: UnitContext,
    ) -> None:
        """Check the fraction of bad rows; on failure store the rejected rows of each unit.

        `rejections`: the readable rows that the plan rejects, by reason.

        Raises: UserError (BAD_DATA) if there are too many, or if no row is left.
        """
        from hala_hpc.data.ingest.adapt import EXPECTED_REASONS, hint_for_reasons

        totals: Counter[str] = Counter()
        for split in splits:
            totals.update(split.reasons)
        totals.update(rejections)
        totals[""] -= rejections.total()
        bad = {
            reason: count
            for reason, count in totals.most_common()
            if reason not in {"", *EXPECTED_REASONS}
        }
        share = sum(bad.values()) / totals.total()
        if totals[""] and share <= self.settings.max_rejected_fraction:
            return
        for unit in units:
            name = rejected_name(unit)
            shutil.copyfile(out.folder(unit) / name, out.state_dir(unit) / name)
        reasons = ", ".join(f"{reason} {totals[reason]}" for reason in totals if reason)
        fix = "fix the data"
        if totals[""]:
            fix += ", or raise max_rejected_fraction to leave these rows out"
        raise UserError(
            f"max_rejected_fraction={self.settings.max_rejected_fraction}: "
            f"{totals.total() - totals['']} of {totals.total()} rows are rejected ({reasons}); "
            f"see {out.state_dir(units[0]) / rejected_name(units[0])} and the files next to it; "
            f"{fix}{hint_for_reasons(set(bad))}",
            BAD_DATA,
        )

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Read both files back: every row matches its id, and none is missing."""
        from hala_hpc.data.ingest.verify import verify_shard

        part = folder / part_name(unit)
        found = verify_shard(folder, unit)
        input_rows, digest = read_part_note(part, INPUT_ROWS), read_part_note(part, INPUT_DIGEST)
        return UnitCounts(
            rows_in=found.rows_in,
            rows_out=found.rows_out,
            rows_rejected=sum(found.rejected.values()),
            rejected=found.rejected,
            details={
                "kind": part_kind(part),
                "input_rows": int(input_rows),
                "input": digest,
                **json.loads(read_part_note(part, FILES)),
                "quality": json.loads(read_part_note(part, QUALITY)),
                "damaged": json.loads(read_part_note(part, DAMAGED) or "{}"),
            },
        )

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Gather the shards of all units.

        Raises: UserError (BAD_DATA) if workers read different data.
        """
        rows = sum(marker.rows_in for marker in markers)
        counts = {marker.details["input_rows"] for marker in markers}
        digests = {marker.details["input"] for marker in markers}
        if counts != {rows} or len(digests) > 1:
            raise UserError(
                f"data: the shards hold {rows} rows, but workers counted "
                f"{' and '.join(map(str, sorted(counts)))} in the input: it changed while it was "
                "read; run the same command again to prepare the changed data",
                BAD_DATA,
            )
        for folder in folders:
            link_tree(folder, output)
        details = markers[0].details
        return {
            "kind": details["kind"],
            "input_rows": rows,
            "files_read": details["files_read"],
            "files_unread": details["files_unread"],
            "unread": details["unread"],
            "quality": details["quality"],
            "damaged": details["damaged"],
        }


def input_places(path: str, reference: str) -> list[str]:
    """The places that are read for an entry of `data`: of a node's corpus its shards alone.

    Rows that the node rejected are in a folder beside the shards.
    """
    parts = sorted(Path(path).glob("part-*.parquet")) if reference.startswith("@") else []
    return [str(part) for part in parts] or [path]


def commit_unless_stopped(out: UnitContext, unit: int) -> None:
    """Commit a unit, unless the job must stop."""
    if not out.stop_requested:
        out.commit(unit)


@contextmanager
def spill_folder(folder: Path) -> Iterator[Path]:
    """Make a temporary folder for rows that exceed memory; it may become as large as the data."""
    spill = folder / "spill"
    spill.mkdir()
    try:
        yield spill
    finally:
        shutil.rmtree(spill)


STAGE = Prepare
