"""Tables of simulated models: how often one shows a difference, where there is one and where not.

`python -m benchmarks.significance --tables 1000 [--seed 1]` makes tables of two models against a
first one, in six tasks and their mean. First, all models are equal: up to 5 % of whole tables may
show a significant difference. Then the smallest visible size that such a table prints is planted:
in a task of independent items, in a task of passages, and in all tasks alike for their mean. It
must be found in 75 to 85 % of tables. Prints JSON as its last line. Exits with 1 if a share is
outside its bounds.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hala_hpc.engines.evaluation.statistics.comparison import (
    FAMILY_LEVEL,
    MACRO_MEAN,
    TableRow,
    adjusted_p_values,
    detectable_in_table,
    pair_models,
)
from hala_hpc.engines.evaluation.statistics.task_items import TaskItems

#: A p-value of 1 / 2,001 is small enough for the 14 rows of a table.
RESAMPLES = 2_000
MAX_FALSE_SHARE = 0.05
#: Rows with a planted difference: those of single tasks share a table.
PLANTED = ({"tuned": "exams", "merged": "passages"}, {"tuned": MACRO_MEAN})
POWER, POWER_MARGIN = 0.8, 0.05
#: Within a passage, the share of discordant items that go in its direction.
AGREEMENT = 0.8


@dataclass(frozen=True)
class SimulatedTask:
    """A task with its number of items and the share of them on which two models differ."""

    name: str
    items: int
    discordant: float
    passage: int = 1
    """Items of a passage."""

    @property
    def clusters(self) -> list[str] | None:
        """The passage of each item; None if items are independent."""
        if self.passage == 1:
            return None
        return [str(index // self.passage) for index in range(self.items)]

    def draw_differences(self, generator: Any, size: float) -> Any:
        """Won, lost and equal items of a second model whose true score is higher by `size`."""
        import numpy as np

        discordant = max(self.discordant, size)
        directions = np.ones(self.items)
        agreement = 1.0
        if self.passage > 1:
            agreement = 2 * AGREEMENT - 1
            aligned = generator.random(self.items) < AGREEMENT
            directions = np.where(aligned, 1.0, -1.0)
        up = 0.5 + size / (2 * discordant * agreement)
        passages = generator.random(-(-self.items // self.passage)) < up
        signs = np.where(np.repeat(passages, self.passage)[: self.items], 1.0, -1.0)
        return directions * signs * (generator.random(self.items) < discordant)


#: Sizes between those of small and large benchmarks.
TASKS = (
    SimulatedTask("short", 250, 0.25),
    SimulatedTask("trust", 522, 0.2),
    SimulatedTask("exams", 537, 0.3),
    SimulatedTask("grammar", 983, 0.15),
    SimulatedTask("passages", 1200, 0.2, passage=4),
    SimulatedTask("broad", 4000, 0.1),
)


def simulate_table(generator: Any, planted: dict[str, dict[str, float]]) -> list[TableRow]:
    """The rows of two models; `planted` is what each is better by, in which tasks."""
    first: list[TaskItems] = []
    others: dict[str, list[TaskItems]] = {"tuned": [], "merged": []}
    for task in TASKS:
        hashes, clusters = list(map(str, range(task.items))), task.clusters
        # Only differences count: the first model's scores are zero.
        first.append(TaskItems(task.name, hashes, [0.0] * task.items, clusters))
        for label, items in others.items():
            size = planted.get(label, {}).get(task.name, 0.0)
            values = task.draw_differences(generator, size).tolist()
            items.append(TaskItems(task.name, hashes, values, clusters))
    return pair_models(first, others)


def find_significant(rows: list[TableRow]) -> set[tuple[str, str]]:
    """Model and task of the rows that the table shows as significant."""
    tested = zip(rows, adjusted_p_values(rows, RESAMPLES), strict=True)
    return {(row.label, row.task) for row, p_value in tested if p_value <= FAMILY_LEVEL}


def plant_sizes(rows: list[TableRow], names: dict[str, str]) -> dict[str, dict[str, float]]:
    """The smallest visible size of each named row; that of the mean goes to all tasks."""
    planted = {}
    for label, name in names.items():
        row = next(row for row in rows if (row.label, row.task) == (label, name))
        size = detectable_in_table(row, rows)
        assert size is not None
        tasks = [task.name for task in TASKS] if name == MACRO_MEAN else [name]
        planted[label] = dict.fromkeys(tasks, size)
    return planted


def main() -> None:
    """Simulate, print the shares, and exit with 1 if one is outside its bounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    import numpy as np

    generator = np.random.default_rng(arguments.seed)
    began = time.process_time()
    false_tables, found = 0, Counter[str]()
    for _ in range(arguments.tables):
        equal = simulate_table(generator, {})
        false_tables += bool(find_significant(equal))
        for names in PLANTED:
            table = simulate_table(generator, plant_sizes(equal, names))
            significant = find_significant(table)
            found.update(name for label, name in names.items() if (label, name) in significant)
    false_share = false_tables / arguments.tables
    shares = {name: found[name] / arguments.tables for names in PLANTED for name in names.values()}
    good = false_share <= MAX_FALSE_SHARE and all(
        abs(share - POWER) <= POWER_MARGIN for share in shares.values()
    )
    print(
        json.dumps(
            {
                "tables": arguments.tables,
                "rows_of_a_table": len(equal),
                "false_tables": false_share,
                "found": shares,
                "cpu_s": round(time.process_time() - began, 1),
                "good": good,
            }
        )
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
