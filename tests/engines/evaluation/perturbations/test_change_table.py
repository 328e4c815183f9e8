"""What a perturbation costs a model, from the items of an evaluation."""

from hala_hpc.engines.evaluation.item_files import ItemOutcome
from hala_hpc.engines.evaluation.item_tables import EvaluationItems
from hala_hpc.engines.evaluation.perturbations.change_table import change_rows, change_table
from hala_hpc.engines.evaluation.score_files import MergedScores, TaskGroup

SLIPS = "+keyboard-0.1"


def outcomes(task: str, values: list[float], first: int = 0) -> list[ItemOutcome]:
    """Items from the number `first`; perturbed documents and prompts have other hashes."""
    return [
        ItemOutcome(task, first + number, f"{task}{number}", "", "", "", correct=value)
        for number, value in enumerate(values)
    ]


def made_evaluation() -> EvaluationItems:
    groups = {}
    for ending in ("", SLIPS):
        parts = (f"b::1{ending}", f"b::2{ending}")
        groups[f"b{ending}"] = TaskGroup(tasks=parts)
        members = (f"a{ending}", f"b{ending}")
        groups[f"g{ending}"] = TaskGroup(tasks=(f"a{ending}", *parts), members=members)
    scores = MergedScores(
        scores={"base": {}},
        errors={},
        samples={},
        signatures={},
        groups=groups,
        entries={name: groups[name].tasks for name in ("g", f"g{SLIPS}")}
        | {"alone+letters": ("x",)},
    )
    items = {
        "a": outcomes("a", [1.0] * 40),
        f"a{SLIPS}": outcomes(f"a{SLIPS}", [1.0] * 10 + [0.0] * 30),
        # Item 0 is excluded in one of both: the others pair by their numbers.
        "b::1": outcomes("b::1", [0.0, *[1.0] * 20]),
        f"b::1{SLIPS}": outcomes(f"b::1{SLIPS}", [1.0] * 20, first=1),
        "b::2": outcomes("b::2", [0.0] * 20),
        f"b::2{SLIPS}": outcomes(f"b::2{SLIPS}", [0.0] * 20),
    }
    return EvaluationItems("scores", scores, {"base": items})


def test_items_pair_by_number_and_members_of_a_group_count_the_same() -> None:
    [row] = change_rows(made_evaluation())
    assert (row.label, row.task) == ("base", f"g{SLIPS}")
    assert [len(pair.differences) for pair in row.pairs] == [40, 20, 20]
    assert [pair.weight for pair in row.pairs] == [1.0, 0.5, 0.5]
    table = change_table(made_evaluation())
    [cells] = table.rows
    assert cells[2].startswith("−0.3750 [")
    assert cells[5] == "lower"


def test_without_perturbed_entries_the_table_has_no_rows() -> None:
    plain = made_evaluation()
    scores = plain.scores.model_copy(update={"entries": {"g": plain.scores.groups["g"].tasks}})
    assert change_table(EvaluationItems("scores", scores, plain.models)).rows == []
