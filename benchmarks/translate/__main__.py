"""Speed of a worker compared with raw vLLM and datatrove, and its use of the engine.

    python -m benchmarks.translate [--data FILE ...] [--rows 2000] [--rounds 3] [--dtype float32]
        [--segment text|paragraph|line] [--lines] [--no-logprobs]

Every side gets the same prompts, the same lengths of answers and an engine with the same options,
with an empty prefix cache, in alternating rounds. `benchmarks/peers/setup` makes datatrove ready;
without it its figure is null. The last line is a JSON object:

- `ratio_to_raw`: rows/s of a worker (read, segment, generate, check, commit; start excluded) over
  those of one `LLM.generate` call on the same token ids, all in memory; median of the rounds.
- `ratio_to_datatrove`: the same over datatrove's InferenceRunner with its own server.
- `ratio_to_raw_duplicates`: with 30 % duplicate rows, over raw on all prompts.
- `step_efficiency`: minimum engine steps of the work over those that a worker of eight units took.
- `commit_share`: seconds that a worker's commits take over all of its seconds; median.
- `prefix_hits`: prompt tokens from the prefix cache over those of the fixed prompt's whole blocks.
- `memory_growth`: peak memory at ten times the rows over that at the rows.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.peers.datatrove_rounds import DatatroveRounds
from benchmarks.translate.engine import EngineEdge, Ids, Tally
from benchmarks.translate.memory import measure
from benchmarks.translate.worker import Worker, WorkerRun, engine_config, engine_settings
from benchmarks.translate.workload import (
    ONE_LINE,
    SEVERAL_LINES,
    make_model,
    texts_of,
    with_duplicates,
    write_corpus,
)
from hala_hpc.core.environment import set_job_environment
from hala_hpc.engines.generation.settings import EngineSettings

#: Share of the rows that repeat an earlier one.
DUPLICATES = 0.3
#: The rows of the larger run of the memory comparison, as a multiple of the rows.
LARGER = 10


class Measurement:
    """The sides in one process, each run once in a round."""

    def __init__(self, worker: Worker, edge: EngineEdge, base: Path) -> None:
        self.worker, self.edge, self.base = worker, edge, base
        self.runs = 0

    def raw(self, prompts: Sequence[Ids]) -> tuple[float, Tally]:
        """Return the seconds of raw vLLM for all prompts."""
        with self.edge.round(swaps=False) as tally:
            started = monotonic()
            self.edge.generate(prompts)
            return monotonic() - started, tally

    def prompts(self, corpus: Path) -> list[Ids]:
        """Return the prompt ids of all texts of a corpus, as a worker first requests them."""
        return list(self.worker.prompts(corpus, self.base / f"asks-{corpus.name}"))

    def work(self, corpus: Path) -> tuple[WorkerRun, Tally]:
        """Run a worker over a corpus."""
        self.runs += 1
        with self.edge.round(swaps=True) as tally:
            return self.worker.run(corpus, self.base / f"run-{self.runs}"), tally


@dataclass(frozen=True)
class Side:
    """A corpus and a worker's prompts for it."""

    corpus: Path
    prompts: list[Ids]


def rounds_of(
    measurement: Measurement, plain: Side, repeated: Side, peer: Any, rounds: int
) -> list[dict[str, Any]]:
    """Run alternating rounds; return the seconds of every side, and the engine's counts."""
    if peer is not None:
        prompts = plain.prompts
        texts = [measurement.edge.prompt_text(ids) for ids in prompts]
        peer.start(texts, [measurement.edge.length(ids) for ids in prompts])
    found = []
    for number in range(-1, rounds):
        raw_s, raw = measurement.raw(plain.prompts)
        run, tally = measurement.work(plain.corpus)
        peer_s, peer_tokens = peer.run() if peer is not None else (None, None)
        raw_repeated_s, _ = measurement.raw(repeated.prompts)
        repeated_run, _ = measurement.work(repeated.corpus)
        record = {
            "raw_s": raw_s,
            "worker_s": run.seconds,
            "commit_s": run.commit_seconds,
            "datatrove_s": peer_s,
            "raw_duplicates_s": raw_repeated_s,
            "worker_duplicates_s": repeated_run.seconds,
            "raw_steps": raw.steps,
            "worker": vars(tally),
            "raw_tokens_in": raw.tokens_in,
            "datatrove_tokens_in": peer_tokens,
            "rejected": run.rejected,
            "costs": run.costs,
            "costs_duplicates": repeated_run.costs,
        }
        print(json.dumps(record), file=sys.stderr, flush=True)
        # The first round warms up.
        if number >= 0:
            found.append(record)
    return found


def figures(
    rounds: list[dict[str, Any]], prefix_tokens: int, seqs: int, caches: bool
) -> dict[str, Any]:
    """Return the ratios of the rounds, and the figures from the engine's counts."""

    def ratio(above: str, below: str) -> float | None:
        if rounds[0][above] is None:
            return None
        return round(float(median(line[above] / line[below] for line in rounds)), 4)

    tally = Tally(**rounds[-1]["worker"])
    # The first prompt fills the cache for all others.
    possible = (tally.prompts - 1) * prefix_tokens if caches else 0
    return {
        "ratio_to_raw": ratio("raw_s", "worker_s"),
        "ratio_to_datatrove": ratio("datatrove_s", "worker_s"),
        "commit_share": ratio("commit_s", "worker_s"),
        "ratio_to_raw_duplicates": ratio("raw_duplicates_s", "worker_duplicates_s"),
        "step_efficiency": round(tally.lower_bound(seqs) / tally.steps, 4),
        "prefix_hits": round(tally.tokens_cached / possible, 4) if possible else None,
    }


def shared_tokens(prompts: Sequence[Ids], block: int) -> int:
    """Return the tokens in the complete blocks with which all prompts begin."""
    # Minimum and maximum differ where any two do.
    pairs = zip(min(prompts), max(prompts), strict=False)
    shared = next((n for n, (a, b) in enumerate(pairs) if a != b), len(min(prompts)))
    return shared // block * block


def run(arguments: argparse.Namespace, base: Path) -> dict[str, Any]:
    """Make the work, run the sides, and return the figures."""
    from hala_hpc.engines.generation.vllm.engine import VllmEngine

    between = SEVERAL_LINES if arguments.lines else ONE_LINE
    texts = texts_of(arguments.data, arguments.rows, arguments.seed, between)
    model = make_model(base / "model", texts, arguments.family)
    plain = write_corpus(base / "plain", texts)
    repeated_texts = with_duplicates(texts, DUPLICATES, random.Random(arguments.seed))
    repeated = write_corpus(base / "repeated", repeated_texts)
    settings = engine_settings(arguments.quick).model_copy(update={"dtype": arguments.dtype})
    peer = DatatroveRounds(base / "datatrove", model, settings, arguments.peer)
    with closing(VllmEngine(engine_config(model, settings))) as engine:
        edge = EngineEdge(engine)
        worker = Worker(engine, model, arguments.segment, logprobs=not arguments.no_logprobs)
        measurement = Measurement(worker, edge, base)
        sides = [Side(corpus, measurement.prompts(corpus)) for corpus in (plain, repeated)]
        with peer if peer.is_there else nullcontext() as there:
            rounds = rounds_of(measurement, sides[0], sides[1], there, arguments.rounds)
        caches = bool(engine.llm.llm_engine.vllm_config.cache_config.enable_prefix_caching)
        block = engine.llm.llm_engine.vllm_config.cache_config.block_size
        prefix = shared_tokens(sides[0].prompts, block)
    more: dict[str, Any] = {} if arguments.alone else compare_memory(model, texts, base, settings)
    return {
        **figures(rounds, prefix, engine.max_num_seqs, caches),
        **more,
        "prefix_tokens": prefix,
        "segment": arguments.segment,
        "logprobs": not arguments.no_logprobs,
        "prompts_per_row": round(len(sides[0].prompts) / arguments.rows, 3),
        "prompt_tokens_per_row": round(sum(map(len, sides[0].prompts)) / arguments.rows, 1),
        "rows_per_s": round(arguments.rows / median(line["worker_s"] for line in rounds), 3),
        "family": arguments.family,
        "dtype": arguments.dtype,
        "rows": arguments.rows,
        "data": [file.name for file in arguments.data] or "made",
        "max_num_seqs": engine.max_num_seqs,
        "rounds": rounds,
        "machine": machine(),
    }


def compare_memory(
    model: Path, texts: Sequence[str], base: Path, settings: EngineSettings
) -> dict[str, Any]:
    """Peak memory at the rows and at ten times the rows."""
    larger_texts = [f"{text} ({n})" if n else text for n in range(LARGER) for text in texts]
    larger = write_corpus(base / "larger", larger_texts)
    peaks = [
        measure(model, base / "plain", corpus, base / f"memory-{corpus.name}", settings)
        for corpus in (base / "plain", larger)
    ]
    return {"memory_growth": round(peaks[1] / peaks[0], 4), "memory_mib": peaks}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translate")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="JSONL files of texts")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--segment",
        default="text",
        choices=["text", "paragraph", "line"],
        help="the largest segment; raw vLLM gets the prompts of the same level",
    )
    parser.add_argument("--lines", action="store_true", help="texts of several lines")
    parser.add_argument("--alone", action="store_true", help="leave the runs for memory out")
    parser.add_argument(
        "--family", default="qwen2", choices=["qwen2", "lfm2"], help="lfm2 has no prefix cache"
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16"],
        help="float32 on a CPU without bfloat16 instructions, whose emulation would dominate",
    )
    parser.add_argument(
        "--no-logprobs",
        action="store_true",
        help="the worker requests no log-probabilities; raw vLLM never does",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quick", action="store_true", help="48 rows, one round, to see that it runs"
    )
    parser.add_argument(
        "--peer",
        type=Path,
        default=Path("runs/peers/datatrove"),
        help="folder of benchmarks/peers/setup; without it datatrove is left out",
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.rounds = 48, 1
    # As a launcher sets the cores of a worker.
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    set_job_environment()
    with tempfile.TemporaryDirectory(prefix="hala-benchmark-") as base:
        print(json.dumps(run(arguments, Path(base))), flush=True)
    # Remaining threads of engines can block an ordinary exit for minutes.
    os._exit(0)


if __name__ == "__main__":
    main()
