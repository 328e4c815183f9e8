"""`clean` removes what it shows, and nothing that a node or a report still needs."""

import shutil
from pathlib import Path

import pytest
from made_run import MadeRun

from hala_hpc.archive import archive
from hala_hpc.clean import clean
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import UserError
from hala_hpc.status import status


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Artifact]:
    """english -> copy -> last, an unfinished `half` that reads english, and an older `copy`."""
    run = MadeRun(tmp_path / "work")
    nodes = {
        "english": run.add("english", "prepare"),
        "copy": run.add("copy", "filter", inputs=("english",)),
        "last": run.add("last", "filter", inputs=("copy",)),
        "half": run.add_unfinished("half", "sft", inputs=("english",)),
        "page": run.add("page", "report", inputs=("last",)),
        "old": run.add("copy", "filter", inputs=("english",)),
    }
    # The newest launch has another result of `copy`.
    run.nodes.pop()
    run.finish()
    for name, artifact in nodes.items():
        artifact.unit_folder(0).mkdir(parents=True)
        (artifact.unit_folder(0) / "part-00000.parquet").write_bytes(bytes(2_000_000))
        if name != "half":
            file = artifact.output / "part-00000.parquet"
            file.hardlink_to(artifact.unit_folder(0) / "part-00000.parquet")
    (nodes["half"].state_dir(0)).mkdir(parents=True)
    (nodes["half"].state_dir(0) / "checkpoint").write_text("step 7")
    (nodes["copy"].state_dir(0)).mkdir(parents=True)
    (nodes["copy"].state_dir(0) / "left-over").write_text("of a killed gate")
    return nodes


def files_in(artifact: Artifact) -> set[str]:
    found = (path for path in artifact.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(artifact.folder)) for path in found}


def test_units_leftovers_and_old_results_go_when_it_is_confirmed(
    made: dict[str, Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    work = made["old"].folder.parent
    before = {name: files_in(artifact) for name, artifact in made.items()}
    assert clean([f"work={work}"]) == 0
    shown = capsys.readouterr().out
    assert {name: files_in(artifact) for name, artifact in made.items()} == before
    # Units have a second name in the output: only the older result frees its 2 MB.
    assert "0.002 GB of them stored nowhere else" in shown
    assert f"hala_hpc.clean work={work} confirm=true" in shown
    assert clean([f"work={work}", "confirm=true"]) == 0
    assert files_in(made["old"]) == {"config.json", "summary.json", "cleaned.json"}
    assert files_in(made["half"]) == before["half"]
    for name in ("english", "copy", "last", "page"):
        assert files_in(made[name]) == {
            "config.json",
            "summary.json",
            "cleaned.json",
            "output/part-00000.parquet",
        }
    capsys.readouterr()
    assert clean([f"work={work}"]) == 0
    assert "may go" in capsys.readouterr().out


def test_an_output_goes_if_it_is_named_and_all_its_readers_are_done(
    made: dict[str, Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    work = made["old"].folder.parent
    arguments = [f"work={work}", "kinds=outputs", "confirm=true"]
    assert clean([*arguments, "node=english,last,page"]) == 0
    shown = capsys.readouterr().out
    assert "english stays: half reads it and is not done" in shown
    assert "last stays: the report page reads it" in shown
    assert "page stays: it is a report" in shown
    assert made["english"].output.exists()
    assert clean([*arguments, f"node={made['copy'].folder.name}"]) == 0
    assert not made["copy"].output.exists()
    capsys.readouterr()
    assert status([f"work={work}"]) == 0
    shown = capsys.readouterr().out
    assert "removed by clean on" in shown
    assert "damaged" not in shown


def test_the_checkpoints_of_an_unfinished_node_go_only_if_it_is_named(
    made: dict[str, Artifact],
) -> None:
    work = made["old"].folder.parent
    assert clean([f"work={work}", "kinds=checkpoints", "confirm=true"]) == 0
    assert made["half"].state_root.exists()
    assert clean([f"work={work}", "kinds=checkpoints", "node=half", "confirm=true"]) == 0
    assert not made["half"].state_root.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kinds=output"], "'output' is none of units"),
        (["kinds=outputs"], "name the nodes"),
        (["node=copi"], "did you mean 'copy'"),
    ],
)
def test_a_wrong_argument_is_one_error(
    made: dict[str, Artifact], arguments: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        clean([f"work={made['old'].folder.parent}", *arguments])


def test_an_archive_is_of_a_finished_run_and_holds_no_shard(
    made: dict[str, Artifact], tmp_path: Path
) -> None:
    work, target = made["old"].folder.parent, tmp_path / "run.tar.gz"
    with pytest.raises(UserError, match="half is not done"):
        archive([f"work={work}", f"to={target}"])
    with pytest.raises(UserError, match=r"end the name in \.tar"):
        archive([f"work={work}", f"to={tmp_path}/run.zip"])
    (made["page"].output / "report.html").write_text("<p>")
    shutil.copy(made["page"].summary_file, made["half"].summary_file)
    text = made["half"].summary_file.read_text()
    own = made["half"].folder.name.rpartition("-")[2]
    made["half"].summary_file.write_text(text.replace(made["page"].folder.name[-12:], own))
    assert archive([f"work={work}", f"to={target}"]) == 0
    shutil.unpack_archive(target, tmp_path / "out", filter="data")
    names = {
        str(path.relative_to(tmp_path / "out" / "work"))
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    page = made["page"].folder.name
    assert {"run.json", "MANIFEST.json", f"{page}/output/report.html"} <= names
    assert {name for name in names if name.endswith(".parquet")} <= {
        f"{page}/output/part-00000.parquet"
    }
    with pytest.raises(UserError, match="exists"):
        archive([f"work={work}", f"to={target}"])
