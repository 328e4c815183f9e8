"""What an lm-eval task reads beside a model: data sets, metrics, language data; as records."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from hala_hpc.core.record import JsonRecord


class TaskDataSet(JsonRecord):
    """One configuration of a data set, as a task gives it to `datasets.load_dataset`."""

    path: str
    """`owner/name` on the hub; a reader of files such as `json` where the task names an address."""
    name: str | None = None
    """The configuration; None takes the only or the default one."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What else the task gives to `load_dataset`: names and values of that library."""
    folder: str = ""
    """Folder of the data set under HF_DATASETS_CACHE; empty for a reader of files."""
    config_id: str | None = None
    """Folder of the configuration in it, as `datasets` looks for it offline; None: any."""
    splits: tuple[str, ...] = ()
    """Splits that the task reads; empty where its code alone knows."""

    @property
    def description(self) -> str:
        """`owner/name, configuration ar` for people."""
        return f"{self.path}, configuration {self.name}" if self.name else self.path


class TaskNeeds(JsonRecord):
    """What one task or group reads, as the lm-eval of an environment tells it."""

    fix: ClassVar[str] = "remove the file: it is written again"
    required_keys: ClassVar[frozenset[str]] = frozenset({"lm_eval"})

    task: str
    """Name of a task, group or tag."""
    lm_eval: str
    """Version of lm-eval that was asked."""
    problem: str = ""
    """Why there is no such task, with the cure; empty for one that there is."""
    data_sets: tuple[TaskDataSet, ...] = ()
    metrics: tuple[str, ...] = ()
    """Metrics of the `evaluate` library, whose files it takes from the hub."""
    language_data: tuple[str, ...] = ()
    """Packages of nltk's data, e.g. `punkt_tab`."""
    own_code: tuple[str, ...] = ()
    """Tasks in it that load data by code of their own: nobody knows what before it is run."""


@dataclass(frozen=True)
class TaskRequest:
    """A question to the lm-eval of an environment."""

    tasks: tuple[str, ...]
    include_path: str | None = None
    """Folder of task files besides those of lm-eval."""


def answer_name(task: str) -> str:
    """Name of the file with what a task reads: names of tasks may hold slashes."""
    return f"{task.replace('/', '%2F')}.json"
