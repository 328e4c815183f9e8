"""lm-eval task files of an invented benchmark on a data set `lab/quiz`, and its fetched data."""

import json
import os
from pathlib import Path
from typing import Any

#: Configurations of the data set, and the lm-eval group that reads both.
CONFIGURATIONS = ("easy", "hard")
GROUP = "lab_quiz"
DATA_SET = "lab/quiz"
#: The commit in the names of cache folders.
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEMPLATE = """dataset_path: lab/quiz
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""
ROWS = [{"question": f"{n}?", "choices": ["a", "b"], "answer": n % 2} for n in range(6)]


def write_quiz(folder: Path, more: str = "") -> Path:
    """Make a folder for `include_path`: a task per configuration, and their group."""
    folder.mkdir(parents=True)
    (folder / "_template").write_text(TEMPLATE)
    for name in CONFIGURATIONS:
        text = f"include: _template\ntask: {GROUP}_{name}\ndataset_name: {name}\n{more}"
        (folder / f"{name}.yaml").write_text(text)
    members = "".join(f"- {GROUP}_{name}\n" for name in CONFIGURATIONS)
    (folder / "group.yaml").write_text(f"group: {GROUP}\ntask:\n{members}")
    return folder


def quiz_files() -> dict[str, bytes]:
    """The files of the data set on the hub: a card that names the configurations, and rows."""
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}.jsonl\n"
        for name in CONFIGURATIONS
    )
    rows = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    card = f"---\nconfigs:\n{configs}---\n".encode()
    return {"README.md": card, **{f"{name}.jsonl": rows for name in CONFIGURATIONS}}


def write_prepared(
    cache: Path,
    name: str = "easy",
    data_set: str = DATA_SET,
    commit: str = COMMIT,
    split: str = "test",
) -> Path:
    """Write a configuration into a datasets cache as `load_dataset` does; return its folder."""
    import pyarrow

    owner, _, last = data_set.rpartition("/")
    folder = cache / f"{owner}___{last}" / name / "0.0.0" / commit
    folder.mkdir(parents=True)
    table = pyarrow.Table.from_pylist(ROWS)
    path = folder / f"{last}-{split}.arrow"
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    features = {
        "question": {"dtype": "string", "_type": "Value"},
        "choices": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
        "answer": {"dtype": "int64", "_type": "Value"},
    }
    facts = {"name": split, "num_bytes": table.nbytes, "num_examples": len(ROWS)}
    info: dict[str, Any] = {
        "builder_name": "json",
        "dataset_name": last,
        "config_name": name,
        "version": {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0},
        "features": features,
        "splits": {split: {**facts, "dataset_name": last}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def hub_variables(home: Path) -> dict[str, str]:
    """Environment of jobs whose caches are all in a folder of the test."""
    home.mkdir(parents=True, exist_ok=True)
    replaced = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_MODULES_CACHE", "NLTK_DATA")
    inherited = {name: value for name, value in os.environ.items() if name not in replaced}
    return {**inherited, "HF_HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
