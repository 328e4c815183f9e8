"""What lighteval asks and scores on made-up rows: the golden strings of our task files.

    benchmarks/peers/setup-lighteval
    PYTHONPATH=runs/peers/lighteval USE_TF=0 python -m benchmarks.peers.lighteval_golden

writes tests/golden/lighteval.json. Prompts are those of lighteval's PromptManager, scored strings
those of its tok_encode_pair, decisions those of its metric, and means those of its MetricsLogger.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers.published_rows import made_up_log_probability, published_rows

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "lighteval.json"
TASKS = Path(__file__).parents[2] / "hala_hpc" / "engines" / "evaluation" / "tasks" / "arabic"


class ChatMarkup:
    """A tokenizer as far as a prompt needs one: a chat template, and texts as single tokens."""

    eos_token_id = -1

    def apply_chat_template(
        self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """The messages in ChatML."""
        del tokenize
        turns = [f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages]
        return "".join(turns) + ("<|im_start|>assistant\n" if add_generation_prompt else "")


class WholeTexts:
    """A model whose tokens are whole texts, to see which text lighteval scores."""

    tokenizer = ChatMarkup()
    add_special_tokens = False

    def tok_encode(self, text: str, add_special_tokens: bool | None = None) -> list[str]:
        """The text as one token."""
        del add_special_tokens
        return [text]


def subjects_of_task_files() -> dict[str, list[str]]:
    """The configurations of each data set in our task files."""
    found: dict[str, list[str]] = {}
    for path in TASKS.glob("oall_*.yaml"):
        # `!function` is lighteval's concern no more than ours here.
        group = yaml.load(path.read_text().replace("!function ", ""), Loader=yaml.SafeLoader)
        if isinstance(group["task"], list):
            found[group["dataset_path"]] = [one["dataset_name"] for one in group["task"]]
    return found


def golden_item(config: Any, row: dict[str, Any]) -> dict[str, Any]:
    """What lighteval makes of a row."""
    from lighteval.models.abstract_model import LightevalModel
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.prompt_manager import PromptManager

    doc = config.prompt_function(dict(row), config.name)
    plain = PromptManager().prepare_prompt(doc)
    chat = PromptManager(use_chat_template=True, tokenizer=ChatMarkup()).prepare_prompt(doc)
    encode = LightevalModel.tok_encode_pair
    scored = {
        mode: [tokens[0] for tokens in encode(WholeTexts(), text, doc.choices, pairwise=True)[1]]
        for mode, text in (("plain", plain), ("chat", chat))
    }
    values = [made_up_log_probability(plain, label) for label in doc.choices]
    response = ModelResponse(logprobs=values, output_tokens=[[0]] * len(values))
    correct = config.metrics[0].sample_level_fn.compute(doc=doc, model_response=response)
    return {
        "plain": plain,
        "chat": chat,
        "scored": scored["plain"],
        "scored_chat": scored["chat"],
        "gold": doc.gold_index,
        "correct": correct,
    }


def main() -> None:
    """Write the golden file."""
    from lighteval.logging.info_loggers import MetricsLogger
    from lighteval.tasks.lighteval_task import LightevalTask
    from lighteval.tasks.multilingual.tasks.arabic import TASKS_TABLE

    configs = {(one.hf_repo, one.hf_subset): one for one in TASKS_TABLE}
    logger, tasks, items = MetricsLogger(), {}, []
    for source in published_rows(subjects_of_task_files()):
        config = configs[source.data_set, source.config]
        name = f"{config.name}|0"
        tasks[name] = LightevalTask(config)
        for row in source.rows:
            item = golden_item(config, row)
            logger.log(name, {config.metrics[0].metric_name: item["correct"]})
            items.append({"data_set": source.data_set, "config": source.config, **item})
    logger.aggregate(tasks, bootstrap_iters=0)
    means = {
        name.partition(":")[0].partition("|")[0]: next(iter(values.values()))
        for name, values in logger.metric_aggregated.items()
        if ":_average" in name or name.startswith("arabic_exams")
    }
    golden = {"lighteval": version("lighteval"), "means": means, "items": items}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(items)} rows of {len(tasks)} configurations: {GOLDEN}")


if __name__ == "__main__":
    main()
