"""Which code runs: the commit of a clone or the version of a wheel, and a digest of the files.

A queued job imports the clone as it is when the job starts. The digest shows whether that is still
the launched code.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from hala_hpc.core.paths import PACKAGE, ROOT, shipped_folder
from hala_hpc.core.record import JsonRecord

#: Folders at the top of the package that hold no code; a wheel carries the last two there.
NO_CODE = ("recipes", "launchers", "slurm", "__pycache__")
#: git answers in milliseconds, on a busy file system in seconds. Without an answer it is unknown
#: whether files were changed.
GIT_LIMIT_S = 10
SHORT_DIGITS = 12


class CodeVersion(JsonRecord):
    """Which code ran or was launched. All fields are empty if unknown."""

    commit: str = ""
    """Of the clone; for a wheel, its version."""
    code_digest: str = ""
    """SHA-256 of the names and digests of all files of the code."""
    uncommitted: bool | None = None
    """Whether files differ from the commit; None if unknown, as for a wheel."""

    @property
    def code_name(self) -> str:
        """The commit, with `+` after it if files differ from it; "" if unknown."""
        return f"{self.commit}+" if self.commit and self.uncommitted else self.commit

    @property
    def code_description(self) -> str:
        """Shortened commit and digest, for people."""
        suffix = "+" if self.uncommitted else ""
        return f"{self.commit[:SHORT_DIGITS]}{suffix} (files {self.code_digest[:SHORT_DIGITS]})"


class LaunchedCode(CodeVersion):
    """The code of a launch, and where its jobs import it from."""

    code_folder: str = ""
    """A copy in the work folder, as an absolute path; "" for the launch's own clone or wheel."""


def code_version() -> CodeVersion:
    """The code that this process has imported, as its files are now."""
    commit, uncommitted = commit_of_clone()
    return CodeVersion(
        commit=commit, code_digest=compute_code_digest(list_package_code()), uncommitted=uncommitted
    )


def running_code(launched: CodeVersion) -> CodeVersion:
    """The code that this process has imported; the launched code if its files are the same.

    Then it has the name that the launch knew: a compute node may have no git, and a copy has no
    clone around it.
    """
    digest = compute_code_digest(list_package_code())
    if digest == launched.code_digest:
        known = launched.model_dump(include=set(CodeVersion.model_fields))
        return CodeVersion.model_validate(known)
    return code_version()


def list_package_code() -> dict[str, Path]:
    """List every code file by its name in a clone: the package, and the sbatch scripts."""
    found = {f"{PACKAGE.name}/{name}": path for name, path in walk_code_files(PACKAGE)}
    scripts = sorted(shipped_folder("slurm").glob("*.sbatch"))
    return found | {f"slurm/{path.name}": path for path in scripts}


def walk_code_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file of the package, ordered by name."""
    top = str(folder)
    for place, folders, names in os.walk(top):
        is_top = place == top
        folders[:] = sorted(
            name for name in folders if name not in (NO_CODE if is_top else NO_CODE[-1:])
        )
        for name in sorted(names):
            if not is_leftover(name):
                path = f"{place}/{name}"
                yield path[len(top) + 1 :], Path(path)


def is_leftover(name: str) -> bool:
    """Whether a file was left by an editor or NFS, and is not code."""
    return name.startswith(".") or name.endswith(("~", ".orig", ".rej"))


def compute_code_digest(files: dict[str, Path]) -> str:
    """SHA-256 of the names and contents of some files, hexadecimal."""
    whole = sha256()
    for name, path in files.items():
        whole.update(f"{sha256(path.read_bytes()).hexdigest()}  {name}\n".encode())
    return whole.hexdigest()


def commit_of_clone() -> tuple[str, bool | None]:
    """Commit of the clone around the package, and whether code in it is changed.

    For a wheel, its version and None. None also if git is missing or does not answer.
    """
    from hala_hpc import __version__

    if not (ROOT / ".git").exists():
        return __version__, None
    return query_git() or (commit_in_files(ROOT / ".git") or __version__, None)


def query_git() -> tuple[str, bool] | None:
    """Ask git for the commit and whether code is changed; None if it does not answer."""
    import subprocess

    # Variables of a git hook that this may run in.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    status = ("status", "--porcelain=v2", "--branch", "--untracked-files=all")
    arguments = ["git", "--no-optional-locks", *status, "--", PACKAGE.name, "slurm/*.sbatch"]
    try:
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    oid = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "")
    if done.returncode or not oid.isalnum():
        return None
    recipes = f"{PACKAGE.name}/recipes/"
    names = [line.split(" ")[-1].strip('"') for line in lines if not line.startswith("#")]
    changed = [name for name in names if not name.startswith(recipes)]
    return oid, any(not is_leftover(name.rpartition("/")[2]) for name in changed)


def commit_in_files(git: Path) -> str:
    """Read the commit of a clone from its files, without git; "" if unknown."""
    head = git / "HEAD"
    if not head.is_file():
        return ""
    reference = head.read_text().strip()
    if not reference.startswith("ref: "):
        return reference
    loose = git / reference.removeprefix("ref: ")
    if loose.is_file():
        return loose.read_text().strip()
    packed = git / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    found = [line.split()[0] for line in lines if line.endswith(reference.removeprefix("ref: "))]
    return found[0] if found else ""
