"""fetch: kernels of the hub, as the library `kernels` looks for them without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandResult, run_command
from hub_stand_in import HubStandIn
from kernel_repositories import kernel, own_variant, write_library, write_stage
from message_checks import assert_message

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

NAME = "kernels-community/flash-attn2"
#: The branch that transformers takes of it.
BRANCH = "v3"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubStandIn]:
    """A stand-in with a kernel at the revision that is read, and another one at main."""
    with HubStandIn() as stand_in:
        stand_in.put("kernels", NAME, kernel(), BRANCH)
        stand_in.put("kernels", NAME, kernel(9))
        stand_in.put("kernels", "somebody/attention", kernel(), "v1")
        stand_in.put("kernels", "person/attention", kernel(), "v1")
        stand_in.put("kernels", "kernels-community/old", {"build/torch-xpu/a.py": b""}, "v1")
        yield stand_in


class Site:
    """A folder with a line that loads a kernel, and a hub cache of its own."""

    def __init__(self, hub: HubStandIn, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.library = write_library(folder / "library")
        (folder / "site.toml").write_text(
            f'backend = "local"\n[environment]\nHF_HOME = "{folder}/home"\n'
        )

    def give(
        self, *more: str, name: str = NAME, module: str = "fetch", library: bool = True
    ) -> CommandResult:
        """Run a command about a kernel, with or without the library that loads it."""
        arguments = [write_stage(self.folder, name), f"launcher={self.folder}/site.toml"]
        arguments += ["stage=all", f"work={self.folder}/work", *more]
        found = self.hub.environment(Path("/nowhere"))
        found["PYTHONPATH"] = str(self.library) if library else ""
        return run_command(*arguments, module=module, cwd=None, **found)

    @property
    def repository(self) -> Path:
        """Folder of the kernel in the hub cache."""
        return self.folder / "home" / "hub" / "kernels--kernels-community--flash-attn2"


def test_the_build_for_the_torch_here_is_fetched_verified_and_found_without_a_network(
    hub: HubStandIn, tmp_path: Path
) -> None:
    site = Site(hub, tmp_path)
    before = len(hub.requests)
    dry = site.give("dry_run=true", module="launch")
    assert dry.code == 0, dry
    assert_message(dry.out, f"kernel {NAME}@{BRANCH}: is not in the hub cache {tmp_path}/home/hub")
    assert hub.requests[before:] == []

    fetched = site.give()
    assert fetched.code == 0, fetched
    assert_message(
        fetched.out, f"kernel {NAME}@{BRANCH}, commit ", "4 files", "open without a network"
    )
    [snapshot] = (site.repository / "snapshots").iterdir()
    assert [one.name for one in (snapshot / "build").iterdir()] == [own_variant()]
    assert not list(snapshot.rglob("*.pyc"))
    assert (site.repository / "refs" / BRANCH).read_text() == snapshot.name
    assert "to fetch first" not in site.give("dry_run=true", module="launch").out

    ops = next(snapshot.rglob("_ops.abi3.so")).resolve()
    ops.write_bytes(b"\1" + ops.read_bytes()[1:])
    checked = site.give("check=true")
    assert checked.code == 66
    assert_message(checked.err, "_ops.abi3.so has the right size but different content")
    assert site.give().code == 0, "what is damaged is fetched again"

    # As another program leaves it that fetches with a network: not to be loaded without one.
    tree_file = next((site.repository / "trees").iterdir())
    tree_file.rename(tree_file.with_name(f"{snapshot.name}.json"))
    planned = site.give("dry_run=true", module="launch")
    assert_message(planned.out, "makes the library report it as truncated")
    assert site.give().code == 0
    assert "to fetch first" not in site.give("dry_run=true", module="launch").out

    shutil.rmtree(snapshot / "build")
    checked = site.give("check=true")
    assert checked.code == 66
    assert_message(
        checked.err,
        f"kernel {NAME}@{BRANCH}: in {snapshot} is incomplete",
        "__init__.py is missing",
    )


def test_what_cannot_be_loaded_or_trusted_is_refused_by_name(
    hub: HubStandIn, tmp_path: Path
) -> None:
    site = Site(hub, tmp_path)
    without = site.give("dry_run=true", module="launch", library=False)
    assert_message(without.out, "has no package kernels", "'transformers[kernels]'")
    for owner in ("somebody", "person"):
        refused = site.give("dry_run=true", name=f"{owner}/attention")
        assert refused.code == 78, refused
        assert_message(refused.err, f"kernel {owner}/attention@v1: the hub does not list {owner}")
    unfit = site.give("dry_run=true", name="kernels-community/old")
    assert unfit.code == 66, unfit
    assert_message(
        unfit.err, "kernel kernels-community/old@v1: it has no build for torch", "torch-xpu"
    )
    unknown = site.give("dry_run=true", name=f"{NAME}@v9")
    assert unknown.code == 66, unknown
    assert_message(unknown.err, "has no revision 'v9'", f"/kernels/{NAME}/tree/main")
