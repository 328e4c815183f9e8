"""Words of SLURM that a launcher may use, and variables that travel with a job."""

#: Flags of sbatch that a launcher may set through `options`; `_` stands for `-` there.
PASSED_ON = (
    "account",
    "acctg-freq",
    "begin",
    "bb",
    "bbf",
    "clusters",
    "comment",
    "constraint",
    "container",
    "core-spec",
    "cpu-freq",
    "distribution",
    "exclude",
    "exclusive",
    "extra-node-info",
    "gpu-freq",
    "gres",
    "gres-flags",
    "hint",
    "licenses",
    "mail-type",
    "mail-user",
    "mem",
    "network",
    "nice",
    "nodelist",
    "oversubscribe",
    "partition",
    "prefer",
    "priority",
    "profile",
    "qos",
    "reservation",
    "sockets-per-node",
    "switches",
    "threads-per-core",
    "tmp",
    "wckey",
)

#: Words of our own among the options, each with the form of its value.
OWN_WORDS = {
    "gpu_type": "[A-Za-z0-9_.-]+",
    "gpu_flag": "gres|gpus-per-node",
    "warn_s": "[1-9][0-9]{0,4}",
    "at_once": "[1-9][0-9]{0,4}",
}

_RESOURCES = "say it with `{}` of the resources"
_BY_NODE = "it hides the GPUs of a node from each other, which NCCL needs; use `gpus_per_node`"
_OURS = "the pipeline sets it"

#: Flags that have another home, and which.
SET_ELSEWHERE = {
    "time": _RESOURCES.format("timeout_min"),
    "nodes": _RESOURCES.format("nodes"),
    "ntasks": _RESOURCES.format("ranks_per_node"),
    "ntasks-per-node": _RESOURCES.format("ranks_per_node"),
    "mem-per-cpu": _RESOURCES.format("mem_gb"),
    "mem-per-gpu": _RESOURCES.format("mem_gb"),
    "gpus": _RESOURCES.format("gpus_per_node"),
    "gpus-per-node": _RESOURCES.format("gpus_per_node"),
    "cpus-per-task": _RESOURCES.format("cpus_per_rank"),
    "cpus-per-gpu": _RESOURCES.format("cpus_per_rank"),
    "gpus-per-task": _BY_NODE,
    "ntasks-per-gpu": _BY_NODE,
    "gpu-bind": _BY_NODE,
    "signal": "say how many seconds before the end with `warn_s`",
    **dict.fromkeys(("array", "chdir", "dependency", "error", "export", "export-file"), _OURS),
    **dict.fromkeys(("input", "job-name", "kill-on-invalid-dep", "open-mode", "output"), _OURS),
    **dict.fromkeys(("no-requeue", "parsable", "requeue", "test-only", "wait", "wrap"), _OURS),
}

#: Variables of the submitting shell that a job sees besides SLURM's own. Never a secret:
#: accounting stores them where others may read. Tokens are read from HF_TOKEN_PATH's file.
EXPORTED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "MODULEPATH",
    "MODULESHOME",
    "LMOD_CMD",
    "LMOD_DIR",
    "BASH_ENV",
    "CUDA_HOME",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "XDG_CACHE_HOME",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_CACHE",
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_TOKEN_PATH",
    "TRITON_CACHE_DIR",
    "VLLM_CACHE_ROOT",
    "OMP_NUM_THREADS",
)
