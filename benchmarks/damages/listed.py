"""The 88 damages of an external campaign."""

import shutil
import socket
from pathlib import Path

from benchmarks.damages.actions import (
    CUT,
    EMPTY,
    FLIPPED,
    FOLDER,
    GONE,
    ZEROS,
    Damage,
    put,
    text,
)
from benchmarks.damages.cells import Cell, Harm, State

#: An attempt that never existed.
ATTEMPT = "attempts/r0001-w00000-abcdef123456-0.json"
HERE = socket.gethostname()
MINE_OPEN = (("mine", State.UNFINISHED),)
MINE_UNCOLLECTED = (("mine", State.UNCOLLECTED),)
TOK_OPEN = (("tok", State.UNFINISHED),)


def copy_summary_of_tok(path: Path) -> None:
    """Replace the summary by that of another node."""
    [other] = path.parents[1].glob("tok-*/summary.json")
    shutil.copy(other, path)


FINISHED: dict[str, tuple[Damage, ...]] = {
    "mine/config.json": (CUT, EMPTY, GONE, text("[]"), text("null"), ZEROS),
    "mine/summary.json": (
        *(CUT, EMPTY, GONE, text("{}"), text("null"), text("[]"), ZEROS, FOLDER),
        Damage("that of another node", copy_summary_of_tok),
    ),
    "mine/done/00001.json": (CUT, EMPTY, GONE, text("{}")),
    "mine/output": (GONE,),
    "mine/output/part-00001.parquet": (CUT, GONE),
    "mine": (GONE,),
    "run.json": (CUT, EMPTY, GONE, text("{}"), text("[]")),
}
READ_BY_TOK: dict[str, tuple[Damage, ...]] = {
    "mine/output/part-00001.parquet": (CUT, EMPTY, GONE, FLIPPED),
    "mine/output": (GONE,),
}
UNCOLLECTED: dict[str, tuple[Damage, ...]] = {
    "mine/units/00001/part-00001.parquet": (CUT, EMPTY, GONE, FLIPPED),
    "mine/units/00001": (GONE,),
    "mine/done/00001.json": (CUT, EMPTY, text("{}"), text("null"), text("[]")),
    "mine/done/abc.json": (text("{}"),),
    "mine/done/0x.json": (text("{}"),),
    "mine/done/00099.json": (text("{}"),),
}
UNFINISHED: dict[str, tuple[Damage, ...]] = {
    "mine/config.json": (CUT, EMPTY, GONE, text("{}")),
    "mine/rounds/0001.json": (CUT, EMPTY, GONE, text("{}")),
    "mine/jobs.json": (text('{"round": 1, "wor'), text(""), text("{}"), text("[]")),
    "mine/attempts/lease-00000.json": (CUT, EMPTY),
    f"mine/{ATTEMPT}": (text('{"ro'), text(""), text("[]")),
    "mine/failure.json": (text('{"co'), text(""), text("{}"), text("[]")),
    "mine/claims/00000.json": (text('{"wo'), text(""), text("[]")),
    "mine/progress/00000-0000.json": (text('{"wo'), text(""), text("[]")),
    "mine/kept": (Damage("a file", put(b"x")),),
    "mine/kept/00000/piece-zzz-00000.jsonl": (text("garbage\n"),),
    "mine/units/00000/part-00000.parquet": (text("PAR1garbage"),),
    "launch.lease": (
        *(text(""), text('{"host'), text("{}"), text("[]")),
        text('{"host":"elsewhere","pid":1,"since":"x"}'),
        text(f'{{"host":"{HERE}","pid":"abc","since":"x"}}'),
    ),
    "feed.json": (text(""), text('{"nod'), text("[]"), text('{"nodes":[{}]}')),
    "latest": (Damage("a file", put(b"x")),),
    "latest/mine": (GONE,),
}
TABLES = (
    (FINISHED, ()),
    (READ_BY_TOK, TOK_OPEN),
    (UNCOLLECTED, MINE_UNCOLLECTED),
    (UNFINISHED, MINE_OPEN),
)


def listed() -> list[Cell]:
    """Return all of them, in the same order each time."""
    return [
        Cell((Harm(path, damage),), states)
        for table, states in TABLES
        for path, damages in table.items()
        for damage in damages
    ]
