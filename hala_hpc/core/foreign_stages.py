"""Stages that are not ours: a file named in a recipe, or an entry point of an installed package.

Their code is part of the result: its SHA-256 is in the records of the node and in its fingerprint.
For a file it is the digest of the bytes that are run. For an entry point it covers all `.py` files
of its package.
"""

import importlib
import importlib.util
import re
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from hala_hpc.core.errors import CONFIG, NO_INPUT, UserError, suggest_name
from hala_hpc.core.fingerprint import compute_fingerprint
from hala_hpc.core.foreign_code import record_loaded_file, record_loaded_module
from hala_hpc.core.own_files import require_own_paths
from hala_hpc.core.records import StageSource
from hala_hpc.core.settings import KINDS, StageSettings
from hala_hpc.core.stage import Stage

#: Entry point group in which packages offer stages.
GROUP = "hala_hpc.stages"
#: Name of the stage in its module.
ATTRIBUTE = "STAGE"
#: Without dots: `stage.setting=value` must differ from a setting of a setting.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")

T = TypeVar("T")


def load_file(path: Path, ours: Sequence[str]) -> tuple[type[Stage[Any]], StageSource]:
    """Load the stage of a file. `ours` are names that it may not have. Raises: UserError."""
    data = read_file(path)
    # The resolved path, not a link to it: a job must find what the launch has found.
    place = path.resolve()
    stage = require_stage(import_file(place, data), f"stage file {path}", ours)
    return stage, StageSource(file=str(place), digest=sha256(data).hexdigest())


def load_entry_point(name: str, ours: Sequence[str]) -> tuple[type[Stage[Any]], StageSource]:
    """Load the stage that an installed package offers under this name. Raises: UserError."""
    offered = find_stage_entry_points().get(name, [])
    if not offered:
        hint = suggest_name(name, [*ours, *find_stage_entry_points()], "stages")
        raise UserError(
            f"unknown stage {name!r}: {hint} (no installed package offers it as an entry point of "
            f"{GROUP}; a file of your own ends in .py)"
        )
    if len(offered) > 1:
        names = " and ".join(sorted(one.dist.name for one in offered if one.dist))
        raise UserError(
            f"stage {name!r} is offered by several packages, {names}: uninstall all but one, or "
            "name a file",
            CONFIG,
        )
    value, where = offered[0].value, f"stage {name!r} of entry point {offered[0].value}"
    digest = package_digest(value)
    stage = require_stage(import_entry_point(value), where, ours)
    if stage.name != name:
        raise UserError(
            f"{where} has the name {stage.name!r}: entry point and `name` must be the same",
            CONFIG,
        )
    return stage, StageSource(entry_point=value, digest=digest)


def load_unchanged(name: str, source: StageSource) -> type[Stage[Any]]:
    """Load the stage of an artifact. Raises: UserError (CONFIG) if its code has changed."""
    if source.file:
        path = Path(source.file)
        data = read_file(path)
        require_unchanged(name, source, sha256(data).hexdigest())
        found = import_file(path, data)
    else:
        require_unchanged(name, source, package_digest(source.entry_point))
        found = import_entry_point(source.entry_point)
    return require_stage(found, f"stage {name!r}", ())


def require_unchanged(name: str, source: StageSource, digest: str) -> None:
    """Raise UserError unless the code of a stage has the digest that it was launched with."""
    if digest != source.digest:
        raise UserError(
            f"the code of stage {name!r} has changed since the launch, in "
            f"{source.file or source.entry_point}: launch again, which runs its nodes again",
            CONFIG,
        )


@cache
def find_stage_entry_points() -> dict[str, list[EntryPoint]]:
    """Entry points of our group by name. Reads the metadata of every installed package."""
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for one in entry_points(group=GROUP):
        found[one.name].append(one)
    return dict(found)


def read_file(path: Path) -> bytes:
    """Read a stage file. Raises: UserError if it does not exist or others can write it."""
    if not path.is_file():
        raise UserError(
            f"stage file {path}: no such file; a path is relative to the folder of the recipe",
            NO_INPUT,
        )
    require_own_paths([path], f"stage file {path}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"stage file {path} cannot be read: {error.strerror}", NO_INPUT) from None


class ReadLoader(SourceLoader):
    """Loads a module from bytes that were read before, so that nothing else is run.

    No bytecode is read or written: it is matched to the source by time and size alone.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data = path, data

    def get_filename(self, fullname: str) -> str:
        """The path of the file."""
        del fullname
        return str(self.path)

    def get_data(self, path: str | bytes) -> bytes:  # type: ignore[override]
        """The bytes of the file."""
        del path
        return self.data


def import_file(path: Path, data: bytes) -> object:
    """Import the STAGE of a file. Raises: UserError if it cannot be imported or has none."""
    name = f"hala_hpc_stage_{compute_fingerprint([str(path), sha256(data).hexdigest()])}"
    if name not in sys.modules:
        loader = ReadLoader(path, data)
        spec = importlib.util.spec_from_loader(name, loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        record_loaded_file(path)
        # Before it runs: types in its annotations are looked up in sys.modules.
        sys.modules[name] = module
        try:
            run_import(lambda: loader.exec_module(module), f"stage file {path}", path)
        except UserError:
            del sys.modules[name]
            raise
    return stage_in(sys.modules[name], f"stage file {path}")


def import_entry_point(value: str) -> object:
    """Import what `package.module:STAGE` names. Raises: UserError if it cannot be imported."""
    module_name, _, attribute = value.partition(":")
    where = f"entry point {value}"
    module = run_import(lambda: importlib.import_module(module_name), where)
    record_loaded_module(module_name)
    if not attribute:
        return stage_in(module, where)
    if not hasattr(module, attribute):
        raise UserError(
            f"{where}: module {module_name} has no {attribute}; fix the package's entry point",
            CONFIG,
        )
    return getattr(module, attribute)


def run_import(load: Callable[[], T], where: str, path: Path | None = None) -> T:
    """Import foreign code; a UserError names the line, of `path` if it is given, and the error."""
    try:
        return load()
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        file, line = locate_error(error, path)
        text = " ".join(str(error).split())
        raise UserError(
            f"{where} cannot be imported: {file}, line {line}: {type(error).__name__}: {text}; "
            "fix it (import what only jobs have inside run and check)",
            CONFIG,
        ) from error


def locate_error(error: BaseException, path: Path | None) -> tuple[str, int]:
    """File and line where an import failed: the last line in `path`, else the last of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename).name, error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if path and frame.filename == str(path)]
    last = (own or list(frames))[-1]
    return Path(last.filename).name, last.lineno or 0


def stage_in(module: ModuleType, where: str) -> object:
    """The STAGE of a module. Raises: UserError if there is none."""
    if not hasattr(module, ATTRIBUTE):
        raise UserError(
            f"{where} has no {ATTRIBUTE}: end it with `{ATTRIBUTE} = <your class>`", CONFIG
        )
    return getattr(module, ATTRIBUTE)


def require_stage(found: object, where: str, ours: Sequence[str]) -> type[Stage[Any]]:
    """Return an object if it is a valid stage. Raises: UserError naming what it lacks."""
    if not (isinstance(found, type) and issubclass(found, Stage)):
        raise UserError(
            f"{where}: {ATTRIBUTE}={found!r} is not a subclass of hala_hpc.core.stage.Stage", CONFIG
        )
    name = getattr(found, "name", "")
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise UserError(
            f"{where}: name={name!r} is not a valid stage name: write letters, digits, dashes and "
            "underscores, a letter first",
            CONFIG,
        )
    if name in ours:
        raise UserError(
            f"{where}: name={name!r} is the name of a stage of hala_hpc; choose another", CONFIG
        )
    produces = getattr(found, "produces", "")
    if produces not in KINDS:
        raise UserError(f"{where}: produces={produces!r}; write one of {', '.join(KINDS)}", CONFIG)
    settings = getattr(found, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, StageSettings)):
        raise UserError(
            f"{where}: Settings={settings!r} is not a subclass of "
            "hala_hpc.core.settings.StageSettings",
            CONFIG,
        )
    return found


def package_digest(value: str) -> str:
    """SHA-256 of all `.py` files of the package that contains an entry point, with their names.

    Nothing of the package is imported. Raises: UserError if it is not installed as files, or others
    could write them.
    """
    origin = Path(str(top_package(value).origin))
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    require_own_paths(files, f"entry point {value}")
    whole = sha256()
    for file in files:
        name = file.relative_to(origin.parent).as_posix()
        whole.update(f"{sha256(file.read_bytes()).hexdigest()}  {name}\n".encode())
    return whole.hexdigest()


def top_package(value: str) -> ModuleSpec:
    """The outermost package with code of its own that contains the module of an entry point."""
    module = value.partition(":")[0]
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:end]))
        except ImportError:
            break
        if spec and spec.has_location and Path(str(spec.origin)).is_file():
            return spec
    raise UserError(
        f"entry point {value}: module {module} is not installed as files here; install its package "
        "into every environment that runs it",
        CONFIG,
    )
