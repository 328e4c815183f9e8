"""Merges of random models compared with mergekit's command line: time, reads, memory, numbers.

    python -m benchmarks.merge [--shapes 1b,3b] [--rounds 1] [--method slerp]

Each side is a process of its own, measured from its imports until the weights are on the disk;
rounds alternate. Needs 14 GB under --folder, which it removes: results are compared and deleted
before the next are made, and the tuned model of 3B shares nearly all files with its base. The last
line is a JSON object:

- `ratio_to_mergekit`: our seconds over those of mergekit-yaml for one value of `t`, the median of
  the rounds, for the first shape; `cpu_ratio_to_mergekit` the same of CPU seconds.
- `reads_for_five_values`: bytes read for five values over those of both models.
- `equal_tensors`: share of the tensors of which no number differs by more than a step of bfloat16
  and at most 1 in 10,000 differs at all; `off_share`: share of the numbers that differ.
- `peak_gib`: our peak memory for the last shape, `largest_tensor_gib` its largest tensor,
  `beside_tensor_gib` the difference.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.merge.random_pair import SHAPES, make_pair
from hala_hpc.engines.models.merging.checkpoint_reader import CheckpointReader
from hala_hpc.engines.models.tensors import tensor_headers, weight_bytes

FIVE = ("0.1", "0.3", "0.5", "0.7", "0.9")
ONE = "0.4"
#: Share of the numbers of a model that may differ by one step.
MAX_OFF_SHARE = 1e-4
GIB = 2**30


class SideRun(NamedTuple):
    """One run of one side."""

    seconds: float
    cpu_seconds: float
    output: str


def run_side(command: Sequence[str]) -> SideRun:
    """Run a command to its end. Raises: CalledProcessError if it fails."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return SideRun(time.monotonic() - began, cpu, done.stdout)


class Bench:
    """The two models of a shape, and a folder for the merged ones."""

    def __init__(self, folder: Path, method: str) -> None:
        self.base, self.tuned, self.made = folder / "base", folder / "tuned", folder / "made"
        self.method = method

    def run_own(self, values: Sequence[str]) -> tuple[SideRun, dict[str, Any]]:
        """Run our pass for some values of `t`; return its measurements."""
        arguments = [str(self.base), str(self.tuned), str(self.made), self.method, *values]
        done = run_side([sys.executable, "-m", "benchmarks.merge.own_side", *arguments])
        result: dict[str, Any] = json.loads(done.output.splitlines()[-1])
        return done, result

    def run_mergekit(self) -> SideRun:
        """Run mergekit-yaml for one value."""
        parents = [{"model": str(self.base)}, {"model": str(self.tuned)}]
        recipe: dict[str, Any] = {"merge_method": self.method, "models": parents}
        recipe |= {"dtype": "float32", "out_dtype": "bfloat16"}
        if self.method == "slerp":
            recipe |= {"base_model": str(self.base), "parameters": {"t": float(ONE)}}
        else:
            for parent, weight in zip(parents, (1 - float(ONE), float(ONE)), strict=True):
                parent["parameters"] = {"weight": weight}  # type: ignore[assignment]
        self.made.mkdir(exist_ok=True)
        file = self.made / "recipe.yml"
        # JSON is YAML.
        file.write_text(json.dumps(recipe))
        command = str(Path(sys.executable).with_name("mergekit-yaml"))
        options = ["--no-write-model-card", "--no-copy-tokenizer", "--lazy-unpickle", "--quiet"]
        return run_side([command, str(file), str(self.made / "mergekit"), *options])

    def clear(self) -> None:
        """Remove the merged models."""
        shutil.rmtree(self.made, ignore_errors=True)


def compare(ours: Path, theirs: Path) -> tuple[float, float]:
    """Return the share of tensors that are equal by the rule, and of numbers that differ."""
    import torch

    equal, off, numbers = 0, 0, 0
    with CheckpointReader(ours) as one, CheckpointReader(theirs) as other:
        for name in one.places:
            places = []
            for reader in (one, other):
                bits = reader.read(name).view(torch.int16).int()
                places.append(torch.where(bits < 0, -32768 - bits, bits))
            steps = (places[0] - places[1]).abs_()
            wrong = int((steps > 0).sum())
            equal += int(steps.max()) <= 1 and wrong <= max(1, MAX_OFF_SHARE * len(steps))
            off, numbers = off + wrong, numbers + len(steps)
        return equal / len(one.places), off / numbers


def measure_shape(bench: Bench, rounds: int, first: bool) -> dict[str, Any]:
    """Run rounds of both sides for one value; for the first shape also for five values."""
    own, kit, figures = [], [], dict[str, Any]()
    for _ in range(rounds):
        done, result = bench.run_own([ONE])
        own.append(done)
        figures["peak_gib"] = round(result["peak_gib"], 3)
        if not first:
            bench.clear()
        kit.append(bench.run_mergekit())
        if first:
            pair = bench.made / f"t{ONE}", bench.made / "mergekit"
            figures["equal_tensors"], figures["off_share"] = compare(*pair)
        bench.clear()
    figures["seconds"] = [round(one.seconds, 1) for one in own]
    figures["mergekit_seconds"] = [round(one.seconds, 1) for one in kit]
    pairs = list(zip(own, kit, strict=True))
    figures["ratio_to_mergekit"] = round(median(a.seconds / b.seconds for a, b in pairs), 3)
    ratios = [a.cpu_seconds / b.cpu_seconds for a, b in pairs]
    figures["cpu_ratio_to_mergekit"] = round(median(ratios), 3)
    if first:
        _, result = bench.run_own(FIVE)
        both = weight_bytes(bench.base) + weight_bytes(bench.tuned)
        figures["reads_for_five_values"] = round(result["bytes_read"] / both, 3)
        bench.clear()
    largest = max(header.size_bytes for header in tensor_headers(bench.base).values()) / GIB
    figures["largest_tensor_gib"] = round(largest, 3)
    figures["beside_tensor_gib"] = round(figures["peak_gib"] - largest, 3)
    return figures


def main() -> None:
    """Measure every shape; print a line for each, and one for all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shapes", default="1b,3b")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--method", choices=("slerp", "linear"), default="slerp")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"method": arguments.method}
    for number, name in enumerate(arguments.shapes.split(",")):
        if arguments.folder:
            arguments.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            bench = Bench(Path(folder), arguments.method)
            make_pair(SHAPES[name], bench.base, bench.tuned)
            found = measure_shape(bench, arguments.rounds, first=number == 0)
        print(json.dumps({"shape": name, **found}), flush=True)
        figures = {**found, **figures, **{key: found[key] for key in found if "gib" in key}}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
