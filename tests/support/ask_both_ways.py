"""Run models in vLLM and in transformers, in one process; report where they disagree.

    ask_both_ways.py MODEL...

Both compute in float32. vLLM answers a prompt of 100 tokens greedily; transformers reads prompt and
answer and predicts the token at each position. vLLM has the options that the product gives it on a
CPU, where its attention (vLLM 0.32) reads one token more than the sliding window of the config:
transformers reads as many. The last line of output is a JSON object: for each folder the answers of
both, and the minimum margin of the likeliest token.
"""

import gc
import json
import random
import sys
from typing import Any

PROMPT_TOKENS, ANSWER_TOKENS = 100, 24


def ask_vllm(folder: str, prompt: list[int]) -> list[int]:
    """The tokens that vLLM generates."""
    from vllm import LLM, SamplingParams

    from hala_hpc.engines.generation.vllm.startup import CPU_OPTIONS

    sizes = {"max_model_len": 256, "max_num_seqs": 2, "max_num_batched_tokens": 256}
    llm = LLM(
        folder,
        dtype="float32",
        enforce_eager=True,
        enable_prefix_caching=False,
        **sizes,
        **CPU_OPTIONS,
    )
    wanted = SamplingParams(temperature=0, max_tokens=ANSWER_TOKENS, ignore_eos=True)
    answer = llm.generate({"prompt_token_ids": prompt}, wanted, use_tqdm=False)[0].outputs[0]
    del llm
    gc.collect()
    return list(answer.token_ids)


def ask_transformers(folder: str, prompt: list[int], answer: list[int]) -> tuple[list[int], float]:
    """The tokens that transformers predicts at each position of an answer, and the min margin."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    if getattr(config, "sliding_window", None):
        config.sliding_window += 1
    # Of the CPU attention kernels, only this one applies the logit cap of Gemma 2.
    model = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype="float32", attn_implementation="eager"
    )
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    best = logits.topk(2).values
    return logits.argmax(-1).tolist(), float((best[:, 0] - best[:, 1]).min())


def main() -> None:
    draw = random.Random(0)
    prompt = [draw.randrange(300, 4000) for _ in range(PROMPT_TOKENS)]
    report: dict[str, Any] = {}
    for folder in sys.argv[1:]:
        answer = ask_vllm(folder, prompt)
        other, lead = ask_transformers(folder, prompt, answer)
        report[folder] = {"vllm": answer, "transformers": other, "lead": lead}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
