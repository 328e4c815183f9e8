"""Our group `arabic` in lm-eval, with a model that makes log-probabilities up.

    python tests/support/leaderboard_run.py OUT.json

in an environment whose HF_DATASETS_CACHE is a folder of the test; golden rows are written there.
OUT gets what lm-eval asks and scores in both modes, and perturbed, and the scores.
"""

import json
import sys
from pathlib import Path
from typing import Any

from golden_prompts import golden_sources

from benchmarks.peers.published_rows import PublishedRows, made_up_log_probability
from hala_hpc.engines.evaluation.item_outcomes import read_outcomes
from hala_hpc.engines.evaluation.lm_eval import sum_outcomes
from hala_hpc.engines.evaluation.score_means import merge_scores
from hala_hpc.engines.evaluation.task_groups import make_task_manager
from hala_hpc.engines.evaluation.task_reader import hub_data_set
from hala_hpc.engines.evaluation.task_shards import digest_tasks, load_tasks

#: The same items with another spelling of letters.
PERTURBED = "arabic+letters"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_rows(cache: Path, source: PublishedRows) -> None:
    """Write rows into a datasets cache as `load_dataset` does."""
    from datasets import Dataset, DatasetInfo, SplitDict, SplitInfo
    from datasets.arrow_writer import ArrowWriter
    from datasets.naming import camelcase_to_snakecase

    found = hub_data_set(source.data_set, source.config, {}, (source.split,))
    folder = cache / found.folder / str(found.config_id) / "0.0.0" / COMMIT
    folder.mkdir(parents=True)
    name = camelcase_to_snakecase(source.data_set.rpartition("/")[2])
    rows = Dataset.from_list(source.rows)
    with ArrowWriter(
        features=rows.features, path=str(folder / f"{name}-{source.split}.arrow")
    ) as out:
        for row in source.rows:
            out.write(row)
        count, size = out.finalize()
    split = SplitInfo(source.split, size, count, dataset_name=name)
    DatasetInfo(
        features=rows.features,
        builder_name="parquet",
        dataset_name=name,
        config_name=str(found.config_id),
        version="0.0.0",
        splits=SplitDict({source.split: split}, dataset_name=name),
    ).write_to_directory(str(folder))


def make_model() -> Any:
    """A model for lm-eval whose tokens are characters, and which keeps what it is asked."""
    from lm_eval.api.model import TemplateLM

    class MadeUpModel(TemplateLM):
        backend = "causal"
        tokenizer_name = "made-up"
        asked: list[tuple[str, str, str]]

        @property
        def eot_token_id(self) -> int:
            return 0

        def tok_encode(self, string: str, **_: Any) -> Any:
            return list(string)

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
            self.asked += [(*texts, "".join(choice)) for texts, _, choice in requests]
            return [(made_up_log_probability(*texts), False) for texts, _, _ in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

        def chat_template(self, chat_template: bool | str = False) -> str:
            del chat_template
            return "chatml"

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            turns = [f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in chat_history]
            return "".join(turns) + ("<|im_start|>assistant\n" if add_generation_prompt else "")

    model = MadeUpModel()
    model.asked = []
    return model


def main(out: str) -> None:
    """Write the rows, ask in both modes, write what was asked."""
    import datasets
    import lm_eval

    for source in golden_sources():
        write_rows(Path(datasets.config.HF_DATASETS_CACHE), source)
    answer: dict[str, Any] = {}
    for mode, entry in (("plain", "arabic"), ("chat", "arabic"), ("perturbed", PERTURBED)):
        manager = make_task_manager(["arabic"], None, chat=mode == "chat")
        answer["names"] = len(manager.all_tasks)
        model = make_model()
        loaded = load_tasks(manager, entry, None)
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=list(loaded.tasks.values()),
            task_manager=manager,
            apply_chat_template=mode == "chat",
            bootstrap_iters=0,
            log_samples=True,
        )
        results["config"]["model_dtype"] = "none"
        outcomes = [
            one for name, task in loaded.tasks.items() for one in read_outcomes(name, task, results)
        ]
        found = sum_outcomes(loaded, results, outcomes, {}).model_copy(update={"label": "m"})
        merged = merge_scores([found], ["m"])
        answer[mode] = {"asked": model.asked, **found.to_values()}
        answer[mode]["targets"] = [[one.task, one.item, one.target] for one in outcomes]
        answer[mode]["digest"] = digest_tasks(loaded, None)
        answer[mode] |= {"scores": merged.scores["m"], "errors": merged.errors["m"]}
    Path(out).write_text(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1])
