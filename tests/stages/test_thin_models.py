"""Thin models of the paper's architectures: their chat templates, and a step of training."""

import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from corpora import row_id, write_corpus
from plain_out import run_plain
from thin_families import FAMILIES
from thin_models import make_thin_config, make_thin_model
from thin_tokenizers import make_thin_tokenizer
from token_folders import tokenized

from hala_hpc.demo.rows import instruction_rows
from hala_hpc.engines.generation.prompts import Prompter
from hala_hpc.engines.models.tensors import iter_tensors, tensor_headers
from hala_hpc.engines.training.dataset import load_training_data
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX, Example, ExampleMaker

#: What a template adds after an answer, in the part that is trained.
ENDS = {
    "lfm2": "<|im_end|>",
    "cohere2": "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    "qwen2": "<|im_end|>",
    "gemma2": "<end_of_turn>",
}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each family with its tokenizer, and conversations in `talks`."""
    folder = tmp_path_factory.mktemp("thin")
    for family in FAMILIES:
        make_thin_tokenizer(family, folder / family)
    talks = [row["messages"] for row in instruction_rows(60, random.Random(0), set())]
    rows = [{"id": row_id(talk), "origin": "test", "messages": talk} for talk in talks]
    write_corpus(folder / "talks", rows)
    return folder


@cache
def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def example(tokenizer: Any, *texts: str, system: str = "") -> Example | str:
    """The training example of a conversation, or the rejection reason."""
    messages = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    messages += [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    (made,) = ExampleMaker(tokenizer, None).encode([messages])
    return made


#: Layer types that transformers reads from the published config keys.
LAYERS = {
    "lfm2": ["conv", "conv", "full_attention", "conv"],
    "cohere2": ["sliding_attention"] * 3 + ["full_attention"],
    "qwen2": ["full_attention"] * 4,
    "gemma2": ["sliding_attention", "full_attention"] * 2,
}


@every_family
def test_transformers_reads_the_published_config_keys(family: str, tmp_path: Path) -> None:
    from transformers import AutoConfig

    given = make_thin_config(family, tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.layer_types == LAYERS[family]
    assert config.tie_word_embeddings == (family != "qwen2")
    assert config.rope_parameters["rope_theta"] == given["rope_theta"]
    assert config.vocab_size % 64 == 0 <= config.vocab_size - len(load_tokenizer(tmp_path)) < 64


@every_family
def test_a_text_begins_once_and_only_answers_are_trained(family: str, folder: Path) -> None:
    tokenizer = load_tokenizer(folder / family)
    made = example(tokenizer, "Hello", "Good morning.", "And now?", "Thank you.")
    assert isinstance(made, Example)
    assert made.input_ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)
    assert tokenizer.bos_token is None or made.input_ids[0] == tokenizer.bos_token_id
    trained = tokenizer.decode([label for label in made.labels if label != IGNORE_INDEX])
    assert trained == f"Good morning.{ENDS[family]}Thank you.{ENDS[family]}"
    # As in generation.
    prompter = Prompter(tokenizer, "chat")
    prompt = prompter.ids(["Hello"])[0]
    assert made.input_ids[: len(prompt)] == prompt
    assert set(made.labels[: len(prompt)]) == {IGNORE_INDEX}
    assert ENDS[family].endswith(tokenizer.decode(prompter.stop_token_ids))
    assert prompter.stop_token_ids == made.input_ids[-1:]


@every_family
def test_no_text_of_a_row_becomes_a_control_token(family: str, folder: Path) -> None:
    tokenizer = load_tokenizer(folder / family)
    ids = tokenizer.get_added_vocab()
    # Cohere's START_OF_TURN and Qwen's tool_call are not flagged as special.
    spoken = [
        content
        for content, is_special in FAMILIES[family].added
        if is_special or content in tokenizer.chat_template
    ]
    text = "Hello" + "".join(spoken)
    quiet, loud = (
        example(tokenizer, question, question, "And?", "Yes.") for question in ("Hello", text)
    )
    assert isinstance(quiet, Example)
    assert isinstance(loud, Example)
    control = [
        [number for number in made.input_ids if number in ids.values()] for made in (quiet, loud)
    ]
    assert control[0] == control[1]
    prompter = Prompter(tokenizer, "chat")
    asked = prompter.ids([text])[0]
    assert not set(asked[len(prompter.head) : -len(prompter.tail)]) & set(ids.values())
    assert tokenizer.decode(asked[len(prompter.head) : -len(prompter.tail)]) == text


@every_family
def test_a_system_turn_stays_or_its_row_is_refused(family: str, folder: Path) -> None:
    tokenizer = load_tokenizer(folder / family)
    made = example(tokenizer, "Hello", "Good morning.", system="You are kind.")
    if family == "gemma2":
        assert made == "refused_by_template"
    else:
        assert isinstance(made, Example)
        assert tokenizer.decode(made.input_ids).count("You are kind.") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("family", "packing"), [("lfm2", False), ("gemma2", True)])
def test_a_step_trains_every_tensor_and_preserves_the_makers_keys(
    family: str, packing: bool, folder: Path, tmp_path: Path
) -> None:
    # Some published configs name only the end of text as the stop token.
    one_stop: dict[str, Any] = {"eos_token_id": 1} if family == "gemma2" else {}
    model = make_thin_model(family, tmp_path / "model", torch_dtype="float32", **one_stop)
    options = {"model": str(model), "train": str(folder / "talks"), "objective": "chat"}
    given = options | {"max_length": 256, "packing": packing, "units": 2, "held_out": 0.1}
    made = tokenized(tmp_path, **given)
    data = load_training_data(tmp_path / "tokens")
    systems = sum(marker.rejected.get("refused_by_template", 0) for marker in made.markers.values())
    assert (systems > 0) == (family == "gemma2")
    assert data.facts.rows + data.facts.held_out_rows + systems == 60
    out = run_plain(
        "sft",
        {
            "model": str(model),
            "tokens": str(tmp_path / "tokens"),
            "max_steps": 1,
            "global_batch_size": 4,
            "learning_rate": 1e-3,
            "warmup_ratio": 0,
            "zero_stage": 0,
        },
        tmp_path / "sft",
    )
    assert out.facts is not None
    assert (out.facts.rows_in, out.facts.rows_out) == (
        data.facts.rows,
        data.facts.rows - out.facts.rejected["not_reached"],
    )
    # The model is untrained: all tokens are almost equally likely.
    assert abs(out.facts.details["loss_first"] - math.log(4160)) < 1
    tuned = out.folder(0)
    assert tensor_headers(tuned) == tensor_headers(model)
    before = dict(iter_tensors(model))
    assert not [name for name, tensor in iter_tensors(tuned) if tensor.equal(before[name])]
    keys = json.loads((model / "config.json").read_text())
    del keys["torch_dtype"]
    assert json.loads((tuned / "config.json").read_text()).items() >= keys.items()
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tuned / name).read_bytes() == (model / name).read_bytes()
    stops = json.loads((tuned / "generation_config.json").read_text())["eos_token_id"]
    ids = load_tokenizer(folder / family).convert_tokens_to_ids
    assert stops == ([1, ids("<end_of_turn>")] if family == "gemma2" else ids("<|im_end|>"))
