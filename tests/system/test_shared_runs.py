"""Two users of a group share a run; a third reads it, or is refused. All with real users."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandResult
from copied_rows import write_copy_recipe

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users"),
]


def write_recipe_of_all(shared: Path) -> str:
    """Write recipe and stage where root alone can change them: code of others is refused."""
    folder = shared.parent / "recipes"
    if folder.is_dir():
        return f"recipe={folder / 'recipe.toml'}"
    folder.mkdir()
    override = write_copy_recipe(folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    return override


#: Lets other users run a Python that is installed in a home that is closed to them.
OPEN_HOME = """set -e
umask 022
python=$1 place=$2 top=/$(cut -d/ -f2 <<<"$1")
shift 2
if [[ ! $(stat -c %A "$top") =~ x$ ]]; then
    mkdir -p "$place"
    mount --bind "$python" "$place"
    mount -t tmpfs -o mode=755 none "$top"
    mkdir -p "$python"
    mount --bind "$place" "$python"
fi
exec "$@"
"""


class Member:
    """A user, and the commands that this user gives."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home

    def run(self, module: str, *arguments: str) -> CommandResult:
        """Run `python -m hala_hpc.<module> arguments...` as this user."""
        done = subprocess.run(
            [
                *("unshare", "-m", "bash", "-c", OPEN_HOME, "open", sys.base_prefix),
                str(self.home.parent / "python"),
                *("setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups"),
                *(sys.executable, "-m", f"hala_hpc.{module}", *arguments),
            ],
            env=os.environ
            | {"HOME": str(self.home), "USER": self.name, "XDG_CONFIG_HOME": str(self.home)},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def write_slurm_launcher(self) -> str:
        """Write a launcher of this user for minislurm, which shares; return its override."""
        path = self.home / "slurm.toml"
        path.write_text(
            'backend = "slurm"\nshare = "group"\n[resources]\noptions.partition = "low"\n'
            '[gate]\noptions.partition = "low"\n[environment]\nHALA_DEVICE = "cpu"\n'
        )
        return f"launcher={path}"

    def write_launcher(self, share: str) -> str:
        """Write a launcher of this user; return its override."""
        path = self.home / f"{share}.toml"
        path.write_text(
            f'backend = "local"\nshare = "{share}"\n'
            f'setup = ["echo by-{self.name} >> {self.home}/ran"]\n'
        )
        return f"launcher={path}"


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Path, list[Member]]]:
    """A folder of a group, two members of the group, and a user who is none."""
    # Folders of pytest are closed to other users.
    base = Path(tempfile.mkdtemp(prefix="hala-lab-"))
    base.chmod(0o755)
    end = f"{os.getpid() % 100000}"
    group, names = f"hlab{end}", [f"h{kind}{end}" for kind in "abe"]
    subprocess.run(["groupadd", group], check=True)
    members = []
    try:
        for name in names:
            more = [] if name == names[2] else ["-G", group]
            home = base / name
            subprocess.run(["useradd", "-m", "-U", "-d", home, *more, name], check=True)
            home.chmod(0o755)
            members.append(Member(name, home))
        shared = base / "project"
        shared.mkdir()
        subprocess.run(["chgrp", group, shared], check=True)
        shared.chmod(0o2775)
        if members[0].run("status", "--help").code:
            pytest.skip("other users cannot start this interpreter")
        yield shared, members
    finally:
        for name in names:
            subprocess.run(["userdel", name], check=False, capture_output=True)
        subprocess.run(["groupdel", group], check=False, capture_output=True)
        shutil.rmtree(base, ignore_errors=True)


def test_a_second_member_goes_on_with_a_run_and_a_third_user_is_refused(
    lab: tuple[Path, list[Member]],
) -> None:
    shared, (alice, bob, eve) = lab
    recipe = write_recipe_of_all(shared)
    work = shared / "run"
    line = [recipe, f"work={work}"]
    begun = alice.run("launch", "stage=english", *line, alice.write_launcher("group"))
    assert begun.code == 0, begun
    for path in [work, *work.rglob("*")]:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        assert status.st_gid == shared.stat().st_gid, path
        assert status.st_mode & 0o067 == (0o060 if path.is_file() else 0o070) & 0o067, path
        assert path.is_file() or status.st_mode & stat.S_ISGID, path
    # The first has left, and took everything of hers away.
    alice.home.chmod(0o700)
    for module in ("status", "logs", "verify", "clean"):
        seen = bob.run(module, f"work={work}")
        assert (seen.code, "Traceback" in seen.err) == (0, False), (module, seen)
    assert str(alice.home) not in bob.run("status", f"work={work}").out
    refused = bob.run("launch", "stage=last", *line, bob.write_launcher("owner"))
    assert (refused.code, "Traceback" in refused.err) in ((73, False), (66, False)), refused
    alice.home.chmod(0o755)
    went_on = bob.run("launch", "stage=last", *line, bob.write_launcher("group"))
    assert (went_on.code, "english: already done" in went_on.out) == (0, True), went_on
    assert set((bob.home / "ran").read_text().split()) == {f"by-{bob.name}"}
    assert f"by-{bob.name}" not in (alice.home / "ran").read_text()
    assert alice.run("verify", f"work={work}").code == 0
    again = alice.run("launch", "stage=late", *line, alice.write_launcher("group"))
    assert again.code == 0, again
    hidden = eve.run("status", f"work={work}")
    assert (hidden.code, "Traceback" in hidden.err) == (66, False), hidden


def test_a_third_user_may_read_a_run_that_is_open_to_readers(
    lab: tuple[Path, list[Member]],
) -> None:
    shared, (alice, _bob, eve) = lab
    line = [write_recipe_of_all(shared), f"work={shared / 'open'}", "stage=english"]
    begun = alice.run("launch", *line, alice.write_launcher("group-and-readers"))
    assert begun.code == 0, begun
    for module in ("status", "logs", "verify"):
        seen = eve.run(module, f"work={shared / 'open'}")
        assert seen.code == 0, (module, seen)
    refused = eve.run("launch", *line, eve.write_launcher("group"))
    assert (refused.code, "is not open to a group of yours" in refused.err) == (73, True), refused
    for module, more in (("retry", []), ("clean", ["confirm=true"]), ("cancel", [])):
        ended = eve.run(module, f"work={shared / 'open'}", *more)
        assert "Traceback" not in ended.err, (module, ended)


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.usefixtures("minislurm")
def test_two_members_share_a_run_on_slurm(lab: tuple[Path, list[Member]]) -> None:
    shared, (alice, bob, eve) = lab
    work = shared / "on-slurm"
    line = [write_recipe_of_all(shared), f"work={work}"]
    begun = alice.run("launch", "stage=copy", *line, alice.write_slurm_launcher())
    assert begun.code == 0, begun
    watched = bob.run("status", f"work={work}", "follow=true")
    assert watched.code == 0, watched
    went_on = bob.run("launch", "stage=last", *line, bob.write_slurm_launcher())
    assert (went_on.code, "1 nodes submitted" in went_on.out) == (0, True), went_on
    stopped = alice.run("cancel", f"work={work}")
    assert "Traceback" not in stopped.err, stopped
    assert f"belong to {bob.name}" in stopped.err or "nothing to cancel" in stopped.out, stopped
    assert alice.run("status", f"work={work}", "follow=true").code == 0
    assert (work / "latest" / "last" / "summary.json").exists()
    assert (work / "latest" / "last").stat().st_uid != (work / "latest" / "copy").stat().st_uid
    assert eve.run("status", f"work={work}").code == 66
