"""A label costs one token, and label probabilities agree with those of transformers."""

from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest
from tiny_models import JUDGE, SENTENCES, TRANSLATE, WRONG, make_tokenizer, trained_model

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.demo.pairs import VERDICTS
from hala_hpc.engines.generation.answer_stream import AnswerStream
from hala_hpc.engines.generation.engine import EngineConfig, Request
from hala_hpc.engines.generation.labels import label_tokens, normalize_logprobs
from hala_hpc.engines.generation.row_program import Sampling
from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.engine import VllmEngine, label_options

LABELS = ("accept", "reject")


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def word_tokenizer(words: list[str]) -> Any:
    """A tokenizer that knows these tokens and letters besides."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    letters = sorted({letter for word in words for letter in word})
    vocabulary = {token_text: number for number, token_text in enumerate([*letters, "<unk>"])}
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    model = BPE(vocab=vocabulary, merges=merges, unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token="<unk>")


def test_every_way_to_write_all_labels_as_one_token_counts() -> None:
    tokenizer = word_tokenizer([" yes", "yes", "Yes", "no", "No"])
    # " no" is two tokens, so " yes" does not count.
    ways = [
        tokenizer.convert_ids_to_tokens(list(t)) for t in label_tokens(tokenizer, ("yes", "no"))
    ]
    assert ways == [["yes", "Yes"], ["no", "No"]]
    assert label_options(tokenizer, ["yes", "no"])["logprob_token_ids"] == [
        token for t in label_tokens(tokenizer, ("yes", "no")) for token in t
    ]


def test_labels_that_one_token_cannot_distinguish_are_named() -> None:
    tokenizer = word_tokenizer(["yes", "no"])
    assert len(label_tokens(tokenizer, ("yes", "no"))) == 2
    for wrong in (("yes", "yesno"), ("no", "yes", "no"), ("nose", "no")):
        with pytest.raises(
            UserError,
            match=r"labels '(no|yes|nose)' and '(no|yes|yesno)': they begin with the same",
        ) as error:
            label_tokens(tokenizer, wrong)
        assert error.value.code == CONFIG
    with pytest.raises(UserError, match="label ' ': it has no tokens"):
        label_tokens(tokenizer, ("yes", " "))


@pytest.mark.slow
def test_the_words_of_the_demo_begin_differently(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    first, second = label_tokens(tokenizer_of(tmp_path), VERDICTS)
    assert not set(first) & set(second)


def test_probabilities_sum_to_one_however_unlikely_the_labels_are() -> None:
    assert normalize_logprobs([[-1.0], [-1.0, -1.0]]) == pytest.approx((1 / 3, 2 / 3))
    assert normalize_logprobs([[-900.0], [-901.0]]) == pytest.approx((0.7310586, 0.2689414))
    assert normalize_logprobs([[-inf], [-2.0]]) == (0.0, 1.0)
    assert normalize_logprobs([[-inf], [-inf]]) == (0.5, 0.5)


def expected_shares(folder: Path, prompts: list[list[int]]) -> list[tuple[float, ...]]:
    """Shares from transformers' own forward pass, each prompt on its own."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = label_tokens(tokenizer_of(folder), LABELS)
    shares = []
    for ids in prompts:
        likely = model(torch.tensor([ids])).logits.detach()[0, -1].double().softmax(0)
        weights = [float(likely[list(ways)].sum()) for ways in tokens]
        shares.append(tuple(weight / sum(weights) for weight in weights))
    return shares


@pytest.mark.slow
@pytest.mark.long
def test_the_engine_gives_the_shares_that_transformers_gives(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = trained_model(tmp_path_factory.getbasetemp())
    judged = [JUDGE.format(source=s, target=t) for s in SENTENCES for t in (SENTENCES[s], WRONG, s)]
    free = [TRANSLATE.format(text=text) for text in SENTENCES]
    settings = EngineSettings(dtype="float32", cpu_cache_gb=0.1, max_num_seqs=5)
    with closing(VllmEngine(EngineConfig(str(folder), settings))) as engine:
        prompts = engine.prompt_ids(judged + free)
        labelled, plain = Sampling(labels=LABELS), Sampling()
        # Labels and free answers in one batch, in turns.
        order = sorted(range(len(prompts)), key=lambda key: key % len(free))
        asked = (
            Request(key, prompts[key], 30, labelled if key < len(judged) else plain)
            for key in order
        )
        found = {c.key: c for step in AnswerStream(engine).answers(asked) for c in step}
    expected = expected_shares(folder, prompts[: len(judged)])
    for key, shares in enumerate(expected):
        assert found[key].label_probabilities == pytest.approx(shares, abs=1e-5)
        assert sum(found[key].label_probabilities) == pytest.approx(1)
        assert (
            found[key].text
            == LABELS[found[key].label_probabilities.index(max(found[key].label_probabilities))]
        )
        assert found[key].tokens_out == 1
    accepted = [shares[0] for shares in expected]
    assert min(accepted) < 0.1
    assert max(accepted) > 0.9
    answers = [found[key].text for key in range(len(judged), len(prompts))]
    assert answers == list(SENTENCES.values())
