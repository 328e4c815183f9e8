"""prepare: convert files, folders and hub data sets to a corpus of Parquet shards."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, TextAmount, format_amount
from hala_hpc.core.files import link_tree
from hala_hpc.core.hub import fetched_folder, is_hub_id, parse_hub_reference
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.rehearsal import ROWS, cap_setting
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import part_kind, part_name, read_part_note
from hala_hpc.data.ingest.prepare_settings import PrepareSettings

if TYPE_CHECKING:
    from hala_hpc.data.corpus.reader import Kind

#: Messages per conversation, for estimates: a question and its answer. Long ones have more.
MESSAGES_PER_ROW = 2.0


class Prepare(Stage[PrepareSettings]):
    """A unit is a shard. Every worker decides alike about all rows, and writes its own shards."""

    name = "prepare"
    version = 6
    produces = "corpus"
    Settings = PrepareSettings

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
        from hala_hpc.data.ingest.prepare_corpus import CorpusMaker

        CorpusMaker(self.settings, self.inputs.path).run(units, out)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Read both files back: every row matches its id, and none is missing."""
        from hala_hpc.data.ingest.prepare_corpus import (
            DAMAGED,
            FILES,
            INPUT_DIGEST,
            INPUT_ROWS,
            QUALITY,
        )
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


STAGE = Prepare
