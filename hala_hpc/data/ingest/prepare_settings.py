"""Settings of prepare: what is read, as what, which rows are left out and searched for."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import FilesRef, OneOrMany, RowsRef, StageSettings
from hala_hpc.data.ingest.code_rows import CodeRows
from hala_hpc.data.ingest.damage_settings import Damage, RowSample
from hala_hpc.data.ingest.quality_settings import Finding, NearDuplicates, RowRules

if TYPE_CHECKING:
    # Imported where jobs use them: a dry run loads this file only for its settings.
    from hala_hpc.data.ingest.adapt import RowFormat
    from hala_hpc.data.readers.sources import DatasetSelection

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


class PrepareSettings(StageSettings):
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
    def languages_of_field(self) -> "PrepareSettings":
        """Require only_languages if language_field is set."""
        if self.language_field and not self.only_languages:
            raise ValueError("language_field is set without only_languages; set both or neither")
        return self

    @model_validator(mode="after")
    def one_domain(self) -> "PrepareSettings":
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
