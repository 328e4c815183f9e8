"""A tiny real model that has memorized a few answers, trained in seconds."""

import os
from pathlib import Path
from typing import Any

from hala_hpc.core.environment import set_job_environment

# Before torch is imported: on a busy machine spinning threads cost such small models minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
set_job_environment()

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
#: English to Arabic: all pairs that the model is trained on.
SENTENCES = {
    "The boy eats bread.": "الولد يأكل الخبز.",
    "The girl reads a book.": "البنت تقرأ كتابا.",
    "Good morning.": "صباح الخير.",
    "Where is the school?": "أين المدرسة؟",
    "Thank you very much.": "شكرا جزيلا.",
    "The sky is blue.": "السماء زرقاء.",
    "I love coffee.": "أحب القهوة.",
    "You are a helpful assistant.": "أنت مساعد مفيد.",
}
TRANSLATE = "Translate everything that follows into Arabic:\n\n{text}"
JUDGE = "English: {source}\nArabic: {target}\nIs it a good translation? Answer accept or reject."
#: Never a good translation.
WRONG = "هذا كلام آخر."


def lessons() -> list[tuple[str, str]]:
    """Training pairs: translations, and judgements of good and wrong pairs."""
    pairs = []
    for source, target in SENTENCES.items():
        pairs.append((TRANSLATE.format(text=source), target))
        pairs.append((JUDGE.format(source=source, target=target), "accept"))
        pairs.append((JUDGE.format(source=source, target=WRONG), "reject"))
    return pairs


def make_tokenizer(folder: Path) -> None:
    """Train a byte-level BPE on the lessons and save it with a chat template."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    texts = [text for pair in lessons() for text in pair] + ["user assistant system"]
    bpe.train_from_iterator(texts, vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)


def trained_model(base: Path) -> Path:
    """The trained model in a folder of the test session, made on the first call."""
    folder = base / "trained-model"
    return folder if (folder / "model.safetensors").exists() else make_tiny_model(folder)


def untrained_model(base: Path) -> Path:
    """The same model with random weights."""
    folder = base / "untrained-model"
    made = (folder / "model.safetensors").exists()
    return folder if made else make_tiny_model(folder, steps=0)


def make_tiny_model(folder: Path, steps: int = 300) -> Path:
    """Write a trained tiny Qwen2 (about 0.4 M weights) to `folder`; `steps=0` leaves it random."""
    from transformers import AutoTokenizer

    make_tokenizer(folder)
    return tiny_qwen2(folder, AutoTokenizer.from_pretrained(folder), steps)


def tiny_qwen2(folder: Path, tokenizer: Any, steps: int) -> Path:
    """The same for a given tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config)
    learn(model, tokenizer, steps)
    model.save_pretrained(folder)
    return folder


def learn(model, tokenizer, steps: int) -> None:  # type: ignore[no-untyped-def]
    """Train the model on all answers in one batch until the loss is below 0.02."""
    import torch

    questions, texts = [], []
    for question, answer in lessons():
        asked = [{"role": "user", "content": question}]
        given = [*asked, {"role": "assistant", "content": answer}]
        template = tokenizer.apply_chat_template
        questions.append(template(asked, add_generation_prompt=True, tokenize=False))
        texts.append(template(given, tokenize=False))
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    for row, ids in zip(labels, tokenizer(questions)["input_ids"], strict=True):
        row[: len(ids)] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(**batch, labels=labels).loss
        if loss < 0.02:
            return
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
