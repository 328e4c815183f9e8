"""Make a corpus of the input: read and spill all rows, decide about them, write the shards.

Every worker decides alike about all rows, and writes the shards of its own units.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.hub import fetched_folder
from hala_hpc.core.stage import UnitContext
from hala_hpc.data.corpus.reader import rejected_name
from hala_hpc.data.ingest.adapt import EXPECTED_REASONS, hint_for_reasons, match_adapters
from hala_hpc.data.ingest.contamination import IndexBuilder, SearchedBenchmark
from hala_hpc.data.ingest.named_fields import NamedFields
from hala_hpc.data.ingest.ordered_map import count_processors, map_in_order
from hala_hpc.data.ingest.prepare_settings import PrepareSettings
from hala_hpc.data.ingest.quality_report import count_damage, make_quality_report
from hala_hpc.data.ingest.quality_settings import QualitySearches
from hala_hpc.data.ingest.shard_plan import ShardPlan, plan_shards
from hala_hpc.data.ingest.shard_writer import Shards, write_shards
from hala_hpc.data.ingest.spill import (
    SpilledSplit,
    SplitTask,
    spill_split,
    use_system_memory_pool,
)
from hala_hpc.data.ingest.splits import split_source
from hala_hpc.data.ingest.verify import PLANNED, ROWS_IN
from hala_hpc.data.readers.sources import find_contents, find_sources

#: Keys of the notes in each shard: rows and digest of the whole input, files, searches.
INPUT_ROWS = "hala.input_rows"
INPUT_DIGEST = "hala.input"
FILES = "hala.files"
QUALITY = "hala.quality"
DAMAGED = "hala.damaged"
#: Files that are not read and that the summary names.
LISTED_FILES = 100


class CorpusMaker:
    """Makes the shards of some units; `path_of` gives the path of an entry of `data`."""

    def __init__(self, settings: PrepareSettings, path_of: Callable[[str], str]) -> None:
        self.settings, self.path_of = settings, path_of

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Read the input once, decide about all rows, and write the shards of the units."""
        units = list(units)
        use_system_memory_pool()
        with spill_folder(out.folder(units[0])) as folder:
            searches, benchmarks = self._make_searches(folder)
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
        return count_processors(self.settings.resources.cpus_per_rank)

    def _make_searches(self, folder: Path) -> tuple[QualitySearches, list[SearchedBenchmark]]:
        """Return what to search for in the rows; reads the benchmarks of `contamination`.

        Raises: UserError (NO_INPUT) for one of the hub that was not fetched, and as readers do.
        """
        settings, builder = self.settings, IndexBuilder(self.settings.contamination_ngram)
        for reference in settings.contamination:
            path = Path(self.path_of(reference)).expanduser()
            if not path.exists():
                fetched = fetched_folder("datasets", reference, os.environ)
                if fetched is None:
                    raise UserError(
                        f"contamination={reference}: is not in the hub cache; run "
                        "`python -m hala_hpc.fetch` with the arguments of the launch",
                        NO_INPUT,
                    )
                path = fetched
            builder.add(reference, find_sources(str(path), settings.benchmark_selection))
        index = folder / "contamination" if builder.searched else None
        if index is not None:
            builder.save(index)
        near, action = settings.near_duplicates, settings.contamination_action
        found = QualitySearches(settings.rules, near, index, action, settings.sample)
        return found, builder.searched

    def _read(
        self, folder: Path, searches: QualitySearches, out: UnitContext
    ) -> list[SpilledSplit]:
        """Read and adapt all rows up to `limit`.

        Raises: UserError (BAD_DATA) if there are none.
        """
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

    def _split_tasks(self, folder: Path, searches: QualitySearches) -> Iterator[SplitTask]:
        """The splits of the input, in order."""
        found = [
            source
            for reference in self.settings.data
            for place in input_places(self.path_of(reference), reference)
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
        contents = [
            find_contents(place, self.settings.selection, reference)
            for reference in self.settings.data
            for place in input_places(self.path_of(reference), reference)
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
        plan: ShardPlan,
        splits: list[SpilledSplit],
        notes: dict[str, str],
        out: UnitContext,
    ) -> None:
        """Write the two files of each unit."""
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
        splits: list[SpilledSplit],
        rejections: Counter[str],
        units: list[int],
        out: UnitContext,
    ) -> None:
        """Check the fraction of bad rows; on failure store the rejected rows of each unit.

        `rejections`: the readable rows that the plan rejects, by reason.

        Raises: UserError (BAD_DATA) if there are too many, or if no row is left.
        """
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
