"""Runs the units of an evaluation in a job: benchmarks first, then translations."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hala_hpc.core.environment import set_job_environment
from hala_hpc.core.stage import Inputs, UnitContext
from hala_hpc.data.corpus.reader import read_translation_pairs
from hala_hpc.engines.evaluation.answer_journal import AnswerJournal
from hala_hpc.engines.evaluation.benchmark_units import (
    BenchmarkModel,
    BenchmarkShard,
    BenchmarkUnits,
)
from hala_hpc.engines.evaluation.domain_tables import add_domains
from hala_hpc.engines.evaluation.evaluation_parts import (
    BENCHMARKS,
    TRANSLATION,
    EvaluationPart,
    name_of_corpus,
    order_units,
)
from hala_hpc.engines.evaluation.evaluation_store import EvaluationStore
from hala_hpc.engines.evaluation.lm_eval import BenchmarkRun
from hala_hpc.engines.evaluation.perturbations.perturbation import plain_entry
from hala_hpc.engines.evaluation.score_files import score_name, write_translations
from hala_hpc.engines.evaluation.settings import EvaluationSettings
from hala_hpc.engines.evaluation.translation_unit import (
    HeldOutPair,
    TranslationRun,
    score_answers,
    translate_pairs,
)
from hala_hpc.engines.generation.batch import AnswerCount
from hala_hpc.engines.generation.engine import EngineConfig
from hala_hpc.engines.models.compile_cache import CompileCache, seed_file, torch_facts

#: Folder in the work folder with the results of all evaluations, by content.
EVALUATIONS = "evaluations"


class EvaluationJob:
    """The work of one worker; an item or a sentence is a row of its progress."""

    def __init__(
        self,
        settings: EvaluationSettings,
        inputs: Inputs,
        parts: Sequence[EvaluationPart],
        out: UnitContext,
    ) -> None:
        set_job_environment()
        self.settings, self.inputs, self.parts, self.out = settings, inputs, parts, out
        self.count = AnswerCount(out)

    def run(self, units: Iterable[int]) -> None:
        """Evaluate one model after the other.

        Benchmarks whose results another job is making come last: until then it is done.
        """
        order = order_units(units, self.parts, list(self.settings.models))
        benchmarks = [unit for unit in order if self.parts[unit].kind == BENCHMARKS]
        translations = [unit for unit in order if self.parts[unit].kind == TRANSLATION]
        self.count.rows_of_worker = sum(len(self.pairs_of(unit)) for unit in translations)
        worker = f"{self.out.shared.parent.name}:{self.out.worker}"
        store = EvaluationStore(self.out.cache.parent / EVALUATIONS, worker)
        run, cache = self.benchmark_run(), self.compile_cache
        with BenchmarkUnits(run, store, cache, self.count) as maker:
            for unit in benchmarks:
                part = self.parts[unit]
                self.count.rows_of_worker += maker.count_items(part.entry, part.shard)
            self.count.report()
            waiting = [unit for unit in benchmarks if not self.benchmark(maker, unit, False)]
            for unit in waiting:
                self.benchmark(maker, unit, True)
        for unit in translations:
            if not self.out.stop_requested:
                self.translate(unit)

    def benchmark(self, maker: BenchmarkUnits, unit: int, must_wait: bool) -> bool:
        """Make a unit of a benchmark; False if another job is making the same result."""
        if self.out.stop_requested:
            return True
        part = self.parts[unit]
        shard = BenchmarkShard(self.benchmark_model(part.label), part.entry, part.shard)
        is_made = maker.make(shard, unit, self.out, must_wait)
        if is_made:
            self.out.commit(unit)
        return is_made

    def benchmark_model(self, label: str) -> BenchmarkModel:
        """A model with the digests of its files that the summary of its node has."""
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

    def benchmark_run(self) -> BenchmarkRun:
        """Tasks and settings for lm-eval."""
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
            engine=settings.engine,
        )

    def compile_cache(self) -> CompileCache:
        """The folder of compiled code of Triton and torch for the benchmarks of this process."""
        models = [Path(self.inputs.path(model)) for model in self.settings.models.values()]
        facts = torch_facts("benchmarks", models)
        facts["attention"] = self.settings.attention
        return CompileCache(seed_file(self.out.cache, facts))

    def translate(self, unit: int) -> None:
        """Make a unit of translations, with a file of them next to their scores."""
        settings, part = self.settings, self.parts[unit]
        pairs = self.pairs_of(unit)
        model = self.inputs.path(settings.models[part.label])
        config = EngineConfig(
            model, settings.engine, settings.prompt_style, cache_folder=self.out.cache
        )
        journal = AnswerJournal(self.out, unit, settings.commit_interval_s)
        several = len(settings.translation) > 1
        languages = ("en", "ar") if settings.direction == "forward" else ("ar", "en")
        run = TranslationRun(part.label, part.entry if several else "", config, languages)
        generated = translate_pairs(run, settings.prompt, pairs, journal, self.count)
        scores, rows_of_file = score_answers(run, pairs, generated)
        folder = self.out.folder(unit)
        rows_of_file = add_domains(rows_of_file, self.corpus_of(unit))
        write_translations(folder, unit, rows_of_file)
        scores.write(folder / score_name(unit))
        self.out.commit(unit)

    def corpus_of(self, unit: int) -> str:
        """The folder of the corpus that a unit translates."""
        corpora = {name_of_corpus(one): one for one in self.settings.translation}
        return self.inputs.path(corpora[self.parts[unit].entry])

    def pairs_of(self, unit: int) -> list[HeldOutPair]:
        """Id, text to translate, and reference of each pair of a unit's corpus."""
        pairs = list(read_translation_pairs(self.corpus_of(unit)))
        if self.settings.direction == "forward":
            return pairs
        return [(id_, target, source) for id_, source, target in pairs]
