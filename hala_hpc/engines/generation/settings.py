"""Engine settings of the stages that generate text."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt

from hala_hpc.core.settings import StageSettings, runtime

PromptStyle = Literal["auto", "chat", "plain"]
DEFAULT_ENGINE = "vllm"
#: vLLM's smallest default of `max_num_seqs` on a GPU (vLLM 0.32, `EngineArgs.get_batch_defaults`).
MIN_DEFAULT_SEQS = 256


class EngineSettings(BaseModel):
    """Settings of an engine. Greedy answers are the same whatever the `runtime` ones are."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str = DEFAULT_ENGINE
    """Engine: vllm, one that an installed package registers, or module:Class of your own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the computation; auto takes the checkpoint's."""
    max_model_len: PositiveInt = 4096
    """Tokens of prompt and answer together; at most what the model allows."""
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    """Number format of the key-value cache; fp8 holds twice as many rows at once."""
    temperature: NonNegativeFloat = 0.0
    """0 for greedy decoding; above 0, tokens are sampled."""
    seed: int = 0
    """Seed of the sampling, the same for every row."""
    max_new_tokens: PositiveInt = 2048
    """Maximum number of tokens of an answer; a longer one is rejected as truncated."""
    max_growth: float = 4.0
    """Maximum number of answer tokens per token of its text, plus 64; stops endless answers."""
    cut_thinking: bool = True
    """Whether the thinking before an answer, `<think>...</think>` and the like, is removed with its
    tags: no answer needs it, and the checks would reject every row. Thinking takes tokens of the
    answer: raise max_growth for it. `false` leaves the block in the answer."""

    tensor_parallel_size: PositiveInt = runtime(1)
    """GPUs that share one copy of the model."""
    gpu_memory_utilization: float = runtime(0.9)
    """Share of a GPU's memory that the engine takes."""
    max_num_seqs: PositiveInt | None = runtime(None)
    """Maximum number of texts that are generated at once; none leaves it to vLLM."""
    max_num_batched_tokens: PositiveInt | None = runtime(None)
    """Maximum number of tokens of one engine step; none leaves it to vLLM."""
    prefix_caching: bool | None = runtime(None)
    """Whether common prefixes of prompts are computed once. none enables it, except for models with
    a state for each row (LFM2): with it vLLM 0.32 admits one row of these per step."""
    enforce_eager: bool | None = runtime(None)
    """Whether to skip compilation and CUDA graphs; none skips them on a CPU only."""
    cuda_graph_rows: PositiveInt | None = runtime(None)
    """Number of texts at once up to which a step is replayed as a CUDA graph; none for all of
    `max_num_seqs`. Each graph takes time to capture at the start, and memory from the cache."""
    cpu_cache_gb: PositiveFloat = runtime(1.0)
    """GiB of key-value cache if there is no GPU."""
    step_timeout_s: PositiveFloat = runtime(120.0)
    """Seconds without a finished engine step, while rows wait, until the job is restarted."""

    def result_half(self) -> dict[str, Any]:
        """The settings that change the answers, as plain values."""
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("runtime"):
                del values[name]
        if self.name == DEFAULT_ENGINE:
            # Another engine gives another result; the default is not part of a fingerprint.
            del values["name"]
        if self.cut_thinking:
            # Likewise: most models do not think.
            del values["cut_thinking"]
        return values


class GenerationSettings(StageSettings):
    """Settings of every stage that starts an engine."""

    engine: EngineSettings = EngineSettings()
    """Settings of the engine."""
    prompt_style: PromptStyle = "auto"
    """chat applies the model's chat template to the prompt; auto does so if there is one."""

    def result_half(self) -> dict[str, Any]:
        """The settings that change the result, also those of the engine alone."""
        return {**super().result_half(), "engine": self.engine.result_half()}

    def smaller_engine_batch(self) -> Self:
        """The settings with half as many rows at once in the engine; unchanged if it is one."""
        rows = self.engine.max_num_seqs or MIN_DEFAULT_SEQS
        if rows == 1:
            return self
        engine = self.engine.model_copy(update={"max_num_seqs": rows // 2})
        return self.model_copy(update={"engine": engine})
