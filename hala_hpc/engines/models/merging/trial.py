"""Try a merged model: load it, let it answer, and compare perplexities with its parents."""

import gc
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.stage import UnitContext
from hala_hpc.engines.models.merging.merge_record import ModelPerplexity, TrialRecord

logger = logging.getLogger(__name__)

MERGED = "merged"
#: The question to a merged model.
PROMPT = "What is the capital of France?"
ANSWER_TOKENS = 16
#: Context of the engine: question, chat template and answer.
ENGINE_TOKENS = 1024
#: Tokens of a held-out row that are used.
ROW_TOKENS = 1024


class HeldOutRows(NamedTuple):
    """Rows for the perplexity: a corpus folder, and the number of rows used."""

    corpus: str
    rows: int


class LoadedModel:
    """A model in transformers with its tokenizer, on the GPU if there is one."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        from hala_hpc.engines.models.attention import AUTO, AttentionUse, choose_attention

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        config = AutoConfig.from_pretrained(folder)
        use = AttentionUse(self.device, "auto", trains=False)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", attn_implementation=choose_attention(config, AUTO, use)
        )
        self.model = model.to(self.device).eval()

    def answer(self, prompt: str) -> str:
        """Return the first tokens of the greedy answer.

        Raises: UserError (BAD_DATA) if the model's logits are not finite.
        """
        import torch

        ids = torch.tensor([self.prompt_ids(prompt)], device=self.device)
        with torch.inference_mode():
            if not self.model(ids).logits.isfinite().all():
                raise UserError(
                    "the merged model answers with numbers that are not finite: the method and its "
                    "parameters do not suit these models",
                    BAD_DATA,
                )
            # With its own lengths: those of generation_config.json do not apply here.
            made = self.model.generate(ids, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        text: str = self.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        return text

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the token ids of a question, by the chat template if there is one."""
        if not self.tokenizer.chat_template:
            return list(self.tokenizer(prompt)["input_ids"])
        messages = [{"role": "user", "content": prompt}]
        text = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def surprise(self, text: str) -> tuple[float, int]:
        """Return a text's negative log likelihood in nats, and its tokens without the first."""
        import torch

        ids = self.tokenizer(text, truncation=True, max_length=ROW_TOKENS)["input_ids"]
        if len(ids) < 2:
            return 0.0, 0
        place = torch.tensor([ids], device=self.device)
        with torch.inference_mode():
            scores = self.model(place).logits[0, :-1].float().log_softmax(-1)
        chosen = scores.gather(1, place[0, 1:, None])
        return -float(chosen.sum()), len(ids) - 1


def try_in_transformers(
    merged: Path, parents: Mapping[str, Path], held_out: HeldOutRows | None
) -> TrialRecord:
    """Load the merged model and ask it; with rows measure its perplexity and that of its parents.

    `parents`: folders by their names in the settings. One model is loaded at a time.
    """
    texts = read_texts(held_out) if held_out else []
    loaded = LoadedModel(merged)
    answer = loaded.answer(PROMPT)
    logger.info("the merged model answers %r with %r", PROMPT, answer)
    found = [measure_perplexity(MERGED, loaded, texts)] if texts else []
    del loaded
    for name, folder in parents.items() if texts else ():
        gc.collect()
        found.append(measure_perplexity(name, LoadedModel(folder), texts))
    return TrialRecord(
        loaded_in=("transformers",), prompt=PROMPT, answer=answer, perplexities=tuple(found)
    )


def read_texts(held_out: HeldOutRows) -> list[str]:
    """Return the texts of the first held-out rows: all messages of a row, or the target of a pair.

    Raises: UserError (BAD_DATA) if there are none.
    """
    from hala_hpc.data.corpus.reader import read_rows

    texts = []
    for row in read_rows(held_out.corpus):
        messages: Sequence[Mapping[str, str]] = row.get("messages") or ()
        text = "\n".join(message["content"] for message in messages) or row.get("target", "")
        if text:
            texts.append(text)
        if len(texts) == held_out.rows:
            break
    if not texts:
        raise UserError(f"held_out={held_out.corpus}: it has no row with a text", BAD_DATA)
    return texts


def measure_perplexity(name: str, loaded: LoadedModel, texts: Sequence[str]) -> ModelPerplexity:
    """Return the perplexity over all tokens of the texts except the first of each."""
    surprises = [loaded.surprise(text) for text in texts]
    tokens = sum(count for _, count in surprises)
    mean = sum(nats for nats, _ in surprises) / max(1, tokens)
    return ModelPerplexity(
        model=name, perplexity=round(math.exp(mean), 4), rows=len(texts), tokens=tokens
    )


def try_in_vllm(merged: Path, out: UnitContext) -> str:
    """Load the merged model in vLLM and return its answer."""
    from hala_hpc.engines.generation.batch import AnswerCount, answer_all
    from hala_hpc.engines.generation.engine import EngineConfig
    from hala_hpc.engines.generation.engine_choice import make_engine
    from hala_hpc.engines.generation.settings import EngineSettings

    settings = EngineSettings.model_validate(
        {"max_num_seqs": 1, "max_model_len": ENGINE_TOKENS, "max_new_tokens": ANSWER_TOKENS}
    )
    config = EngineConfig(str(merged), settings, cache_folder=out.cache)
    with closing(make_engine(config)) as engine:
        answer = answer_all(engine, [PROMPT], "", AnswerCount(out))[0]
    text = answer.text if answer else ""
    logger.info("in vLLM the merged model answers %r with %r", PROMPT, text)
    return text
