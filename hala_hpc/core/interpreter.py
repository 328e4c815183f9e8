"""How the interpreter of a job is reached: a venv, conda, modules, or a container image.

Jobs install nothing. Gates, and all that talks to SLURM, run outside of a container.
"""

import os
import shlex
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

#: Kinds whose jobs run in an image.
CONTAINERS = ("apptainer", "pyxis")
#: Where the images that `env/` defines have the interpreter of each environment.
IMAGE_PYTHON = "/opt/hala/{env}/bin/python"
#: Defines the function `module` in a shell that has not read the profile of the site.
INIT_MODULES = (
    'type module >/dev/null 2>&1 || . "${LMOD_PKG:-${MODULESHOME:-/usr/share/modules}}/init/bash"'
)
#: Variables that may name a root under which conda and micromamba have `envs/<name>`.
CONDA_ROOTS = ("MAMBA_ROOT_PREFIX", "CONDA_ROOT", "CONDA_PREFIX_1", "CONDA_PREFIX")
#: Folders that conda and micromamba make in a home, if no variable names another.
CONDA_HOMES = ("micromamba", "miniforge3", "mambaforge", "miniconda3", "anaconda3", ".conda")


class Interpreter(BaseModel):
    """The table `[interpreter]` of a launcher."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["venv", "conda", "modules", "apptainer", "pyxis"] = "venv"
    """venv: the environment beside the running one, or that of [python]. The others are named by
    the settings below."""
    name: str = ""
    """conda: name of the environment, or its folder; quantize uses `<name>-quantize`."""
    modules: tuple[str, ...] = ()
    """modules: what `module load` gets, in this order; the venv on such a Python needs it too."""
    image: str = ""
    """apptainer: a file. pyxis: a file, or a name as `srun --container-image` takes it."""
    python: str = IMAGE_PYTHON
    """Interpreter in the image; `{env}` becomes main or quantize."""
    binds: tuple[str, ...] = ()
    """Folders that the image sees besides the defaults, as /a or /host:/image."""
    flags: tuple[str, ...] = ()
    """apptainer: more flags of `apptainer exec`. pyxis: more flags of srun."""
    program: str = "apptainer"
    """apptainer: the program, e.g. singularity, or its path."""
    gpu_vendor: Literal["nvidia", "amd"] = "nvidia"
    """Whether apptainer gets `--nv` or `--rocm` for jobs with GPUs."""

    @field_validator("binds", "flags", "modules")
    @classmethod
    def require_plain(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse blanks and commas, which separate the parts of a flag."""
        if wrong := [one for one in value if not one.isprintable() or set(one) & set(" ,'\"\\")]:
            raise ValueError(f"{wrong[0]!r} has a blank, comma, quote or backslash")
        return value

    @model_validator(mode="after")
    def require_named(self) -> "Interpreter":
        """Refuse a kind without the setting that it is reached by."""
        needed = {"conda": "name", "modules": "modules", "apptainer": "image", "pyxis": "image"}
        setting = needed.get(self.kind)
        if setting and not getattr(self, setting):
            raise ValueError(f'kind = "{self.kind}" needs {setting} = ...')
        return self

    @property
    def is_container(self) -> bool:
        """Whether jobs run in an image."""
        return self.kind in CONTAINERS

    @property
    def setup_lines(self) -> tuple[str, ...]:
        """Shell lines before those of the launcher's `setup`."""
        if self.kind == "modules":
            return (INIT_MODULES, shlex.join(["module", "load", *self.modules]))
        if self.kind == "conda":
            prefix = shlex.quote(str(self.conda_prefix("main")))
            return (f'export CONDA_PREFIX={prefix} PATH={prefix}/bin:"$PATH"',)
        return ()

    def python_of(self, env: str) -> str:
        """Interpreter of an environment; empty if `[python]` or the running one decides."""
        if self.kind == "conda":
            return str(self.conda_prefix(env) / "bin" / "python")
        return self.python.format(env=env) if self.is_container else ""

    def conda_prefix(self, env: str) -> Path:
        """Folder of the conda environment; where none is found, that of the first root."""
        name = self.name if env == "main" else f"{self.name}-{env}"
        if os.sep in name:
            return Path(name).expanduser().absolute()
        folders = [root / "envs" / name for root in list_conda_roots()]
        folders += [
            Path(folder).expanduser() / name
            for folder in os.environ.get("CONDA_ENVS_PATH", "").split(os.pathsep)
            if folder
        ]
        return next((one for one in folders if one.is_dir()), folders[0])

    def wrap(self, folders: list[str], has_gpus: bool) -> list[str]:
        """What comes before the interpreter of a job; `folders` are those that it reads or writes.

        Empty unless the image is entered by a program of its own.
        """
        if self.kind != "apptainer":
            return []
        gpus = {"nvidia": "--nv", "amd": "--rocm"}[self.gpu_vendor]
        binds = [f for folder in self.list_binds(folders) for f in ("--bind", folder)]
        of_gpus = [gpus] if has_gpus else []
        return [self.program, "exec", *of_gpus, *binds, *self.flags, self.image]

    def srun_flags(self, folders: list[str]) -> list[str]:
        """Flags of srun for the image; pyxis enters it, and shows its GPUs by itself."""
        if self.kind != "pyxis":
            return []
        mounts = [one if ":" in one else f"{one}:{one}" for one in self.list_binds(folders)]
        return [
            f"--container-image={self.image}",
            f"--container-mounts={','.join(mounts)}",
            *self.flags,
        ]

    def list_binds(self, folders: list[str]) -> list[str]:
        """The folders of a job and those of the setting, each once, none inside another."""
        found = list(dict.fromkeys([*folders, *self.binds]))
        plain = {Path(one) for one in found if ":" not in one}
        return [one for one in found if not plain & set(Path(one).parents)]

    def problems(self) -> list[str]:
        """A line if the image file does not exist."""
        is_file = self.kind == "apptainer" or self.image.startswith("/")
        if not self.is_container or not is_file or Path(self.image).exists():
            return []
        return [
            f"interpreter.image={self.image} does not exist: build it with env/hala.def "
            "(see docs/environments.md), or name another"
        ]


def list_conda_roots() -> list[Path]:
    """Folders that may have `envs/<name>`; the first ones are those that variables name."""
    named = [Path(os.environ[name]) for name in CONDA_ROOTS if os.environ.get(name)]
    # Within an active environment CONDA_PREFIX is that one: <root>/envs/<name>.
    named += [path.parent.parent for path in named if path.parent.name == "envs"]
    return [*named, *(Path.home() / name for name in CONDA_HOMES)]
