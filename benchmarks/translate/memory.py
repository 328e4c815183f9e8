"""Peak memory of a worker over a corpus, in a process of its own.

    python -m benchmarks.translate.memory MODEL WARM CORPUS BASE SETTINGS

Prints MiB. SETTINGS are the engine's, as JSON. The engine makes few tokens of each answer, as
memory is about rows; what is put in their place is as long as ever. The worker is warm: it has
translated WARM, a corpus of its own, before, which fills what any run fills (the engine's kernels,
a heap in use); only the peak after that counts.
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

#: Tokens that the engine makes of an answer.
FEW_TOKENS = 4
#: Seconds after which the process is taken not to end at all.
END_LIMIT_S = 4 * 3600
#: GiB of the engine's cache, whose pages count once they are used: so small that all soon are.
CACHE_GB = 0.1


def peak_mib() -> float:
    """Largest resident memory of this process since the last `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def reset_peak() -> None:
    """Let the peak be what is resident now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(model: Path, warm: Path, corpus: Path, base: Path, settings: EngineSettings) -> float:
    """Peak MiB of a fresh process that translates a corpus after another."""
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
