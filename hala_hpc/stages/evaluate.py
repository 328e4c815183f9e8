"""evaluate: compare models on lm-eval benchmarks and on translation of held-out pairs."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs
from hala_hpc.core.files import link_tree
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.rehearsal import QUESTIONS, cap_setting
from hala_hpc.core.settings import CorpusRef, FilesRef, ModelRef, OneOrMany, StageSettings, runtime
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import list_parts, read_translation_pairs
from hala_hpc.engines.evaluation.chat_template import chat_template_faults
from hala_hpc.engines.evaluation.evaluation_estimate import EvaluationWork, estimate_evaluation
from hala_hpc.engines.evaluation.evaluation_parts import (
    BENCHMARKS,
    TRANSLATION,
    EvaluationPart,
    check_benchmark,
    check_translation,
    name_of_corpus,
    order_units,
    plan_parts,
)
from hala_hpc.engines.evaluation.perturbations.perturbation import (
    perturbation_mistakes,
    plain_entry,
)
from hala_hpc.engines.generation.engine_choice import engine_mistakes
from hala_hpc.engines.generation.prompts import find_missing_fields
from hala_hpc.engines.generation.settings import GenerationSettings
from hala_hpc.engines.models.attention import AUTO, Attention, attention_faults, may_load_from_hub
from hala_hpc.engines.models.files import require_model

if TYPE_CHECKING:
    from hala_hpc.engines.evaluation.benchmark_units import BenchmarkModel, BenchmarkUnits
    from hala_hpc.engines.evaluation.lm_eval import BenchmarkRun
    from hala_hpc.engines.evaluation.task_needs import TaskNeeds, TaskRequest
    from hala_hpc.engines.evaluation.translation_unit import HeldOutPair
    from hala_hpc.engines.generation.batch import AnswerCount
    from hala_hpc.engines.models.compile_cache import CompileCache

#: Folder in the work folder with the results of all evaluations, by content.
EVALUATIONS = "evaluations"


class Settings(GenerationSettings):
    """Settings of `evaluate`."""

    models: dict[str, ModelRef] = Field(min_length=1)
    """Models to compare, by the label of their column: hub ids, folders or `@node`. All are
    compared with the first. `merged = "@merge-*"` is every node that a sweep makes of merge."""
    tasks: list[str] = Field(default=[])
    """Our groups (arabic, qimma, dialect, culture, english, linguistic; docs/benchmarks.md), or
    tasks and groups of lm-eval; empty skips benchmarks. `arabic+keyboard-0.1` is arabic with slips
    in a tenth of its words; docs/benchmarks.md has the other perturbations."""
    shards: PositiveInt = 1
    """Parts into which the items of each task are divided, each a unit of its own: for more workers
    than models and tasks. With few-shot examples drawn at random, another number draws others."""
    choose: str | None = None
    """Pattern of labels, such as merged-*: the report chooses the best of these models on one half
    of the items, and reports its scores on the other half."""
    include_path: FilesRef | None = None
    """Folder with your own lm-eval task files."""
    num_fewshot: int | None = None
    """Few-shot examples before each question; unset uses the default of each task."""
    limit: PositiveInt | None = None
    """Max questions of each task, for a quick check."""
    chat_template: bool = False
    """Whether the model's chat template is applied to benchmark questions."""
    translation: OneOrMany[CorpusRef] = Field(default=[])
    """Corpora of held-out pairs to translate and score; empty skips translation. Those of several
    have scores of their own, such as bleu/opus-test."""
    direction: Literal["forward", "reverse"] = "forward"
    """Whether the source of each pair is translated and compared with its target, or, in reverse,
    the target with its source; `prompt` has to name the language."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """The prompt for held-out sentences, with the placeholder {text}."""
    attention: Attention = runtime(AUTO)
    """Attention kernel for benchmarks: eager, sdpa, flex_attention, flash_attention_2,
    flash_attention_3, or a hub kernel, owner/kernel; see sft. auto: a kernel that applies what
    the model's config says. Translations come from an engine; vLLM chooses its own kernel, which
    applies the config too."""
    batch_size: PositiveInt = runtime(16)
    """Batch size of benchmarks whose answers are generated or long; that of choices is found."""
    commit_interval_s: PositiveFloat = runtime(30.0)
    """Seconds until answers are on the disk, where a killed worker does not lose them."""


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
        mistakes = self.choice_mistakes() + self.corpus_mistakes()
        mistakes += [line for task in self.settings.tasks for line in perturbation_mistakes(task)]
        if self.settings.tasks:
            models = {f"models.{k}": self.inputs.path(v) for k, v in self.settings.models.items()}
            mistakes += attention_faults(models, self.settings.attention)
            if self.settings.chat_template:
                mistakes += chat_template_faults(models)
        if not corpora:
            return mistakes
        mistakes += engine_mistakes(self.settings.engine.name)
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
        """Evaluate one model after the other, and keep its answers from being lost.

        Benchmarks whose results another job is making come last: until then it is done.
        """
        from hala_hpc.core.environment import set_job_environment
        from hala_hpc.engines.evaluation.benchmark_units import BenchmarkUnits
        from hala_hpc.engines.evaluation.evaluation_store import EvaluationStore
        from hala_hpc.engines.generation.batch import AnswerCount

        set_job_environment()
        answer_count = AnswerCount(out)
        parts, labels = self.parts(), list(self.settings.models)
        order = order_units(units, parts, labels)
        benchmarks = [unit for unit in order if parts[unit].kind == BENCHMARKS]
        worker = f"{out.shared.parent.name}:{out.worker}"
        store = EvaluationStore(out.cache.parent / EVALUATIONS, worker)
        with BenchmarkUnits(self.benchmark_run(), store, lambda: self.compile_cache(out)) as maker:
            waiting = [unit for unit in benchmarks if not self.benchmark(maker, unit, out, False)]
            for unit in waiting:
                self.benchmark(maker, unit, out, True)
        for unit in order:
            if parts[unit].kind == TRANSLATION and not out.stop_requested:
                self.translate(parts[unit], unit, out, answer_count)

    def benchmark(
        self, maker: "BenchmarkUnits", unit: int, out: UnitContext, must_wait: bool
    ) -> bool:
        """Make a unit of a benchmark; False if another job is making the same result."""
        from hala_hpc.engines.evaluation.benchmark_units import BenchmarkShard

        if out.stop_requested:
            return True
        part = self.parts()[unit]
        shard = BenchmarkShard(self.benchmark_model(part.label), part.entry, part.shard)
        is_made = maker.make(shard, unit, out, must_wait)
        if is_made:
            out.commit(unit)
        return is_made

    def benchmark_model(self, label: str) -> "BenchmarkModel":
        """A model with the digests of its files that the summary of its node has."""
        from hala_hpc.engines.evaluation.benchmark_units import BenchmarkModel

        reference = self.settings.models[label]
        summary = self.inputs.summary(reference)
        inside = reference.partition("/")[2] if reference.startswith("@") else ""
        prefix = f"{inside}/" if inside else ""
        known = {
            name.removeprefix(prefix): digest
            for name, digest in (summary.sha256 if summary else {}).items()
            if name.startswith(prefix)
        }
        return BenchmarkModel(label, self.inputs.path(reference), known)

    def benchmark_run(self) -> "BenchmarkRun":
        """Tasks and settings for lm-eval."""
        from hala_hpc.engines.evaluation.lm_eval import BenchmarkRun

        settings = self.settings
        path = settings.include_path
        return BenchmarkRun(
            tasks=list(dict.fromkeys(map(plain_entry, settings.tasks))),
            include_path=self.inputs.path(path) if path else None,
            num_fewshot=settings.num_fewshot,
            limit=settings.limit,
            batch_size=settings.batch_size,
            dtype=settings.engine.dtype,
            attention=settings.attention,
            chat=settings.chat_template,
            shards=settings.shards,
            commit_interval_s=settings.commit_interval_s,
        )

    def compile_cache(self, out: UnitContext) -> "CompileCache":
        """The folder of compiled code of Triton and torch for the benchmarks of this process."""
        from hala_hpc.engines.models.compile_cache import CompileCache, seed_file, torch_facts

        models = [Path(self.inputs.path(model)) for model in self.settings.models.values()]
        facts = torch_facts("benchmarks", models)
        facts["attention"] = self.settings.attention
        return CompileCache(seed_file(out.cache, facts))

    def translate(
        self, part: EvaluationPart, unit: int, out: UnitContext, answer_count: "AnswerCount"
    ) -> None:
        """Make a unit of translations, with a file of them next to their scores."""
        from hala_hpc.engines.evaluation.answer_journal import AnswerJournal
        from hala_hpc.engines.evaluation.domain_tables import add_domains
        from hala_hpc.engines.evaluation.score_files import score_name, write_translations
        from hala_hpc.engines.evaluation.translation_unit import (
            TranslationRun,
            score_answers,
            translate_pairs,
        )
        from hala_hpc.engines.generation.engine import EngineConfig

        settings = self.settings
        corpora = {name_of_corpus(one): one for one in settings.translation}
        pairs = self.held_out_pairs(corpora[part.entry])
        if not settings.tasks and answer_count.rows_of_node is None:
            rows = sum(len(self.held_out_pairs(one)) for one in corpora.values())
            answer_count.rows_of_node = rows * len(settings.models)
        model = self.inputs.path(settings.models[part.label])
        config = EngineConfig(model, settings.engine, settings.prompt_style, cache_folder=out.cache)
        journal = AnswerJournal(out, unit, settings.commit_interval_s)
        run = TranslationRun(part.label, part.entry if len(corpora) > 1 else "", config)
        answers = translate_pairs(run, settings.prompt, pairs, journal, answer_count)
        scores, rows_of_file = score_answers(run, pairs, answers)
        rows_of_file = add_domains(rows_of_file, self.inputs.path(corpora[part.entry]))
        write_translations(out.folder(unit), unit, rows_of_file)
        scores.write(out.folder(unit) / score_name(unit))
        out.commit(unit)

    def held_out_pairs(self, corpus: str) -> "list[HeldOutPair]":
        """Id, text to translate, and reference of each pair of a corpus."""
        pairs = list(read_translation_pairs(self.inputs.path(corpus)))
        if self.settings.direction == "forward":
            return pairs
        return [(id_, target, source) for id_, source, target in pairs]

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
