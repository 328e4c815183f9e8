"""Perturb the items of loaded tasks: the rows of their data, before prompts are made of them."""

from collections.abc import Callable, Mapping
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.evaluation.perturbations.perturbation import (
    Perturbation,
    perturbation_ending,
    read_perturbation,
)

OPTIONS = tuple(f"Option {number}" for number in range(1, 6))
ARALINGBENCH = ("context", "question", "options", "answer")
#: Columns with texts of items, by the name of the function that makes prompts of them. Labels of
#: answers are not among them; where the answer is the text of an option, it changes alike.
TEXT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "alghafa": ("query", "sol1", "sol2", "sol3", "sol4", "sol5"),
    "arabic_mmlu": ("Question", *OPTIONS),
    "madinah_qa": ("Context", "Question", *OPTIONS),
    "arabic_mmlu_ht": ("question", "choices"),
    "aratrust": ("Question", "A", "B", "C"),
    "exams": ("question", "A", "B", "C", "D"),
    **dict.fromkeys(("grammar", "morphology", "comprehension", "style"), ARALINGBENCH),
}


def perturb_loaded(loaded: Mapping[str, Mapping[str, Any]], entry: str) -> dict[str, Any]:
    """What lm-eval loaded for a plain entry, with perturbed items and the names of a perturbed one.

    Raises: UserError (CONFIG) if a task has texts that cannot be perturbed.
    """
    perturbation, ending = read_perturbation(entry), perturbation_ending(entry)
    if perturbation is None:
        return dict(loaded)
    unknown = [name for name, task in loaded["tasks"].items() if not text_columns(task)]
    if unknown:
        raise UserError(
            f"tasks: {entry}: {', '.join(unknown[:3])}"
            f"{' and others' if len(unknown) > 3 else ''} cannot be perturbed; the tasks of the "
            "groups arabic and linguistic can, but for questions on spelling",
            CONFIG,
        )
    for task in loaded["tasks"].values():
        process = task.config.process_docs
        columns = text_columns(task)
        task.set_config("process_docs", make_perturbed(process, columns, perturbation))
        task.set_config("task", f"{task.task_name}{ending}")
    return {
        "tasks": {task.task_name: task for task in loaded["tasks"].values()},
        "groups": {f"{name}{ending}": group for name, group in loaded["groups"].items()},
    }


def text_columns(task: Any) -> tuple[str, ...]:
    """The columns of a task's data with texts; none if they are not known."""
    process = getattr(task.config, "process_docs", None)
    return TEXT_COLUMNS.get(getattr(process, "__name__", ""), ())


def make_perturbed(
    process: Callable[[Any], Any], columns: tuple[str, ...], perturbation: Perturbation
) -> Callable[[Any], Any]:
    """The function that makes prompts, of rows whose texts are perturbed before."""

    def perturb_rows(rows: Any) -> Any:
        return process(rows.map(lambda row: perturb_row(row, columns, perturbation)))

    return perturb_rows


def perturb_row(
    row: Mapping[str, Any], columns: tuple[str, ...], perturbation: Perturbation
) -> dict[str, Any]:
    """The perturbed texts of a row; columns that it lacks and empty ones are left out."""
    found: dict[str, Any] = {}
    for name in columns:
        value = row.get(name)
        if isinstance(value, str):
            found[name] = perturbation.apply(value)
        elif isinstance(value, list):
            found[name] = [perturbation.apply(text) for text in value]
    return found
