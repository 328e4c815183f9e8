"""Run `benchmarks.peers.datatrove` as a process with rounds on request."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hala_hpc.engines.generation.settings import EngineSettings
from hala_hpc.engines.generation.vllm.startup import CPU_OPTIONS


class DatatroveRounds:
    """A process of datatrove with its server; use as a context manager.

    `packages` is the folder of `benchmarks/peers/setup`. The server's log is in `folder`.
    """

    def __init__(self, folder: Path, model: Path, settings: EngineSettings, packages: Path) -> None:
        self.folder, self.model, self.settings = folder, model, settings
        self.packages = packages.resolve()
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_there(self) -> bool:
        """Whether datatrove is installed."""
        return (self.packages / "datatrove").is_dir()

    def start(self, texts: Sequence[str], lengths: Sequence[int]) -> None:
        """Start the server; return when it has answered a prompt."""
        self.folder.mkdir()
        prompts = self.folder / "prompts.jsonl"
        with prompts.open("w", encoding="utf-8") as file:
            for text, length in zip(texts, lengths, strict=True):
                file.write(json.dumps({"prompt": text, "max_tokens": length}) + "\n")
        job = self.folder / "job.json"
        job.write_text(json.dumps(self._job(prompts)))
        path = os.pathsep.join([str(self.packages), str(Path.cwd())])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.datatrove", str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr.log").open("w"),
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._read()

    def _job(self, prompts: Path) -> dict[str, Any]:
        settings = self.settings
        options = {
            "dtype": settings.dtype,
            "seed": settings.seed,
            "max_num_seqs": settings.max_num_seqs,
            "max_num_batched_tokens": settings.max_num_batched_tokens,
            "kv_cache_memory_bytes": int(settings.cpu_cache_gb * 2**30),
            "enforce_eager": True,
            "disable_log_stats": True,
            **CPU_OPTIONS,
        }
        return {
            "model": str(self.model),
            "max_model_len": settings.max_model_len,
            "options": options,
            "prompts": str(prompts),
            "folder": str(self.folder),
            "checkpoints": True,
        }

    def run(self) -> tuple[float, int]:
        """Return the seconds from the first to the last document of a round, and prompt tokens."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._read()
        return line["seconds"], line["tokens_in"]

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = (self.folder / "stderr.log").read_text()[-4000:]
            raise RuntimeError(f"datatrove ended with {self._process.wait(timeout=60)}:\n{log}")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and its server."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.terminate()
                self._process.wait(timeout=60)
