"""datatrove's InferenceRunner with the same engine and prompts, one round per request.

    PYTHONPATH=<folder of benchmarks/peers/setup> python -m benchmarks.peers.datatrove JOB.json

The job names the model, vLLM's options, a JSONL file of prompts (`prompt`, `max_tokens`), a folder
for results and whether datatrove writes checkpoints. datatrove starts `vllm serve` itself. A line
`{"ready": ...}` means that the server has answered. Then each line on standard input runs all
prompts. A line with the seconds from the first document to the last one written follows.
"""

import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hala_hpc.core.environment import JOB_ENVIRONMENT

#: Timeout in seconds of a round, including the server's start.
PATIENCE_S = 900


class Rounds:
    """Documents for the runner, and the time until the last one of a round is written."""

    def __init__(self, job: dict[str, Any]) -> None:
        lines = Path(job["prompts"]).read_text(encoding="utf-8").splitlines()
        self.prompts = [json.loads(line) for line in lines]
        self.missing = 0
        self.tokens_in = 0
        self.done = threading.Event()
        self.url = ""

    def documents(self) -> Iterator[Any]:
        """Yield a first document to start the server with, then those of every round."""
        yield from self._round("start", self.prompts[:1])
        self._print(ready=True)
        for number, _ in enumerate(sys.stdin):
            self._reset_prefix_cache()
            self.tokens_in = 0
            started = time.monotonic()
            yield from self._round(str(number), self.prompts)
            seconds = time.monotonic() - started
            self._print(seconds=seconds, rows=len(self.prompts), tokens_in=self.tokens_in)

    def _round(self, name: str, prompts: list[dict[str, Any]]) -> Iterator[Any]:
        from datatrove.data import Document

        self.missing = len(prompts)
        self.done.clear()
        for index, prompt in enumerate(prompts):
            more = {"max_tokens": prompt["max_tokens"]}
            yield Document(text=prompt["prompt"], id=f"{name}-{index}", metadata=more)
        # The runner only warns if a document could not be saved, and continues without it.
        if not self.done.wait(timeout=PATIENCE_S):
            raise TimeoutError(f"datatrove left {self.missing} documents unwritten")

    def _reset_prefix_cache(self) -> None:
        """Empty the prefix cache, so that no round profits from an earlier one."""
        request = urllib.request.Request(f"{self.url}/reset_prefix_cache", method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            answer.read()

    def written(self) -> None:
        """Count a document that the writer has taken."""
        self.missing -= 1
        if not self.missing:
            self.done.set()

    @staticmethod
    def _print(**values: Any) -> None:
        print(json.dumps(values), flush=True)


def options_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's options as arguments of `vllm serve`."""
    options = {name.replace("_", "-"): value for name, value in job["options"].items()}
    return {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in options.items()
        if value is not None
    }


def make_runner(job: dict[str, Any], rounds: Rounds) -> Any:
    """Return the runner with its server, writing JSONL."""
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    class Writer(JsonlWriter):
        def write(self, *args: Any, **named: Any) -> None:
            super().write(*args, **named)
            rounds.written()

    class Runner(InferenceRunner):
        def _init_server(self, rank: int) -> Any:
            server = super()._init_server(rank)
            find = server._wait_until_ready

            async def wait_until_ready(*args: Any, **named: Any) -> None:
                await find(*args, **named)
                rounds.url = server.get_base_url()

            server._wait_until_ready = wait_until_ready
            return server

    async def translate(document: Any, generate: Any) -> Any:
        payload = {
            "messages": [{"role": "user", "content": document.text}],
            "max_tokens": document.metadata["max_tokens"],
            "temperature": 0,
            "ignore_eos": True,
        }
        result = await generate(payload)
        rounds.tokens_in += result.usage["prompt_tokens"]
        return result

    folder = Path(job["folder"])
    config = InferenceConfig(
        server_type="vllm",
        model_name_or_path=job["model"],
        model_max_context=job["max_model_len"],
        model_kwargs=options_of(job),
        server_log_folder=str(folder / "logs"),
        server_start_timeout_sec=600,
        metric_interval=3600,
    )
    checkpoints = str(folder / "checkpoints") if job["checkpoints"] else None
    writer = Writer(str(folder / "output"), "${rank}_${chunk_index}.jsonl", compression=None)
    return Runner(translate, config, writer, checkpoints_local_dir=checkpoints)


def main() -> None:
    """Run rounds until standard input ends."""
    from loguru import logger

    job = json.loads(Path(sys.argv[1]).read_text())
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    # The command `vllm` is in the folder of this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # vLLM's own switch that opens /reset_prefix_cache.
    os.environ.update(JOB_ENVIRONMENT, PATH=path, VLLM_SERVER_DEV_MODE="1")
    os.environ["VLLM_COMPILE_LOCK_DIR"] = str(Path(job["folder"]) / "locks")
    rounds = Rounds(job)
    make_runner(job, rounds).run(rounds.documents())


if __name__ == "__main__":
    main()
