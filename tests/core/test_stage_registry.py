"""A stage that is not ours is found by its file or its entry point, or refused with a fix."""

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from command_line import launch, recipe

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core import foreign_stages
from hala_hpc.core.errors import CONFIG, NO_INPUT, OK, USAGE, UserError
from hala_hpc.core.records import StageSource
from hala_hpc.core.stage_registry import find_stage, look_up_stage

STAGE = '''\
"""toy: nothing."""

from hala_hpc.core.settings import StageSettings
from hala_hpc.core.stage import Stage


class Toy(Stage[StageSettings]):
    name = "toy"
    produces = "files"
    Settings = StageSettings


STAGE = Toy
'''
CLASS = "class Toy(Stage[StageSettings]):\n"
#: What is wrong with a file: its text, and the error message.
FAULTS = {
    "no STAGE": (STAGE.replace("STAGE = Toy", ""), "has no STAGE: end it with `STAGE = "),
    "no stage": (STAGE.replace("STAGE = Toy", "STAGE = 3"), "STAGE=3 is not a subclass of "),
    "its name is ours": (
        STAGE.replace('"toy"', '"sft"'),
        "name='sft' is the name of a stage of hala_hpc; choose another",
    ),
    "no name": (STAGE.replace('    name = "toy"\n', ""), "name='' is not a valid stage name"),
    "a name with a dot": (STAGE.replace('"toy"', '"a.b"'), "name='a.b' is not a valid stage name"),
    "no kind": (STAGE.replace('"files"', '"toys"'), "produces='toys'; write one of model, corpus"),
    "no settings": (
        STAGE.replace("    Settings = StageSettings\n", "    Settings = dict\n"),
        "Settings=<class 'dict'> is not a subclass of hala_hpc.core.settings.StageSettings",
    ),
    "an import that fails": (
        STAGE.replace(CLASS, f"import no_such_library\n{CLASS}"),
        "toy.py, line 7: ModuleNotFoundError: No module named 'no_such_library'; fix it",
    ),
    "a defect": (STAGE.replace(CLASS, f"1 / 0\n{CLASS}"), "line 7: ZeroDivisionError: division"),
    "no Python": (STAGE.replace(CLASS, "class Toy(\n"), "toy.py, line 7: SyntaxError: "),
    "an end": (STAGE.replace(CLASS, f"raise SystemExit(3)\n{CLASS}"), "line 7: SystemExit: 3"),
}


@pytest.fixture(autouse=True)
def others_write_nothing() -> Iterator[None]:
    """Files of the tests are private to their user, whatever the user's umask is."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def toy(folder: Path, text: str = STAGE, name: str = "toy.py") -> Path:
    """A stage file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(name: str, folder: Path, code: int = CONFIG) -> str:
    """The one line of the error of a lookup."""
    with pytest.raises(UserError) as caught:
        look_up_stage(name, folder)
    assert caught.value.code == code
    [mistake] = caught.value.mistakes
    return mistake


def test_a_file_is_found_relative_to_its_recipe_and_later_by_its_source(
    tmp_path: Path,
) -> None:
    path = toy(tmp_path / "stages")
    found = look_up_stage("stages/toy.py", tmp_path)
    assert found.stage.name == "toy"
    assert found.source is not None
    assert found.source.file == str(path.resolve())
    assert find_stage("toy", found.source) is found.stage
    assert look_up_stage(str(path), Path("/")).source == found.source
    assert not (path.parent / "__pycache__").exists(), "bytecode may be older than its source"


def test_names_of_ours_come_first_and_read_no_metadata(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from hala_hpc.core.startup import prepare_process; prepare_process(); "
        "from hala_hpc.core.stage_registry import look_up_stage; "
        "assert look_up_stage('report', Path()).source is None; "
        "found = {'importlib.metadata', 'hala_hpc.core.foreign_stages'} & set(sys.modules); "
        "assert not found, found"
    )
    site = package(tmp_path, "greedy", "report = greedy.toy:STAGE")
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=WAIT_S,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_a_file_is_reported_in_one_line(tmp_path: Path, text: str, fault: str) -> None:
    path = toy(tmp_path, text)
    mistake = refused("toy.py", tmp_path)
    assert mistake.startswith(f"stage file {path}")
    assert fault in mistake


def test_a_file_that_is_missing_is_named_with_its_whole_path(tmp_path: Path) -> None:
    mistake = refused("stages/toy.py", tmp_path, NO_INPUT)
    assert f"{tmp_path}/stages/toy.py: no such file" in mistake
    assert "relative to the folder of the recipe" in mistake


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_group_or_world_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = toy(tmp_path)
    path.chmod(mode)
    mistake = refused("toy.py", tmp_path)
    assert f"other users could change the code; run `chmod go-w {path}`" in mistake


def test_a_folder_on_the_way_that_others_can_write_is_refused_unless_it_is_sticky(
    tmp_path: Path,
) -> None:
    lab = tmp_path / "lab"
    toy(lab / "stages")
    lab.chmod(0o777)
    assert f"`chmod go-w {lab}`" in refused("lab/stages/toy.py", tmp_path)
    (lab / "stages").chmod(0o770)
    assert f"`chmod go-w {lab / 'stages'} {lab}`" in refused("lab/stages/toy.py", tmp_path)
    (lab / "stages").chmod(0o755)
    lab.chmod(0o1777)
    assert look_up_stage("lab/stages/toy.py", tmp_path).stage.name == "toy"


def test_a_link_in_a_folder_of_ours_through_an_open_one_is_refused(tmp_path: Path) -> None:
    path = toy(tmp_path / "open" / "real")
    (tmp_path / "open" / "link").symlink_to(path.parent)
    (tmp_path / "mine").symlink_to(tmp_path / "open" / "link")
    assert look_up_stage("mine/toy.py", tmp_path).source == StageSource(
        file=str(path.resolve()), digest=sha256(path.read_bytes()).hexdigest()
    )
    (tmp_path / "open").chmod(0o775)
    assert f"`chmod go-w {tmp_path / 'open'}`" in refused("mine/toy.py", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = toy(tmp_path)
    os.chown(path, 12345, -1)
    mistake = refused("toy.py", tmp_path)
    assert f"{path} belongs to another user (uid 12345)" in mistake
    assert "copy it into a folder of your own" in mistake


def test_a_file_that_was_changed_or_removed_is_not_found_again(tmp_path: Path) -> None:
    path = toy(tmp_path)
    source = look_up_stage("toy.py", tmp_path).source
    path.write_text(STAGE + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has changed since the launch.*launch again") as caught:
        find_stage("toy", source)
    assert caught.value.code == CONFIG
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        find_stage("toy", source)


def test_two_files_of_one_name_in_a_recipe_are_refused(tmp_path: Path, work: Path) -> None:
    toy(tmp_path, STAGE, "one.py")
    toy(tmp_path, STAGE + "\n", "two.py")
    argument = recipe(tmp_path, '[a]\nstage = "one.py"\n[b]\nstage = "two.py"\n')
    ended = launch("stage=all", argument, f"work={work}", "dry_run=true")
    assert ended.code == USAGE
    assert "node 'b': its stage has the name 'toy', as the stage of node 'a' has" in (ended.err)


def package(folder: Path, name: str, *offers: str, text: str = STAGE) -> Path:
    """A folder into which a package was installed: its module `toy` and its entry points."""
    site = folder / "site"
    toy(site / name, text)
    (site / name / "__init__.py").touch()
    info = site / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text("\n".join(["[hala_hpc.stages]", *offers]) + "\n")
    return site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that this process can import."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    foreign_stages.find_stage_entry_points.cache_clear()
    before = set(sys.modules)
    yield tmp_path / "site"
    for name in set(sys.modules) - before:
        del sys.modules[name]
    foreign_stages.find_stage_entry_points.cache_clear()


def test_an_entry_point_is_found_by_name_and_by_its_source(tmp_path: Path, site: Path) -> None:
    package(tmp_path, "toylab", "toy = toylab.toy:STAGE")
    found = look_up_stage("toy", tmp_path)
    assert found.stage.name == "toy"
    assert found.source is not None
    assert found.source.entry_point == "toylab.toy:STAGE"
    assert find_stage("toy", found.source) is found.stage
    (site / "toylab" / "other.py").touch()
    with pytest.raises(UserError, match=r"in toylab\.toy:STAGE: launch again"):
        find_stage("toy", found.source)


def test_a_namespace_of_several_packages_is_looked_through(tmp_path: Path, site: Path) -> None:
    package(tmp_path, "toyspace/inner", "toy = toyspace.inner.toy:STAGE")
    (site / "toyspace" / "inner-1.dist-info").rename(site / "inner-1.dist-info")
    found = look_up_stage("toy", tmp_path)
    assert found.source is not None
    (site / "toyspace" / "not_of_it.py").touch()
    assert look_up_stage("toy", tmp_path).source == found.source


@pytest.mark.usefixtures("site")
def test_a_name_that_no_package_offers_is_refused_with_the_closest_one(tmp_path: Path) -> None:
    package(tmp_path, "toylab", "summarize = toylab.toy:STAGE")
    mistake = refused("sumarize", tmp_path, USAGE)
    assert mistake.startswith("unknown stage 'sumarize': did you mean 'summarize'?")
    assert "a file of your own ends in .py" in mistake


@pytest.mark.usefixtures("site")
def test_a_name_that_two_packages_offer_is_refused(tmp_path: Path) -> None:
    package(tmp_path, "toylab", "toy = toylab.toy:STAGE")
    package(tmp_path, "otherlab", "toy = otherlab.toy:STAGE")
    mistake = refused("toy", tmp_path)
    assert "stage 'toy' is offered by several packages, otherlab and toylab: uninstall" in mistake


@pytest.mark.usefixtures("site")
def test_an_entry_point_of_another_name_than_its_stage_is_refused(tmp_path: Path) -> None:
    package(tmp_path, "toylab", "other = toylab.toy:STAGE", "gone = toylab.gone:STAGE")
    assert "has the name 'toy': entry point and `name` must be the same" in refused(
        "other", tmp_path
    )
    assert "cannot be imported: " in refused("gone", tmp_path)
    assert "No module named 'toylab.gone'" in refused("gone", tmp_path)


def test_a_package_that_others_can_write_is_refused_before_it_is_imported(
    tmp_path: Path, site: Path
) -> None:
    package(tmp_path, "toylab", "toy = toylab.toy:STAGE", text="raise SystemExit('was run')\n")
    (site / "toylab" / "__init__.py").chmod(0o666)
    assert f"`chmod go-w {site / 'toylab' / '__init__.py'}`" in refused("toy", tmp_path)


def test_a_stage_file_named_in_the_recipe_of_another_folder_is_its_own(
    tmp_path: Path, work: Path
) -> None:
    lab, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    toy(lab / "stages")
    elsewhere.mkdir()
    argument = recipe(lab, '[a]\nstage = "stages/toy.py"\n')
    ended = launch("stage=all", argument, f"work={work}", "dry_run=true", cwd=elsewhere)
    assert ended.code == OK, ended
