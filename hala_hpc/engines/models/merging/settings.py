"""Settings of a merge beside its method: models, data type of the weights, and the trial."""

from typing import Any, Literal

from pydantic import PositiveInt

from hala_hpc.core.settings import CorpusRef, ModelRef, OneOrMany, runtime
from hala_hpc.engines.models.merging.methods import MethodSettings


class MergeSettings(MethodSettings):
    """Models, method and trial of a merge."""

    base: ModelRef
    """The model before it was tuned: hub id, folder or `@node`."""
    model: OneOrMany[ModelRef]
    """The tuned model, or several. Tokenizer, chat template and config are taken from the first."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the merged weights; auto: that of the base. The sums are made in float32."""
    chat_template: Literal["same", "any"] = "same"
    """same: base and tuned models that have a chat template must have the same one. any: that of
    the first tuned model is used in any case."""
    try_with: list[Literal["transformers", "vllm"]] = runtime(["transformers"])
    """Libraries that load the merged model and let it answer a question before it is published.
    vllm needs a GPU, unless its build is for CPUs."""
    held_out: CorpusRef | None = None
    """Rows on which the perplexity of the merged model and of its parents is measured; none: it is
    not measured."""
    held_out_rows: PositiveInt = 64
    """Number of these rows that are used; 1024 tokens of each."""
    beside: list[dict[str, Any]] = runtime([])
    """Settings of the other merges of a sweep, set by the launch: with the same parents all are
    made in one pass over them."""
