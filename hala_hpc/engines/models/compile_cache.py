"""Compiled code for engines, trainings and benchmarks: built once, then copied to each job.

Processes that write into one cache corrupt it, and on a shared file system its many small files are
slow: 32 ranks of a training would compile the same kernels in one home folder. So each process has
a private folder on the node's disk, filled from one archive (the seed) that the first job left in
the work folder. A seed is never modified.
"""

import contextlib
import fcntl
import gzip
import hashlib
import json
import logging
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from hala_hpc.core.files import fsync_path

logger = logging.getLogger(__name__)


PREFIX = "hala-compiled-"
#: Locked as long as the job runs. `flock` is reliable on a node's own disk.
LOCK = "in-use.lock"
#: A folder younger than this may not be locked yet, in seconds.
YOUNG_S = 60
#: Environment variables that point compilers to subfolders of the folder: without them Triton and
#: FlashInfer write into the home folder, which all jobs share.
PLACES = {
    "VLLM_CACHE_ROOT": "",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
#: Suffixes of compiled files, which a warm start must not write again.
COMPILED = (".so", ".cubin", ".ptx", ".o")


class CompileCache:
    """The private folder of one process, created before it compiles and removed at its end.

    `seed` is the archive to start from and to publish; None for neither. A bad seed only costs
    time: everything is compiled. Environment variables point compilers to the folder until
    `remove`, which the end of a `with` block calls.
    """

    def __init__(self, seed: Path | None) -> None:
        self.seed = seed
        remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = (self.folder / LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if seed is not None:
            extract_seed(seed, self.folder)
        self.unpacked = self.compiled_files()
        self._before = {name: os.environ.get(name) for name in PLACES}
        os.environ |= {name: str(self.folder / place) for name, place in PLACES.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def compiled_files(self) -> set[str]:
        """Return the names of the compiled files in the folder."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.suffix in COMPILED
        }

    def publish(self) -> None:
        """Write a seed for later jobs if there is none. Called when most is compiled."""
        new = len(self.compiled_files() - self.unpacked)
        logger.info("compile cache: %d files from %s, %d new", len(self.unpacked), self.seed, new)
        if self.seed is None or not new or self.seed.exists():
            return
        try:
            write_seed(self.folder, self.seed)
        except OSError as error:
            # The job must not fail for this: the seed only saves time.
            logger.warning("compile cache: no seed was written: %s", error)

    def remove(self) -> None:
        """Remove the folder and restore the environment variables."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def seed_file(cache_folder: Path, facts: dict[str, Any]) -> Path:
    """Return the path of the seed for facts of program and machine, which are JSON values.

    Each user has separate seeds: their content is executed.
    """
    text = json.dumps(facts | {"user": os.geteuid()}, sort_keys=True, default=str)
    return cache_folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.tar.gz"


def torch_facts(program: str, models: Sequence[Path]) -> dict[str, Any]:
    """Return the facts on which the code compiled by torch and Triton for these models depends.

    Initializes CUDA if there is a GPU: not for a process that leaves the GPU to others.
    """
    import torch

    gpu: tuple[Any, ...] = ()
    if torch.cuda.is_available():
        own = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        gpu = torch.cuda.get_device_name(own), torch.cuda.get_device_capability(own)
    configs = [model / "config.json" for model in models]
    return {
        "program": program,
        "versions": [sys.version, torch.__version__],
        "gpu": gpu,
        "processor": processor(),
        "configs": [one.read_text(encoding="utf-8") for one in configs if one.is_file()],
    }


def processor() -> list[str]:
    """Return model and instruction set of the processor from /proc/cpuinfo, for compiled code."""
    first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    fields = ("model name", "flags", "CPU part", "Features")
    return [line for line in first.splitlines() if line.startswith(fields)]


def extract_seed(seed: Path, folder: Path) -> None:
    """Extract a seed into a folder; a bad seed is renamed, one of another user is ignored."""
    try:
        if not is_trusted(seed):
            return
        with gzip.open(seed) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                archive.extractall(folder, filter="data")
            # Read to the end, where gzip has the checksum.
            while stream.read(2**20):
                pass
    except FileNotFoundError:
        return
    except (OSError, EOFError, tarfile.TarError) as error:
        logger.warning("compile cache: %s cannot be read and is renamed: %s", seed, error)
        for path in folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with contextlib.suppress(OSError):
            seed.rename(seed.with_name(f"{seed.name}.bad-{uuid4().hex[:8]}"))


def is_trusted(seed: Path) -> bool:
    """Whether only the current user could have written a seed."""
    facts = seed.stat()
    return facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def write_seed(folder: Path, seed: Path) -> None:
    """Write all files of a folder into a seed atomically; the first writer wins."""
    seed.parent.mkdir(parents=True, exist_ok=True)
    temporary = seed.with_name(f".{seed.name}.{uuid4().hex[:8]}.tmp")
    try:
        with (
            temporary.open("xb") as file,
            # gzip for its checksum: tar has none over its content.
            gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as stream,
            tarfile.open(fileobj=stream, mode="w|") as archive,
        ):
            os.fchmod(file.fileno(), 0o600)
            for path in files_to_keep(folder):
                archive.add(path, arcname=str(path.relative_to(folder)))
        fsync_path(temporary)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, seed)
    finally:
        temporary.unlink(missing_ok=True)


def files_to_keep(folder: Path) -> Iterator[Path]:
    """Yield the files of a cache in order, without locks."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            yield path


def remove_abandoned() -> None:
    """Remove folders of killed jobs: their locks are free."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            facts = folder.stat()
            if facts.st_uid != os.geteuid() or time.time() - facts.st_mtime < YOUNG_S:
                continue
            with (folder / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # In use, just being created, or just removed by another process.
            continue
