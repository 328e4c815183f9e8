"""Run models in vLLM and in transformers, in one process; report where they disagree.

    ask_both_ways.py MODEL...

Both compute in float32. vLLM answers a prompt of 100 tokens greedily; transformers reads prompt and
answer and predicts the token at each position. vLLM has the options that the product gives it on a
CPU. In Cohere2 it reads the token before the sliding window as well (vLLM 0.32 says that such
models are trained so), and transformers does not unless told.

The last line of output is a JSON object: for each folder the answers of both, the minimum margin of
the likeliest token, and the largest difference of the log-probabilities that both give to a token
of prompt and answer.
"""

import gc
import json
import random
import sys
from typing import Any

PROMPT_TOKENS, ANSWER_TOKENS = 100, 24


def ask_vllm(folder: str, prompt: list[int]) -> tuple[list[int], list[float]]:
    """The tokens that vLLM generates, and the log-probabilities of all tokens but the first."""
    from vllm import LLM, SamplingParams

    from hala_hpc.engines.generation.vllm.startup import CPU_OPTIONS

    llm = LLM(
        folder,
        dtype="float32",
        enforce_eager=True,
        enable_prefix_caching=False,
        max_model_len=256,
        max_num_seqs=2,
        max_num_batched_tokens=256,
        **CPU_OPTIONS,
    )
    wanted = SamplingParams(
        temperature=0, max_tokens=ANSWER_TOKENS, ignore_eos=True, logprobs=0, prompt_logprobs=0
    )
    result = llm.generate({"prompt_token_ids": prompt}, wanted, use_tqdm=False)[0]
    answer = list(result.outputs[0].token_ids)
    found = [*result.prompt_logprobs[1:], *result.outputs[0].logprobs]
    tokens = [*prompt[1:], *answer]
    log_probs = [one[token].logprob for one, token in zip(found, tokens, strict=True)]
    del llm
    gc.collect()
    return answer, log_probs


def ask_transformers(folder: str, tokens: list[int]) -> Any:
    """The logits of every position of a text, a row each."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    if config.model_type == "cohere2":
        config.sliding_window += 1
    # Of the CPU attention kernels, only this one applies the logit cap of Gemma 2.
    model = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype="float32", attn_implementation="eager"
    )
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0]


def compare(folder: str, prompt: list[int]) -> dict[str, Any]:
    """What both say of a model."""
    import torch

    answer, log_probs = ask_vllm(folder, prompt)
    tokens = prompt + answer
    logits = ask_transformers(folder, tokens)[:-1]
    others = logits.log_softmax(-1)[torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])]
    best = logits[len(prompt) - 1 :].topk(2)
    return {
        "vllm": answer,
        "transformers": best.indices[:, 0].tolist(),
        "lead": float((best.values[:, 0] - best.values[:, 1]).min()),
        "difference": float((torch.tensor(log_probs) - others).abs().max()),
    }


def main() -> None:
    draw = random.Random(0)
    prompt = [draw.randrange(300, 4000) for _ in range(PROMPT_TOKENS)]
    print(json.dumps({folder: compare(folder, prompt) for folder in sys.argv[1:]}))


if __name__ == "__main__":
    main()
