"""Fixtures that several tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from minislurm_fixture import *  # noqa: F403 - the fixture of the real SLURM

from hala_hpc.commands.defaults import FOLDER_FILE, USER_FILE, user_folder

pytest_plugins = ["leftovers"]

# What a script starts in the background ignores Ctrl-C, what `nohup` starts the end of its
# terminal, and so would all that tests start.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)

# Tests start a thousand processes, each of which would compile the package again, for 0.1 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session", autouse=True)
def own_defaults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands without a launcher run on this machine, with or without SLURM, and whatever its
    user chose: other programs find their settings as before.
    """
    if (ROOT / FOLDER_FILE).exists():
        pytest.exit(f"{ROOT / FOLDER_FILE} would be heeded by what tests launch: put it aside", 1)
    settings, before = tmp_path_factory.mktemp("settings"), user_folder()
    for path in before.iterdir() if before and before.is_dir() else ():
        if path.name != "hala":
            (settings / path.name).symlink_to(path)
    (settings / "hala").mkdir()
    (settings / USER_FILE).write_text('recipe = "demo"\nlauncher = "local"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(settings))
        yield


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder that does not exist yet."""
    return tmp_path / "work"
