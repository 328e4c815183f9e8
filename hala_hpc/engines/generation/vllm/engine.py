"""vLLM as an engine, driven from this process.

On a GPU the engine core is a process of its own. The work here between two steps (decoding, checks,
commits) does not delay it as long as it has requests in flight.
"""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from hala_hpc.engines.generation.answer_frame import AnswerFrame, StrippedText
from hala_hpc.engines.generation.engine import Completion, EngineConfig, Request
from hala_hpc.engines.generation.labels import label_tokens, normalize_logprobs
from hala_hpc.engines.generation.prompts import Prompter
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.startup import start_engine

#: Minimum number of tokens of one step when an engine that ran out of memory restarts.
MIN_STEP_TOKENS = 2048


class VllmEngine:
    """One vLLM engine for one model (an `Engine`).

    `EngineConfig.cache_folder` holds what earlier engines compiled (see `compile_cache`).

    Raises: UserError (CONFIG) if the model cannot run on this machine.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config, self.settings = config, config.settings
        self._requests: dict[str, Request] = {}
        self._start(self.settings)
        self.tokenizer = self.llm.get_tokenizer()
        self.prompter = Prompter(self.tokenizer, config.prompt_style)
        self.prompter.set_template(config.template)
        end = self.prompter.tail
        self.frame = AnswerFrame(self.tokenizer, self.settings.cut_thinking, end)

    def _start(self, settings: EngineSettings) -> None:
        self.llm = start_engine(self.config.model, settings, self.config.cache_folder)
        self.engine: Any = self.llm.llm_engine
        self.max_model_len = int(self.llm.model_config.max_model_len)
        scheduler = self.engine.vllm_config.scheduler_config
        self.max_num_seqs = int(scheduler.max_num_seqs)

    def prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Prompt ids of user texts, in one call of the tokenizer."""
        return self.prompter.ids(texts)

    def add(self, request: Request) -> None:
        """Add a request to the engine."""
        from vllm.inputs.engine import tokens_input

        name = str(request.key)
        self._requests[name] = request
        self.engine.add_request(name, tokens_input(request.ids), self._params(request))

    def _params(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        options: dict[str, Any] = {
            "temperature": self.settings.temperature
            if sampling.temperature is None
            else sampling.temperature,
            "seed": self.settings.seed + sampling.seed,
            "repetition_penalty": sampling.repetition_penalty,
            "max_tokens": request.max_new_tokens,
            "stop_token_ids": [] if request.is_verbatim else self.prompter.stop_token_ids,
        }
        if sampling.labels:
            options |= label_options(self.tokenizer, sampling.labels)
        elif sampling.logprobs:
            # Of the chosen token only. Flat lists: vLLM makes no object for each token.
            options |= {"logprobs": 0, "flat_logprobs": True}
        if request.stop:
            # vLLM finds them in the text only.
            options |= {"stop": list(request.stop), "detokenize": True}
        else:
            options["detokenize"] = False
        return SamplingParams(**options, output_kind=RequestOutputKind.FINAL_ONLY)

    def step(self) -> list[Completion]:
        """Run one engine step; returns the answers that it finished."""
        finished = [out for out in self.engine.step() if out.finished]
        if not finished:
            return []
        framed = [out for out in finished if not self._requests[out.request_id].is_verbatim]
        answers = [list(out.outputs[0].token_ids) for out in framed]
        prompts = [self._requests[out.request_id].prompt for out in framed]
        texts = self.frame.decode(list(zip(answers, prompts, strict=True)))
        found = [
            self._completion(out, len(answer), text)
            for out, answer, text in zip(framed, answers, texts, strict=True)
        ]
        # All framed ones have left the table of requests.
        whole = [out for out in finished if out.request_id in self._requests]
        return found + [self._verbatim_completion(out) for out in whole]

    def _verbatim_completion(self, out: Any) -> Completion:
        request, output = self._requests.pop(out.request_id), out.outputs[0]
        tokens = list(output.token_ids)
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        whole = output.finish_reason == "stop"
        return Completion(request.key, text, whole, len(request.ids), len(tokens))

    def _completion(self, out: Any, tokens_out: int, stripped: StrippedText) -> Completion:
        request = self._requests.pop(out.request_id)
        tokens_in = len(request.ids)
        if labels := request.sampling.labels:
            probabilities = read_label_probabilities(out.outputs[0], self.tokenizer, labels)
            text = labels[probabilities.index(max(probabilities))]
            return Completion(request.key, text, True, tokens_in, tokens_out, probabilities)
        whole = out.outputs[0].finish_reason == "stop"
        text, reason = stripped.text, stripped.reason
        logprob = out.outputs[0].cumulative_logprob
        return Completion(
            request.key, text, whole, tokens_in, tokens_out, reason=reason, logprob=logprob
        )

    def abort_all(self) -> None:
        """Abort all requests that are not finished."""
        if self._requests:
            self.engine.abort_request(list(self._requests))
            self._requests.clear()

    def restart(self, max_num_seqs: int) -> None:
        """Start a new engine with this `max_num_seqs` and fewer tokens in a step."""
        self._requests.clear()
        scheduler = self.engine.vllm_config.scheduler_config
        # The tokens of a step take memory, too; fewer than the minimum would only be slow.
        tokens = max(MIN_STEP_TOKENS, max_num_seqs, scheduler.max_num_batched_tokens // 4)
        tokens = min(tokens, scheduler.max_num_batched_tokens)
        sizes = {"max_num_seqs": max_num_seqs, "max_num_batched_tokens": tokens}
        self.close()
        self._start(self.settings.model_copy(update=sizes))

    def processes(self) -> Sequence[BaseProcess]:
        """Processes that vLLM started from this one, found by their names."""
        return engine_processes()

    def close(self) -> None:
        """Stop the engine and free its memory, so that another can start."""
        from vllm.distributed import cleanup_dist_env_and_memory

        # A failed restart has stopped it already; the error of the restart is to be reported.
        vars(self).pop("llm", None)
        vars(self).pop("engine", None)
        cleanup_dist_env_and_memory()


def engine_processes() -> list[BaseProcess]:
    """Processes of vLLM engines that were started from this one."""
    children = multiprocessing.active_children()
    return [child for child in children if child.name.startswith("EngineCore")]


def label_options(tokenizer: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Arguments of vLLM's SamplingParams for an output that `read_label_probabilities` reads.

    They replace those of a free answer; the sampled token itself is not used. The engine needs no
    option of its own: vLLM 0.32 returns the log-probabilities of the tokens named in
    `logprob_token_ids` whatever `max_logprobs` says. Every `logprobs_mode` gives the same
    probabilities, since what the modes add to all logits alike cancels out in the division.

    Raises: UserError (CONFIG) as `label_tokens` does.
    """
    tokens = label_tokens(tokenizer, tuple(labels))
    return {
        "temperature": 0.0,
        "max_tokens": 1,
        "logprob_token_ids": [token for ways in tokens for token in ways],
    }


def read_label_probabilities(
    output: Any, tokenizer: Any, labels: Sequence[str]
) -> tuple[float, ...]:
    """Read the probability of each label, given that it is one of them; they sum to 1.

    `output` is a finished vLLM CompletionOutput that was generated with `label_options`.
    """
    found = output.logprobs[0]
    tokens = label_tokens(tokenizer, tuple(labels))
    return normalize_logprobs([[float(found[token].logprob) for token in ways] for ways in tokens])
