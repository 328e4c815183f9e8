"""Draw damages with a seed: any kind of file, in any node and state, with any damage."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from benchmarks.damages.actions import OF_FILES, OF_FOLDERS, OF_RECORDS, Damage
from benchmarks.damages.cells import Cell, Harm, State
from benchmarks.damages.listed import ATTEMPT

NODES = ("mine", "tok", "arabic")
#: One of so many cells has two damages at once.
DOUBLE_EVERY = 5
#: Nodes that read the results of a node and find damages there.
READERS = {"mine": ("tok", "arabic")}


class DamageTarget(NamedTuple):
    """A file or folder of a node, and the damages that it may have."""

    path: str
    damages: tuple[Damage, ...] = OF_RECORDS


OF_A_NODE = (
    *(DamageTarget(name) for name in ("config.json", "summary.json", "failure.json", "jobs.json")),
    *(DamageTarget(f"rounds/{name}.json") for name in ("0001", "0002")),
    *(DamageTarget(f"done/{name}.json") for name in ("00000", "00001")),
    *(DamageTarget(name) for name in (ATTEMPT, "attempts/lease-00000.json")),
    *(
        DamageTarget(name)
        for name in (ATTEMPT.replace(".json", "-error-0.json"), "claims/00001.json")
    ),
    *(DamageTarget(name) for name in ("attempts/failures-0001.json", "shared/00000.json")),
    DamageTarget("progress/00000-0000.json"),
    *(
        DamageTarget(name, OF_FOLDERS)
        for name in ("attempts", "claims", "done", "kept", "logs", "output")
    ),
    *(DamageTarget(name, OF_FOLDERS) for name in ("progress", "rounds", "shared", "units")),
    *(DamageTarget(name, OF_FOLDERS) for name in ("units/00000", "units/00001", "kept/00001")),
    DamageTarget("", OF_FOLDERS),
    DamageTarget("kept/00000/piece-r0001-w00000-x-0-00000.jsonl", OF_FILES),
    DamageTarget("logs/worker-00000-0000.log", OF_FILES),
)
OF_A_RUN = (
    *(DamageTarget(name) for name in ("run.json", "launch.lease", "feed.json")),
    *(DamageTarget(name, OF_FOLDERS) for name in ("latest", "cache", "latest/mine", "latest/tok")),
)


def drawn(
    many: int, seed: int, known: Sequence[Cell], results: Mapping[str, Sequence[str]]
) -> list[Cell]:
    """Draw so many different cells, none of which is a known one.

    `results` names files of the results of each node.
    """
    chance = Random(seed)
    names = {cell.name for cell in known}
    cells: list[Cell] = []
    while len(cells) < many:
        cell = draw(chance, results, is_double=len(cells) % DOUBLE_EVERY == DOUBLE_EVERY - 1)
        if cell.name not in names:
            names.add(cell.name)
            cells.append(cell)
    return cells


def draw(chance: Random, results: Mapping[str, Sequence[str]], is_double: bool) -> Cell:
    """Draw a node, its state, and one or two of its files or of the run with their damages."""
    node = chance.choice(NODES)
    state = chance.choice(list(State))
    states = {} if state is State.FINISHED else {node: state}
    # Half of the time another node is to read the results.
    if (readers := READERS.get(node)) and chance.random() < 1 / 2:
        states[chance.choice(readers)] = State.UNFINISHED
    # The collected output only exists when the node is finished.
    files = [file for file in results[node] if node not in states or file.startswith("units/")]
    harms = [draw_harm(chance, node, files) for _ in range(2 if is_double else 1)]
    # Of two harms the deeper one first: the other may remove its folder.
    harms.sort(key=lambda harm: -harm.path.count("/"))
    return Cell(tuple(harms), tuple(sorted(states.items())))


def draw_harm(chance: Random, node: str, files: Sequence[str]) -> Harm:
    """Draw one file of a node, or sometimes of its run, and one damage of its kind."""
    of_results = tuple(DamageTarget(name, OF_FILES) for name in files)
    # Each result file as often as three others: results are the purpose of a node.
    places = [*(("", place) for place in OF_A_RUN), *((node, place) for place in OF_A_NODE)]
    places += [(node, place) for place in of_results] * 3
    owner, place = chance.choice(places)
    return Harm(f"{owner}/{place.path}".strip("/"), chance.choice(place.damages))
