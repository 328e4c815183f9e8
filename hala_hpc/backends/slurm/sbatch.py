"""sbatch flags and script arguments of a job.

Lists the options that a launcher may set, those that are managed by other settings, and the
variables exported to a job. Every value is checked and passed as a separate argument.
"""

import re
from pathlib import Path

from hala_hpc.core.errors import CONFIG, UserError, suggest_name
from hala_hpc.core.job import Job
from hala_hpc.core.resources import Resources
from hala_hpc.core.secret_values import find_secret_names, secret_mistakes

#: sbatch flags that a launcher may set in `options`, with `_` for `-`.
ALLOWED_OPTIONS = (
    *("account", "acctg-freq", "begin", "bb", "bbf", "clusters", "comment", "constraint"),
    *("container", "contiguous", "core-spec", "cpu-freq", "deadline", "distribution", "exclude"),
    *("exclusive", "extra-node-info", "get-user-env", "gpu-freq", "gres", "gres-flags", "hint"),
    *("licenses", "mail-type", "mail-user", "mem", "mem-bind", "network", "nice", "nodelist"),
    *("ntasks-per-socket", "oversubscribe", "partition", "prefer", "priority", "profile"),
    *("propagate", "qos", "reservation", "segment", "sockets-per-node", "switches"),
    *("threads-per-core", "time-min", "tmp", "wckey"),
)
#: Options whose value is free text and may contain blanks.
FREE_TEXT = ("comment",)

#: Additional options that are not sbatch flags, each with the pattern of its value.
EXTRA_OPTIONS = {
    "gpu_type": "[A-Za-z0-9_.-]+",
    "gpu_flag": "gres|gpus-per-node",
    "signal_delay_s": "[1-9][0-9]{0,4}",
    "max_running": "[1-9][0-9]{0,4}",
}

_RESOURCES = "use `{}` in the resources"
_BY_NODE = "it hides the GPUs of a node from each other, but NCCL needs them; use `gpus_per_node`"
_OURS = "the pipeline sets it"

#: Flags that are managed by other settings, and which.
MANAGED_OPTIONS = {
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
    "signal": "set the seconds before the time limit with `signal_delay_s`",
    **dict.fromkeys(("array", "chdir", "dependency", "error", "export", "export-file"), _OURS),
    **dict.fromkeys(("input", "job-name", "kill-on-invalid-dep", "open-mode", "output"), _OURS),
    **dict.fromkeys(("no-requeue", "parsable", "requeue", "test-only", "wait", "wrap"), _OURS),
}

#: Variables of the submitting shell that are exported to a job besides SLURM's own. Never secrets:
#: accounting stores them where others may read them. Tokens are read from the file HF_TOKEN_PATH.
EXPORTED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LD_LIBRARY_PATH"),
    *("PYTHONPATH", "MODULEPATH", "MODULESHOME", "LMOD_CMD", "LMOD_DIR", "BASH_ENV", "CUDA_HOME"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE"),
    *("HF_MODULES_CACHE", "NLTK_DATA", "HF_ENDPOINT", "HF_TOKEN_PATH", "TRITON_CACHE_DIR"),
    *("VLLM_CACHE_ROOT", "OMP_NUM_THREADS"),
)
#: No option needs blanks, quotes, backslashes, `%` or control characters.
SAFE_VALUE = re.compile(r"[A-Za-z0-9_@+=:,./\[\]&|*()-]*")
SAFE_TEXT = re.compile(r"[A-Za-z0-9_@+=:,./\[\]&|*()# -]*")
SAFE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
JOB_ID = re.compile(r"[0-9]+(_[0-9]+)?")
#: In a dry run ids are placeholders in angle brackets.
JOB_TO_COME = re.compile(r"<[A-Za-z0-9 ._-]+>")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Lines that SLURM's commands add to the output file of a job.
SLURM_LINE = re.compile(r"(srun|slurmstepd|slurmd\S*): ")
#: Seconds before the time limit; 120 s are enough to commit a part or a checkpoint of the paper's
#: sizes.
SIGNAL_DELAY_S = 120


def sbatch_flags(job: Job) -> list[str]:
    """sbatch flags of a job; an option of the launcher replaces a flag, an empty one removes it.

    Raises: UserError (CONFIG) with all mistakes.
    """
    # Secrets are checked first, as the other messages show values.
    mistakes = secret_values(job) or [
        *wrong_names(job),
        *wrong_options(job.resources.options),
        *wrong_lines(job),
    ]
    if mistakes:
        raise UserError([f"job {job.name!r}: {text}" for text in mistakes], CONFIG)
    asked = job.resources
    found: dict[str, str] = {
        "job-name": job.name,
        **size_flags(asked),
        **array_flag(job),
        "dependency": dependency(job),
        "kill-on-invalid-dep": "yes",
        "requeue": "true",
        "signal": f"USR2@{signal_delay_s(asked)}",
        "export": ",".join(EXPORTED),
        "chdir": str(job.folder),
        "output": str(job.folder / ("job-%A_%a.out" if is_job_array(job) else "job-%j.out")),
        "open-mode": "append",
    }
    return format_flags(found | site_flags(asked))


def resource_flags(asked: Resources, workers: int) -> list[str]:
    """sbatch flags for the resources of a node's workers, for the command line of a template.

    Raises: UserError (CONFIG) for wrong options of the launcher.
    """
    if mistakes := wrong_options(asked.options):
        raise UserError(mistakes, CONFIG)
    max_running = asked.options.get("max_running")
    array = f"0-{workers - 1}" + (f"%{max_running}" if max_running else "")
    found = {**size_flags(asked), "array": array if workers > 1 else ""}
    return format_flags(found | {"signal": f"USR2@{signal_delay_s(asked)}"} | site_flags(asked))


def size_flags(asked: Resources) -> dict[str, str]:
    """Flags for time, nodes, ranks, cores, memory and GPUs of a job."""
    return {
        "time": str(asked.timeout_min),
        "nodes": str(asked.nodes),
        "ntasks-per-node": str(asked.ranks_per_node),
        "cpus-per-task": str(asked.cpus_per_rank),
        "mem": f"{asked.mem_gb}GB",
        **gpu_flag(asked),
    }


def site_flags(asked: Resources) -> dict[str, str]:
    """Flags of the launcher's options; an empty one removes a flag that is set otherwise."""
    named = {option.replace("_", "-"): value for option, value in asked.options.items()}
    return {
        flag: value for flag, value in named.items() if flag in ALLOWED_OPTIONS and flag != "gres"
    }


def format_flags(flags: dict[str, str]) -> list[str]:
    """Format flags for sbatch; those without a value are omitted."""
    return [
        f"--{flag}" if value == "true" else f"--{flag}={value}"
        for flag, value in flags.items()
        if value
    ]


def script_arguments(job: Job) -> list[str]:
    """Arguments of `slurm/job.sbatch`."""
    # srun does not inherit the cores from sbatch nor, with an export list, variables of `setup`.
    cores = f"--cpus-per-task={job.resources.cpus_per_rank}"
    # The last rank may write results for minutes after the others ended: WaitTime of the site would
    # kill it.
    srun = [cores, "--export=ALL", "--kill-on-bad-exit=1", "--wait=0", *job.srun_flags]
    return [
        *(["--setup", "\n".join(job.setup)] if job.setup else []),
        *(["--tries", str(job.tries)] if job.tries > 1 else []),
        *(
            argument
            for pair in job.environment.items()
            for argument in ("--variable", "=".join(pair))
        ),
        *(argument for flag in srun for argument in ("--srun", flag)),
        "--",
        *job.command(0 if job.array_size == 1 else None),
    ]


def is_job_array(job: Job) -> bool:
    """Whether the job is submitted as an array: a single task needs none."""
    return job.array_size is not None and job.array_size > 1


def array_flag(job: Job) -> dict[str, str]:
    """The array flag: indices, and how many tasks may run at once."""
    if job.array_size is None or not is_job_array(job):
        return {}
    max_running = job.resources.options.get("max_running")
    return {"array": f"0-{job.array_size - 1}" + (f"%{max_running}" if max_running else "")}


def signal_delay_s(asked: Resources) -> int:
    """Seconds before the time limit at which a job gets the signal."""
    return int(
        asked.options.get("signal_delay_s") or min(SIGNAL_DELAY_S, asked.timeout_min * 60 // 4)
    )


def gpu_flag(asked: Resources) -> dict[str, str]:
    """GPUs are requested by node: a task sees all GPUs of its node, as NCCL needs."""
    kind, other = asked.options.get("gpu_type", ""), asked.options.get("gres", "")
    count = f"{kind}:{asked.gpus_per_node}" if kind else str(asked.gpus_per_node)
    if not asked.gpus_per_node:
        return {"gres": other}
    if asked.options.get("gpu_flag") == "gres":
        return {"gres": f"gpu:{count},{other}".rstrip(",")}
    return {"gpus-per-node": count, "gres": other}


def dependency(job: Job) -> str:
    """`afterok:1:2,afterany:3`, or ""."""
    kinds = {"afterok": job.after_ok, "afterany": job.after_any}
    return ",".join(":".join([kind, *ids]) for kind, ids in kinds.items() if ids)


def wrong_names(job: Job) -> list[str]:
    """Names, ids and paths that SLURM or the script would misinterpret."""
    wrong = []
    if not SAFE_NAME.fullmatch(job.name):
        wrong.append("a job name has 1 to 64 letters, digits, dots, dashes and underscores")
    if job.array_size is not None and job.array_size < 1:
        wrong.append("there is nothing to run: an array has at least one task")
    for path in (str(job.folder), job.python):
        if not path.isprintable() or set(path) & set("%\"'\\`$") or not Path(path).is_absolute():
            wrong.append(f"{path!r} must be an absolute path without %, $, quotes and backslashes")
    for number in (*job.after_ok, *job.after_any):
        if not JOB_ID.fullmatch(number) and not JOB_TO_COME.fullmatch(number):
            wrong.append(f"{number!r} is not a job id")
    return wrong


def check_ids(job: Job) -> None:
    """Check that the dependencies of a job to submit are real job ids.

    Raises: UserError (USAGE) if not.
    """
    unknown = [x for x in (*job.after_ok, *job.after_any) if not JOB_ID.fullmatch(x)]
    if unknown:
        raise UserError(f"job {job.name!r}: {', '.join(unknown)}: not job ids to depend on")


def wrong_options(options: dict[str, str]) -> list[str]:
    """Options that are unknown, managed by other settings, or have forbidden characters."""
    wrong = []
    for option, value in options.items():
        flag = option.replace("_", "-")
        if fix := MANAGED_OPTIONS.get(flag):
            wrong.append(f"options.{option} cannot be set: {fix}")
        elif flag not in ALLOWED_OPTIONS and option not in EXTRA_OPTIONS:
            near = suggest_name(option, [*ALLOWED_OPTIONS, *EXTRA_OPTIONS], "options of SLURM here")
            wrong.append(f"options.{option} is unknown; {near}")
        elif not (SAFE_TEXT if flag in FREE_TEXT else SAFE_VALUE).fullmatch(value):
            wrong.append(
                f"options.{option}={value!r} has a blank, quote or another forbidden character"
            )
        elif option in EXTRA_OPTIONS and value and not re.fullmatch(EXTRA_OPTIONS[option], value):
            wrong.append(f"options.{option}={value!r} must look like {EXTRA_OPTIONS[option]}")
    return wrong


def secret_values(job: Job) -> list[str]:
    """One message for each value of a job that looks like a secret, whatever its name."""
    values = {
        "environment": dict(job.environment),
        "setup": list(job.setup),
        "options": job.resources.options,
        "arguments": [*job.arguments, *job.wrapper, *job.srun_flags],
    }
    return secret_mistakes(values)


def wrong_lines(job: Job) -> list[str]:
    """Variables and `setup` lines that would break the script or contain a secret."""
    wrong = []
    for key, value in job.environment.items():
        if not VARIABLE.fullmatch(key) or key.startswith(("SLURM_", "SBATCH_", "SRUN_")):
            wrong.append(f"environment: {key!r} cannot be set for a job")
        elif not value.isprintable():
            wrong.append(f"environment: the value of {key} has a line break or control character")
    for number, line in enumerate(job.setup):
        if not line.replace("\t", "").isprintable():
            # The line is not shown, as it may contain a secret.
            wrong.append(f"setup[{number}] must be one line without control characters")
    return wrong + find_secret_names(job.environment, job.setup)
