"""evaluate: compare models on lm-eval benchmarks and on translation of held-out pairs."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from hala_hpc.core.errors import NO_INPUT, UserError
from hala_hpc.core.estimate import Estimate, EstimateInputs, format_amount
from hala_hpc.core.files import link_tree
from hala_hpc.core.hub_dependency import HubDependency, HubSite
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.rehearsal import QUESTIONS, cap_setting
from hala_hpc.core.settings import CorpusRef, FilesRef, ModelRef, StageSettings, runtime
from hala_hpc.core.stage import Stage, UnitContext, UnitCounts
from hala_hpc.data.corpus.reader import list_parts, read_translation_pairs
from hala_hpc.engines.generation.engine_choice import engine_mistakes, make_engine
from hala_hpc.engines.generation.model_fit import estimate_fit
from hala_hpc.engines.generation.prompts import fill_template, find_missing_fields
from hala_hpc.engines.generation.settings import GenerationSettings
from hala_hpc.engines.models.attention import AUTO, Attention, attention_faults, may_load_from_hub
from hala_hpc.engines.models.files import require_model

if TYPE_CHECKING:
    from hala_hpc.engines.evaluation.score_files import ModelScores
    from hala_hpc.engines.evaluation.task_needs import TaskNeeds, TaskRequest
    from hala_hpc.engines.generation.batch import AnswerCount
    from hala_hpc.engines.models.compile_cache import CompileCache

BENCHMARKS = "benchmarks"
TRANSLATION = "translation"
#: lm-eval sends one request per choice; questions have four choices on average.
REQUESTS_PER_QUESTION = 4


class Settings(GenerationSettings):
    """Settings of `evaluate`."""

    models: dict[str, ModelRef] = Field(min_length=1)
    """Models to compare, by the label of their column: hub ids, folders or `@node`."""
    tasks: list[str] = Field(default=[])
    """Our groups (arabic, qimma, dialect, culture, english, linguistic; docs/benchmarks.md), or
    tasks and groups of lm-eval; empty skips benchmarks."""
    include_path: FilesRef | None = None
    """Folder with your own lm-eval task files."""
    num_fewshot: int | None = None
    """Few-shot examples before each question; unset uses the default of each task."""
    limit: PositiveInt | None = None
    """Max questions of each task, for a quick check."""
    chat_template: bool = False
    """Whether the model's chat template is applied to benchmark questions."""
    translation: CorpusRef | None = None
    """Held-out pairs to translate and score; unset skips translation."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """The prompt for held-out sentences, with the placeholder {text}."""
    attention: Attention = runtime(AUTO)
    """Attention kernel for benchmarks: eager, sdpa, flex_attention, flash_attention_2,
    flash_attention_3, or a hub kernel, owner/kernel; see sft. auto: a kernel that applies what
    the model's config says. Translations come from an engine; vLLM chooses its own kernel, which
    applies the config too."""
    batch_size: PositiveInt = runtime(16)
    """Batch size of benchmarks whose answers are generated or long; that of choices is found."""


class Evaluate(Stage[Settings]):
    """A unit for each model and kind of evaluation."""

    name = "evaluate"
    version = 5
    produces = "scores"
    Settings = Settings

    def parts(self) -> list[tuple[str, str]]:
        """Kind and label of each unit: benchmarks first, as they need no engine."""
        kinds = [BENCHMARKS] if self.settings.tasks else []
        kinds += [TRANSLATION] if self.settings.translation else []
        return [(kind, label) for kind in kinds for label in self.settings.models]

    def plan(self) -> int:
        """A unit for each model and kind of evaluation."""
        return max(1, len(self.parts()))

    def preflight(self) -> list[str]:
        """Check the model files, the task files, the held-out corpus and the attention kernel."""
        for label, model in self.settings.models.items():
            require_model(model, f"models.{label}")
        if not self.parts():
            return ["tasks=[]: nothing to evaluate; set tasks, translation or both"]
        path, corpus = self.settings.include_path, self.settings.translation
        if path and not path.startswith("@") and not Path(path).expanduser().is_dir():
            raise UserError(f"include_path={path}: no such folder; give an existing one", NO_INPUT)
        if corpus and not corpus.startswith("@"):
            list_parts(corpus)
        mistakes: list[str] = []
        if self.settings.tasks:
            models = {f"models.{k}": self.inputs.path(v) for k, v in self.settings.models.items()}
            mistakes += attention_faults(models, self.settings.attention)
        if not corpus:
            return mistakes
        mistakes += engine_mistakes(self.settings.engine.name)
        return mistakes + find_missing_fields("prompt", self.settings.prompt, ["text"])

    def task_request(self) -> "TaskRequest | None":
        """The tasks and the folder of their files; None without tasks or if it does not exist."""
        from hala_hpc.engines.evaluation.task_needs import TaskRequest

        path = self.settings.include_path
        folder = self.inputs.path(path) if path else None
        if not self.settings.tasks or (folder and not Path(folder).expanduser().is_dir()):
            return None
        folder = str(Path(folder).expanduser().absolute()) if folder else None
        return TaskRequest(tasks=tuple(self.settings.tasks), include_path=folder)

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
        settings, read = self.settings, inputs.throughput.read
        model, work = inputs.largest_model(settings.models.values()), self.requests(inputs)
        if model is None:
            return Estimate(work=work)
        weights = inputs.largest_checkpoint(settings.models.values())
        need, misfits = estimate_fit(weights, settings.engine, inputs.capacity)
        if not settings.translation:
            # Benchmarks need no engine.
            misfits = ()
        requests = read.benchmark_requests
        if settings.limit is not None:
            requests = settings.limit * REQUESTS_PER_QUESTION
        each = len(settings.tasks) * requests * model.billions / read.benchmark_requests_per_s
        terms = [f"{len(settings.tasks)} tasks of {requests:,} requests"] if settings.tasks else []
        if settings.translation:
            # The tokens on each side are unknown for a folder.
            is_node = settings.translation.startswith("@")
            pairs = inputs.text(settings.translation) if is_node else None
            if pairs is None:
                return Estimate(model=model, need=need, misfits=misfits, work=work)
            write = inputs.throughput.write
            each += pairs.target / write.tokens_per_s_of(model)
            terms.append(f"{format_amount(pairs.target)} tokens generated, {write.describe(model)}")
        seconds = len(settings.models) * each
        breakdown = f"{len(settings.models)} models, each {', '.join(terms)}"
        return Estimate(
            model=model,
            gpu_seconds=seconds,
            hours_breakdown=breakdown,
            need=need,
            misfits=misfits,
            work=work,
        )

    def requests(self, inputs: EstimateInputs) -> float | None:
        """Number of benchmark requests and translated pairs; None if unknown."""
        settings = self.settings
        each = inputs.throughput.read.benchmark_requests
        if settings.limit is not None:
            each = settings.limit * REQUESTS_PER_QUESTION
        pairs = inputs.text(settings.translation) if settings.translation else None
        # Only lm-eval knows how many questions the tasks in include_path have.
        if (settings.translation and pairs is None) or (settings.tasks and settings.include_path):
            return None
        return len(settings.tasks) * each + (pairs.rows if pairs else 0.0)

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
        """Evaluate one model after the other; a stopped job loses its unfinished unit."""
        from hala_hpc.core.environment import set_job_environment
        from hala_hpc.engines.evaluation.score_files import score_name
        from hala_hpc.engines.generation.batch import AnswerCount

        set_job_environment()
        answer_count = AnswerCount(out)
        compiled: CompileCache | None = None
        with ExitStack() as stack:
            for unit in units:
                if out.stop_requested:
                    return
                kind, label = self.parts()[unit]
                if kind == BENCHMARKS:
                    # One cache for all benchmarks: the compilers of this process keep using it.
                    compiled = compiled or stack.enter_context(self.compile_cache(out))
                    found = self.benchmark(label)
                    compiled.publish()
                else:
                    found = self.translate(label, unit, out, answer_count)
                found.write(out.folder(unit) / score_name(unit))
                out.commit(unit)

    def compile_cache(self, out: UnitContext) -> "CompileCache":
        """The folder of compiled code of Triton and torch for the benchmarks of this process."""
        from hala_hpc.engines.models.compile_cache import CompileCache, seed_file, torch_facts

        models = [Path(self.inputs.path(model)) for model in self.settings.models.values()]
        facts = torch_facts("benchmarks", models)
        facts["attention"] = self.settings.attention
        return CompileCache(seed_file(out.cache, facts))

    def benchmark(self, label: str) -> "ModelScores":
        """Scores of one model in all tasks."""
        from hala_hpc.engines.evaluation.lm_eval import BenchmarkRun, run_benchmarks

        settings = self.settings
        path = settings.include_path
        return run_benchmarks(
            self.inputs.path(settings.models[label]),
            label,
            BenchmarkRun(
                tasks=settings.tasks,
                include_path=self.inputs.path(path) if path else None,
                num_fewshot=settings.num_fewshot,
                limit=settings.limit,
                batch_size=settings.batch_size,
                dtype=settings.engine.dtype,
                attention=settings.attention,
                chat=settings.chat_template,
            ),
        )

    def translate(
        self, label: str, unit: int, out: UnitContext, answer_count: "AnswerCount"
    ) -> "ModelScores":
        """Scores of one model's translations, which are written to a file next to the scores."""
        from hala_hpc.engines.evaluation.metrics import METRICS, score_translations
        from hala_hpc.engines.evaluation.score_files import (
            ModelScores,
            TranslatedSentence,
            write_translations,
        )
        from hala_hpc.engines.generation.batch import answer_all
        from hala_hpc.engines.generation.engine import EngineConfig

        pairs = list(read_translation_pairs(self.inputs.path(self.settings.translation or "")))
        if not self.settings.tasks:
            answer_count.rows_of_node = len(pairs) * len(self.settings.models)
        prompts = [fill_template(self.settings.prompt, {"text": source}) for _, source, _ in pairs]
        empty_prompt = fill_template(self.settings.prompt, {"text": ""})
        model = self.inputs.path(self.settings.models[label])
        config = EngineConfig(
            model, self.settings.engine, self.settings.prompt_style, cache_folder=out.cache
        )
        with closing(make_engine(config)) as engine:
            answers = answer_all(engine, prompts, empty_prompt, answer_count)
        # A truncated answer is scored as it is, a missing one as an empty translation.
        hypotheses = [answer.text.strip() if answer else "" for answer in answers]
        rows = [
            TranslatedSentence(id_, source, reference, text)
            for (id_, source, reference), text in zip(pairs, hypotheses, strict=True)
        ]
        write_translations(out.folder(unit), unit, rows)
        scores = score_translations(hypotheses, [reference for _, _, reference in pairs])
        answered = [answer for answer in answers if answer]
        return ModelScores(
            label=label,
            scores=scores.values,
            signatures=scores.signatures,
            samples=dict.fromkeys(METRICS, len(pairs)),
            tokens_in=sum(answer.tokens_in for answer in answered),
            tokens_out=sum(answer.tokens_out for answer in answered),
            cut=sum(not answer.whole for answer in answered),
            too_long=len(answers) - len(answered),
        )

    def check(self, unit: int, folder: Path) -> UnitCounts:
        """Check that every task and metric has finite scores over at least one sample."""
        from hala_hpc.engines.evaluation.metrics import METRICS
        from hala_hpc.engines.evaluation.score_files import read_scores

        kind, label = self.parts()[unit]
        names = self.settings.tasks if kind == BENCHMARKS else METRICS
        found = read_scores(folder, unit, names)
        samples = found.samples.values()
        rows = sum(samples) if kind == BENCHMARKS else max(samples)
        return UnitCounts(
            rows_in=rows,
            rows_out=rows,
            tokens_in=found.tokens_in,
            tokens_out=found.tokens_out,
            details={"label": label, "kind": kind, "scores": found.scores, "data": found.data},
        )

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Write `scores.json` with the scores of all models; return its content."""
        from hala_hpc.engines.evaluation.score_files import SCORES_FILE, merge_scores, read_scores

        units = range(len(markers))
        found = [read_scores(folder, u) for u, folder in zip(units, folders, strict=True)]
        merged = merge_scores(found, list(self.settings.models))
        for folder in folders:
            link_tree(folder, output)
        merged.write(output / SCORES_FILE)
        return merged.to_values()


STAGE = Evaluate
