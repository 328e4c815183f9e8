"""Settings of an evaluation: models, benchmarks, and corpora to translate."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from hala_hpc.core.settings import CorpusRef, FilesRef, ModelRef, OneOrMany, runtime
from hala_hpc.engines.generation.settings import GenerationSettings
from hala_hpc.engines.models.attention import AUTO, Attention


class EvaluationSettings(GenerationSettings):
    """Settings of the stage `evaluate`."""

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
    """Batch size of choices of more than 64 tokens and of sampled answers; that of other choices
    is found, and generated answers come from the engine."""
    commit_interval_s: PositiveFloat = runtime(30.0)
    """Seconds until answers are on the disk, where a killed worker does not lose them."""
