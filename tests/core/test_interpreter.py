"""How jobs reach their interpreter: the command lines, a conda-shaped folder, Debian's modules."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from checkout import ROOT
from command_line import launch, one_row_recipe

from hala_hpc.backends.slurm.sbatch import script_arguments
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.interpreter import Interpreter
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.resources import Resources
from hala_hpc.core.settings import StageSettings
from hala_hpc.jobs.spec import gate_job, make_spec, worker_job

MODULES = Path("/usr/share/modules/init/bash")
#: Enters a tree as `apptainer exec` enters an image: it sees the system, and what is bound.
ENTER = r"""#!/bin/bash
set -e
echo "$@" >>"$0.calls"
shift
binds=()
while [[ $1 == --* ]]; do
    [[ $1 == --bind ]] && { binds+=("$2"); shift; }
    shift
done
exec unshare -m bash -c '
set -e
image=$1 count=$2
shift 2
mount -t tmpfs none "$image"
show() { # SOURCE TARGET
    mkdir -p "$(dirname "$image$2")"
    if [[ -d $1 ]]; then mkdir -p "$image$2"; else : >>"$image$2"; fi
    mount --rbind "$1" "$image$2"
}
for name in usr bin sbin lib lib64 etc root dev proc; do
    if [[ -L /$name ]]; then
        cp -P "/$name" "$image/$name"
    elif [[ -e /$name ]]; then
        show "/$name" "/$name"
    fi
done
mkdir -p "$image/tmp"
for ((; count > 0; count--)); do
    show "${1%%:*}" "${1##*:}"
    shift
done
exec chroot "$image" "$@"
' enter "$1" "${#binds[@]}" "${binds[@]}" "${@:2}"
"""


def make_jobs(tmp_path: Path, **keys: object) -> tuple[list[str], list[str]]:
    """Script arguments of the workers and of the gate by a launcher with these keys."""
    launcher = Launcher.model_validate({"name": "site", "backend": "slurm", **keys})
    settings = StageSettings(resources=Resources(gpus_per_node=1))
    spec = make_spec(launcher, settings, "main", LaunchedCode())
    artifact = Artifact(tmp_path / "work" / "node-0123456789ab")
    workers, gate = worker_job(artifact, 1, spec), gate_job(artifact, 1, spec, "7")
    return script_arguments(workers), script_arguments(gate)


def test_apptainer_is_entered_by_workers_with_gpus_and_folders_and_not_by_gates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setenv("HF_HOME", str(cache))
    workers, gate = make_jobs(
        tmp_path,
        interpreter={"kind": "apptainer", "image": "/i/hala.sif", "binds": ["/nvme"]},
        python={"gate": "/light/bin/python"},
        srun=["--mpi=none"],
    )
    command = workers[workers.index("--") + 1 :]
    assert command[:3] == ["apptainer", "exec", "--nv"]
    binds = [command[n + 1] for n, one in enumerate(command) if one == "--bind"]
    assert {str(tmp_path / "work"), str(cache), str(ROOT), "/nvme"} <= set(binds)
    image = command.index("/i/hala.sif")
    assert command[image + 1 : image + 5] == [
        "/opt/hala/main/bin/python",
        "-u",
        "-m",
        "hala_hpc.worker",
    ]
    assert f"HALA_CODE_FOLDER={ROOT}" in workers
    assert gate[gate.index("--") + 1 :][:2] == ["/light/bin/python", "-u"]
    assert "--mpi=none" in workers
    assert "--mpi=none" in gate


def test_pyxis_is_entered_by_flags_of_srun_and_not_by_gates(tmp_path: Path) -> None:
    workers, gate = make_jobs(
        tmp_path,
        interpreter={"kind": "pyxis", "image": "/i/hala.sqsh", "binds": ["/nvme:/local"]},
    )
    assert "--container-image=/i/hala.sqsh" in workers
    mounts = next(one for one in workers if one.startswith("--container-mounts="))
    assert f"{tmp_path}/work:{tmp_path}/work" in mounts
    assert mounts.endswith(",/nvme:/local")
    assert workers[workers.index("--") + 1] == "/opt/hala/main/bin/python"
    assert not [one for one in gate if "container" in one]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"interpreter": {"kind": "apptainer"}}, 'kind = "apptainer" needs image'),
        ({"interpreter": {"kind": "conda"}}, 'kind = "conda" needs name'),
        ({"interpreter": {"kind": "modules", "modules": ["a b"]}}, "has a blank"),
        ({"srun": ["mpi"]}, "is no flag of srun"),
        ({"srun": ["--export=NONE"]}, "is set for every job"),
    ],
)
def test_a_wrong_interpreter_is_refused_by_its_name(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Launcher.model_validate({"name": "site", "backend": "slurm", **keys})


def test_a_conda_environment_is_found_by_its_name_and_comes_first_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the layout of micromamba: conda itself is not in Debian."""
    python = tmp_path / "envs" / "hala" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/sh")
    monkeypatch.setenv("MAMBA_ROOT_PREFIX", str(tmp_path))
    launcher = Launcher(
        name="site", backend="slurm", interpreter=Interpreter(kind="conda", name="hala")
    )
    assert launcher.job_python_of("main") == launcher.gate_python == str(python)
    assert launcher.job_python_of("quantize").endswith("/envs/hala-quantize/bin/python")
    script = "\n".join([*launcher.setup_lines, 'echo "$CONDA_PREFIX"; command -v python'])
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [str(python.parent.parent), str(python)]


@pytest.mark.skipif(not MODULES.exists(), reason="environment-modules is not installed")
def test_modules_of_debian_are_loaded_before_a_job(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "3.11").write_text("#%Module1.0\nsetenv HALA_MODULE loaded\n")
    lines = Interpreter(kind="modules", modules=("python/3.11",)).setup_lines
    script = "\n".join(["set -eo pipefail", *lines, 'echo "$HALA_MODULE"'])
    shown = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        env={**os.environ, "MODULEPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "loaded"


@pytest.mark.parametrize("name", ["conda", "modules", "apptainer", "pyxis"])
def test_each_kind_has_a_worked_launcher(name: str) -> None:
    text = (ROOT / "launchers" / f"{name}-site.toml").read_text()
    launcher = Launcher.model_validate({"name": name, **tomllib.loads(text)})
    assert launcher.interpreter.kind == name


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a tree with chroot")
def test_a_job_runs_in_an_image_that_sees_only_what_is_bound(tmp_path: Path) -> None:
    """The image is a tree that a program with the command line of apptainer enters by chroot."""
    program, image = tmp_path / "apptainer", tmp_path / "image"
    program.write_text(ENTER)
    program.chmod(0o755)
    image.mkdir()
    venv = (ROOT / ".venv").resolve()
    launcher = tmp_path / "image.toml"
    launcher.write_text(
        'backend = "local"\n[interpreter]\nkind = "apptainer"\n'
        f'image = "{image}"\nprogram = "{program}"\nbinds = ["{venv}:/opt/hala/main"]\n'
    )
    line = ["stage=all", one_row_recipe(tmp_path), f"work={tmp_path}/work", f"launcher={launcher}"]
    done = launch(*line)
    assert done.code == 0, done
    calls = (tmp_path / "apptainer.calls").read_text()
    assert "/opt/hala/main/bin/python -u -m hala_hpc.worker" in calls
    assert list((tmp_path / "work" / "latest" / "corpus" / "output").glob("part-*.parquet"))
    image.rmdir()
    refused = launch(*line, "corpus.limit=1")
    assert (refused.code, "does not exist: build it" in refused.err) == (78, True), refused
