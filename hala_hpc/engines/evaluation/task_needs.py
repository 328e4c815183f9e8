"""Records of what an lm-eval task reads besides a model: data sets, metrics, language data."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from hala_hpc.core.record import JsonRecord


class TaskDataSet(JsonRecord):
    """One configuration of a data set: the arguments of `datasets.load_dataset` and its cache."""

    path: str
    """`owner/name` on the hub; a file format such as `json` if the task names a URL."""
    name: str | None = None
    """The configuration; None means the only or the default one."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Other arguments that the task passes to `load_dataset`."""
    folder: str = ""
    """Folder of the data set under HF_DATASETS_CACHE; empty for a file format."""
    config_id: str | None = None
    """Folder of the configuration in it, as `datasets` searches it offline; None: any."""
    splits: tuple[str, ...] = ()
    """Splits that the task reads; empty if only its code knows."""

    @property
    def description(self) -> str:
        """`owner/name, configuration ar`, for messages."""
        return f"{self.path}, configuration {self.name}" if self.name else self.path


class TaskNeeds(JsonRecord):
    """What one task or group reads, as found by the lm-eval of an environment."""

    fix: ClassVar[str] = "remove the file: it is written again"
    required_keys: ClassVar[frozenset[str]] = frozenset({"lm_eval"})

    task: str
    """Name of a task, group or tag."""
    lm_eval: str
    """Version of that lm-eval."""
    problem: str = ""
    """Why there is no such task, with the fix; empty if it exists."""
    data_sets: tuple[TaskDataSet, ...] = ()
    metrics: tuple[str, ...] = ()
    """Metrics of the `evaluate` library, whose code comes from the hub."""
    language_data: tuple[str, ...] = ()
    """Packages of nltk data, for example `punkt_tab`."""
    own_code: tuple[str, ...] = ()
    """Tasks in it that load data with their own code: what it reads is unknown until it runs."""


@dataclass(frozen=True)
class TaskRequest:
    """Tasks to look up with the lm-eval of an environment."""

    tasks: tuple[str, ...]
    include_path: str | None = None
    """Folder of task files in addition to those of lm-eval."""


def answer_name(task: str) -> str:
    """Name of the file with what a task reads: task names may contain slashes."""
    return f"{task.replace('/', '%2F')}.json"
