"""Peak memory of a worker over a corpus, in a process of its own.

    python -m benchmarks.translate.memory MODEL WARM CORPUS BASE SETTINGS

Prints MiB. SETTINGS are the engine's, as JSON. The engine generates few tokens of each answer,
as memory depends on rows; their replacement has its full length. The worker is warm: it has
translated another corpus, WARM, before, which allocates what any run does (the engine's kernels,
the heap); only the peak after that counts.
"""

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from benchmarks.translate.engine import EngineEdge
from benchmarks.translate.worker import Worker, engine_config
from hala_hpc.engines.generation.settings import EngineSettings

#: Tokens that the engine generates of an answer.
FEW_TOKENS = 4
#: Timeout of the process in seconds.
END_LIMIT_S = 4 * 3600
#: GiB of the engine's cache, whose pages count once they are used: small, so that all soon are.
CACHE_GB = 0.1


def peak_mib() -> float:
    """Return the peak resident memory of this process since the last `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def reset_peak() -> None:
    """Reset the peak to the resident memory of now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(model: Path, warm: Path, corpus: Path, base: Path, settings: EngineSettings) -> float:
    """Return the peak MiB of a new process that translates a corpus after another."""
    arguments = [*map(str, (model, warm, corpus, base)), settings.model_dump_json()]
    command = [sys.executable, "-m", "benchmarks.translate.memory", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=END_LIMIT_S
    )
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Translate one corpus after another and print the peak of the second."""
    from hala_hpc.engines.generation.vllm.engine import VllmEngine

    model, warm, corpus, base, settings_json = sys.argv[1:]
    settings = EngineSettings.model_validate_json(settings_json)
    small = settings.model_copy(update={"cpu_cache_gb": CACHE_GB})
    with closing(VllmEngine(engine_config(Path(model), small))) as engine:
        edge = EngineEdge(engine, max_tokens=FEW_TOKENS, remembers=False)
        with edge.round(swaps=True):
            worker = Worker(engine, Path(model))
            worker.run(Path(warm), Path(base) / "warm")
            reset_peak()
            worker.run(Path(corpus), Path(base) / "corpus")
        print(f"{peak_mib():.1f}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
