"""The finished run that is copied for each cell: rows are prepared, tokenized and translated."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.own_slurm import ROOT
from benchmarks.damages.commands import run_door
from benchmarks.kills.node import STAND_IN, STAND_IN_ENGINE, empty_model

ROWS = 40
#: Units of the nodes, mine, tok and arabic.
UNITS = (4, 2, 3)
RECIPE = """
[mine]
stage = "prepare"
data = "{base}/rows.jsonl"
units = {units[0]}
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
[tok]
stage = "tokenize"
model = "{base}/tiny"
train = "@mine"
objective = "chat"
max_length = 256
units = {units[1]}
resources = {{ cpus_per_rank = 1, mem_gb = 1 }}
[arabic]
stage = "translate"
model = "{base}/empty"
corpus = "@mine"
units = {units[2]}
commit_interval_s = 0.2
engine.name = "{engine}"
resources = {{ cpus_per_rank = 1, mem_gb = 1, gpus_per_node = 0 }}
"""


@dataclass(frozen=True)
class FinishedRun:
    """The run and all its inputs in one folder."""

    base: Path

    @property
    def work(self) -> Path:
        """Its work folder, which is only copied."""
        return self.base / "work"

    def make(self) -> None:
        """Write the inputs and run the recipe. Raises: RuntimeError if the run fails."""
        with (self.base / "rows.jsonl").open("w") as file:
            for number in range(ROWS):
                texts = {"instruction": f"Who lives in house {number}?", "output": "The old man."}
                file.write(json.dumps(texts) + "\n")
        make_tokenizer(self.base / "tiny", self.base / "rows.jsonl")
        empty_model(self.base / "empty")
        values = {"base": self.base, "units": UNITS, "engine": STAND_IN_ENGINE}
        (self.base / "recipe.toml").write_text(RECIPE.format(**values))
        paths = os.pathsep.join((str(STAND_IN), str(ROOT)))
        (self.base / "here.toml").write_text(
            f'backend = "local"\n[environment]\nPYTHONPATH = "{paths}"\n'
        )
        done = run_door("launch", self.arguments(self.work))
        if done.code:
            raise RuntimeError(f"the run to be damaged did not end well: {done}")

    def arguments(self, work: Path) -> list[str]:
        """Return the arguments of the launch."""
        return [
            *("stage=all", f"recipe={self.base}/recipe.toml"),
            *(f"launcher={self.base}/here.toml", f"work={work}"),
        ]

    def results(self) -> dict[str, list[str]]:
        """Return some result files of each node, as paths in its folder."""
        found: dict[str, list[str]] = {}
        for folder in sorted(path.parent for path in self.work.glob("*/summary.json")):
            places = (folder / "units" / "00001", folder / "output")
            found[folder.name.rpartition("-")[0]] = [
                str(path.relative_to(folder))
                for place in places
                for path in sorted(place.rglob("*"))
                if path.is_file()
            ]
        return found


def make_tokenizer(folder: Path, rows: Path) -> None:
    """Train a small tokenizer on the rows, with the configuration of a model."""
    from hala_hpc.demo.tokenizer import strings_of, train_tokenizer

    tokenizer = train_tokenizer(list(strings_of([rows])), 320, "qwen2")
    tokenizer.save_pretrained(folder)
    config = {"model_type": "qwen2", "vocab_size": len(tokenizer), "architectures": ["Qwen2"]}
    (folder / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    FinishedRun(Path(sys.argv[1])).make()
