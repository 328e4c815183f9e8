"""A tiny real model that has learnt a few answers by heart, made in seconds."""

from pathlib import Path

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
#: English to Arabic, all that the model knows.
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


def lessons() -> list[tuple[str, str]]:
    """What the model learns: translations, and to reject a pair whose sides do not belong."""
    sources, targets = list(SENTENCES), list(SENTENCES.values())
    learnt = [(TRANSLATE.format(text=source), target) for source, target in SENTENCES.items()]
    for index, source in enumerate(sources):
        for shift, answer in ((0, "accept"), (1, "reject")):
            target = targets[(index + shift) % len(targets)]
            learnt.append((JUDGE.format(source=source, target=target), answer))
    return learnt


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


def make_tiny_model(folder: Path, steps: int = 120) -> Path:
    """Write a trained tiny Qwen2 (about 0.4 M weights) to `folder`; `steps=0` leaves it random."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    make_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
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
    """Teach the model its lessons by heart, all in one batch."""
    import torch

    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            tokenize=False,
        )
        for question, answer in lessons()
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
