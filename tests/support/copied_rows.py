"""A recipe of three nodes that cost nothing: `english` is prepared, `copy` and `last` copy it."""

import json
from pathlib import Path

from command_line import recipe
from slow_run import SMALL

ROWS, UNITS = 12, 3
STAGE = '''"""copy_rows: unit n of 3 writes every third row of a corpus, after a pause."""

import time
from collections.abc import Iterable
from pathlib import Path

from hala_hpc.core.settings import CorpusRef, StageSettings
from hala_hpc.core.resources import Resources
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import corpus_kind, count_part_rows, list_parts
from hala_hpc.data.corpus.reader import part_name, read_part
from hala_hpc.data.corpus.writer import CorpusWriter


class Settings(StageSettings):
    """Settings of copy_rows."""

    corpus: CorpusRef
    version_name: str = ""
    pause_s: float = 0.0
    resources: Resources = Resources()


class CopyRows(Stage[Settings]):
    """Copies a corpus."""

    name = "copy_rows"
    produces = "corpus"
    Settings = Settings

    def plan(self) -> int:
        return 3

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        folder = self.inputs.path(self.settings.corpus)
        rows = [row for part in list_parts(folder) for row in read_part(part)]
        for unit in units:
            time.sleep(self.settings.pause_s)
            with CorpusWriter(out.folder(unit) / part_name(unit), corpus_kind(folder)) as good:
                for row in rows[unit::3]:
                    good.add(row)
            out.commit(unit)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        rows = count_part_rows(folder / part_name(unit))
        return UnitCounts(rows, rows, 0)


STAGE = CopyRows
'''


def write_copy_recipe(folder: Path, version_name: str = "", pause_s: float = 0.0) -> str:
    """Write rows, stage and recipe into a folder; return the override `recipe=...`."""
    rows = [{"instruction": f"Say {number}", "output": f"{number}."} for number in range(ROWS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "copy_rows.py").write_text(STAGE)
    return recipe(
        folder,
        f"""
[english]
stage = "prepare"
data = "{folder}/rows.jsonl"
units = 1
{SMALL}
[copy]
stage = "copy_rows.py"
corpus = "@english"
version_name = "{version_name}"
pause_s = {pause_s}
{SMALL}
[last]
stage = "copy_rows.py"
corpus = "@copy"
pause_s = {pause_s}
{SMALL}
[late]
stage = "copy_rows.py"
corpus = "@copy"
version_name = "late"
{SMALL}
""",
    )
