"""evaluate: compare models on lm-eval benchmarks and on translation of held-out pairs."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.files import link_tree
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.rehearsal import QUESTIONS, cap_setting
from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import list_parts
from hala_hpc.engines.evaluation.chat_template import chat_template_faults
from hala_hpc.engines.evaluation.evaluation_estimate import EvaluationWork, estimate_evaluation
from hala_hpc.engines.evaluation.evaluation_parts import (
    BENCHMARKS,
    EvaluationPart,
    check_benchmark,
    check_translation,
    name_of_corpus,
    plan_parts,
)
from hala_hpc.engines.evaluation.perturbations.perturbation import (
    perturbation_mistakes,
    plain_entry,
)
from hala_hpc.engines.evaluation.settings import EvaluationSettings
from hala_hpc.engines.generation.engine_choice import engine_mistakes
from hala_hpc.engines.generation.prompts import find_missing_fields
from hala_hpc.engines.models.attention import attention_faults, may_load_from_hub
from hala_hpc.engines.models.files import require_model

if TYPE_CHECKING:
    from hala_hpc.engines.evaluation.task_needs import TaskNeeds, TaskRequest


class Settings(EvaluationSettings):
    """Settings of `evaluate`."""


class Evaluate(Stage[Settings]):
    """A unit for each model, entry of `tasks` and shard of its items, and for its translations."""

    name = "evaluate"
    version = 6
    produces = "scores"
    Settings = Settings

    def parts(self) -> list[EvaluationPart]:
        """What each unit does."""
        settings = self.settings
        corpora = map(name_of_corpus, settings.translation)
        return plan_parts(list(settings.models), settings.tasks, settings.shards, corpora)

    def plan(self) -> int:
        """A unit for each model, entry of `tasks` and shard, and for each model's translations."""
        return max(1, len(self.parts()))

    def preflight(self) -> list[str]:
        """Check the model files, the task files, the held-out corpus and the attention kernel."""
        for label, model in self.settings.models.items():
            require_model(model, f"models.{label}")
        if not self.parts():
            return ["tasks=[]: nothing to evaluate; set tasks, translation or both"]
        path, corpora = self.settings.include_path, self.settings.translation
        if path and not path.startswith("@") and not Path(path).expanduser().is_dir():
            raise UserError(f"include_path={path}: no such folder; give an existing one", NO_INPUT)
        for corpus in corpora:
            if not corpus.startswith("@"):
                list_parts(corpus)
        mistakes = self.choice_mistakes() + self.corpus_mistakes() + self.gpu_mistakes()
        mistakes += [line for task in self.settings.tasks for line in perturbation_mistakes(task)]
        if self.settings.tasks:
            models = {f"models.{k}": self.inputs.path(v) for k, v in self.settings.models.items()}
            mistakes += attention_faults(models, self.settings.attention)
            if self.settings.chat_template:
                mistakes += chat_template_faults(models)
        # Benchmarks may have answers that are generated.
        mistakes += engine_mistakes(self.settings.engine.name)
        if not corpora:
            return mistakes
        return mistakes + find_missing_fields("prompt", self.settings.prompt, ["text"])

    def choice_mistakes(self) -> list[str]:
        """A line if `choose` selects no two models, or no benchmarks are run."""
        pattern, labels = self.settings.choose, list(self.settings.models)
        if pattern is None:
            return []
        if not self.settings.tasks:
            return [f"choose={pattern}: there are no tasks to choose by; set tasks"]
        chosen = [label for label in labels if fnmatchcase(label, pattern)]
        if len(chosen) > 1:
            return []
        return [
            f"choose={pattern}: {len(chosen)} of the models {', '.join(labels)}; two are needed"
        ]

    def gpu_mistakes(self) -> list[str]:
        """A line if a worker would have more GPUs than its engine uses."""
        given, used = self.resources.gpus_per_node, self.settings.engine.tensor_parallel_size
        if given <= used:
            return []
        return [
            f"resources.gpus_per_node={given}: a worker of an evaluation uses {used} "
            f"(engine.tensor_parallel_size); set resources.gpus_per_node={used}, and "
            "resources.workers to the number of models, or higher with shards"
        ]

    def corpus_mistakes(self) -> list[str]:
        """A line for each corpus whose scores would have the name of those of another."""
        names = list(map(name_of_corpus, self.settings.translation))
        return [
            f"translation={self.settings.translation}: two corpora have the name {name}, under "
            "which their scores are shown; rename a folder, or evaluate them in two nodes"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]

    def task_request(self) -> "TaskRequest | None":
        """The tasks and the folder of their files; None without tasks or if it does not exist."""
        from hala_hpc.engines.evaluation.task_needs import TaskRequest

        path = self.settings.include_path
        folder = self.inputs.path(path) if path else None
        if not self.settings.tasks or (folder and not Path(folder).expanduser().is_dir()):
            return None
        folder = str(Path(folder).expanduser().absolute()) if folder else None
        tasks = dict.fromkeys(map(plain_entry, self.settings.tasks))
        return TaskRequest(tasks=tuple(tasks), include_path=folder)

    def needs(self, site: HubSite) -> "list[TaskNeeds]":
        """Find what the tasks read.

        Raises: UserError (CONFIG) if a task does not exist.
        """
        from hala_hpc.engines.evaluation.task_answers import find_task_needs

        request = self.task_request()
        return find_task_needs(request, site) if request else []

    def hub_dependencies(self, site: HubSite) -> list[HubDependency]:
        """Data sets, metrics and language data of the tasks.

        If another node makes the task files, they are known once that node is done.
        """
        if not self.settings.tasks:
            return []
        from hala_hpc.engines.evaluation.task_answers import MissingEnvironment
        from hala_hpc.engines.evaluation.task_data import TASK_DATA, task_dependencies

        try:
            needs = self.needs(site)
        except MissingEnvironment as error:
            return [HubDependency(TASK_DATA, "of benchmarks", problems=tuple(error.mistakes))]
        return task_dependencies(needs, site.environment, site.python)

    def fetch_hub_dependencies(self, site: HubSite, print_line: Callable[[str], None]) -> None:
        """Fetch data sets as `datasets` prepares them for lm-eval, metric code, and nltk data."""
        from hala_hpc.engines.evaluation.task_fetch import fetch_task_data

        fetch_task_data(self.needs(site), site.python, print_line)

    def open_offline(self) -> list[str]:
        """Open every task with lm-eval, and check the content of all data files."""
        from hala_hpc.engines.evaluation.task_fetch import find_changed_task_files, open_tasks
        from hala_hpc.engines.evaluation.task_groups import make_task_manager
        from hala_hpc.engines.evaluation.task_reader import read_tasks

        request = self.task_request()
        if request is None:
            return []
        manager = make_task_manager(request.tasks, request.include_path)
        needs = read_tasks(manager, request.tasks, request.include_path)
        unknown = [f"tasks: {one.problem}" for one in needs if one.problem]
        return unknown or find_changed_task_files(needs) or open_tasks(manager, needs)

    def kernels(self, python: str) -> list[str]:
        """The hub kernels that `attention` names; only benchmarks load them."""
        if not self.settings.tasks or not may_load_from_hub(self.settings.attention):
            return []
        from hala_hpc.engines.models.kernels import attention_kernels

        return attention_kernels(self.settings.attention, python)

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The GPU seconds for benchmarks and translations; scores take almost no space."""
        settings = self.settings
        work = EvaluationWork(
            models=tuple(settings.models.values()),
            tasks=len(settings.tasks),
            limit=settings.limit,
            has_own_tasks=settings.include_path is not None,
            translation=tuple(settings.translation),
            engine=settings.engine,
        )
        return estimate_evaluation(work, inputs)

    def rehearsed(self) -> StageSettings:
        """A few questions of each task; all pairs that the rehearsed corpus node has."""
        limit = cap_setting(self.settings.limit, QUESTIONS) if self.settings.tasks else None
        return self.settings.model_copy(update={"limit": limit})

    def smaller_batch(self, world_size: int) -> StageSettings:
        """Half the concurrent rows in the engine, and half the benchmark batch size."""
        del world_size
        smaller = self.settings.smaller_engine_batch()
        return smaller.model_copy(update={"batch_size": max(1, smaller.batch_size // 2)})

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Evaluate one model after the other, and keep its answers from being lost."""
        from hala_hpc.engines.evaluation.evaluation_job import EvaluationJob

        EvaluationJob(self.settings, self.inputs, self.parts(), out).run(units)

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that all scores are finite, and that every item of a benchmark is counted once."""
        if self.parts()[unit].kind == BENCHMARKS:
            return check_benchmark(folder, unit)
        return check_translation(folder, unit)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Write `scores.json` with the scores of all models; return its content."""
        from hala_hpc.engines.evaluation.score_files import SCORES_FILE, read_scores
        from hala_hpc.engines.evaluation.score_means import merge_scores

        units = range(len(markers))
        found = [read_scores(folder, u) for u, folder in zip(units, folders, strict=True)]
        merged = merge_scores(found, list(self.settings.models))
        merged = merged.model_copy(update={"choose": self.settings.choose})
        for folder in folders:
            link_tree(folder, output)
        merged.write(output / SCORES_FILE)
        return merged.to_values()


STAGE = Evaluate
