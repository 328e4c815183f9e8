"""Environment variables of a job, for libraries that read them when they are imported."""

import os
from collections.abc import Mapping
from pathlib import Path

#: Names the folder that a job imports this package from, if it is not in its environment.
CODE_FOLDER_VARIABLE = "HALA_CODE_FOLDER"
#: Passes an attempt the version of its code, as one line of JSON.
CODE_VARIABLE = "HALA_CODE"
#: A job has no network, and each request would wait for a timeout.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "USE_TF": "0"}
THREADS = {
    "TOKENIZERS_PARALLELISM": "false",
    # Workers share a machine: OMP_NUM_THREADS limits the cores, the kernel chooses them.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Threads that wait by spinning took 20 times as long if others needed the core, too.
    "OMP_WAIT_POLICY": "PASSIVE",
}
MEMORY = {
    # Kernels that oneDNN caches, one for each shape: 1,024 by default. On a CPU nearly every
    # engine step has another number of tokens, and the cache grew to 300 MiB.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
    # pyarrow's own allocator keeps freed memory: 20 MiB from the start, and more with each shard
    # that is written or read.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


#: Variables of every job. They are set here and not by a launcher, as a worker that is run by hand
#: needs them too.
JOB_ENVIRONMENT = OFFLINE | QUIET | THREADS | MEMORY


def hub_home(environment: Mapping[str, str]) -> Path:
    """Folder of all caches of the hub's libraries, from HF_HOME as they read it."""
    home = environment.get("HF_HOME") or Path(
        environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser()


def data_folders(environment: Mapping[str, str]) -> dict[str, str]:
    """Folders beside the hub cache that fetch writes and jobs read, by variable.

    For data sets as `datasets` prepares them, code of metrics, and nltk's data. A variable that is
    set takes precedence.
    """
    home = hub_home(environment)
    folders = {
        "HF_DATASETS_CACHE": home / "datasets",
        "HF_MODULES_CACHE": home / "modules",
        "NLTK_DATA": home / "nltk_data",
    }
    return {name: environment.get(name) or str(place) for name, place in folders.items()}


def set_job_environment() -> None:
    """Set variables that must be set before torch, vLLM, transformers or lm-eval are imported.

    Variables that are already set stay.
    """
    for name, value in (JOB_ENVIRONMENT | data_folders(os.environ)).items():
        os.environ.setdefault(name, value)
