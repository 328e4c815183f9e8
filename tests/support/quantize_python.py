"""Run programs with slow imports: in the environment `quantize`, and vLLM on a CPU."""

import os
import subprocess

from checkout import ROOT

from hala_hpc.core.paths import environment_python

QUANTIZE_PYTHON = environment_python("quantize")


def run_heavy(argv: list[str]) -> str:
    """Run a program offline on one core; return its output. It must exit with 0."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    done = subprocess.run(
        argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
