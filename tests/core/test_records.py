"""Records of a work folder read back as written; a damaged file is one clear error."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, run_command

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import BAD_DATA, FailureClass, UserError
from hala_hpc.core.job_records import (
    AttemptRecord,
    CheckpointCommit,
    Claim,
    ErrorReport,
    Failure,
    FailureFacts,
    FailureReason,
    FailureReport,
    Progress,
    RankState,
    RoundFailures,
    SavedFile,
    WorkerLease,
)
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.records import (
    ExcludedNode,
    InputFacts,
    Jobs,
    LaunchLease,
    NodeConfig,
    NodeSummary,
    PendingNode,
    Round,
    RoundSpec,
    RunNodeRecord,
    RunRecord,
    StageSource,
    UnitMarker,
    WaitingList,
)
from hala_hpc.core.resources import Resources
from hala_hpc.engines.generation.first_rows_check import FinishedRows, FirstRows
from hala_hpc.jobs.attempt_records import attempt_ends

BEGUN_BEFORE = Path(__file__).parent / "data" / "begun_by_0.2.0"
ROWS = 4000

SPEC = RoundSpec(
    launcher=Launcher(name="mine", backend="slurm", environment={"A": "b"}, setup=("module x",)),
    env="main",
    commit="c0ffee",
    settings={"target": "ar", "engine": {"seed": 0}},
    resources=Resources(workers=3, options={"partition": "gpu"}),
    rounds_without_progress=1,
    since_round=1,
    because=("mem_gb is 24 instead of 16",),
    bad_nodes=(ExcludedNode(name="node7", since=5.0, until_boot=True),),
)
FAILURE = Failure(kind=FailureClass.GPU_OOM, text="out of memory", attempt="a", nodes=("node1",))
COUNTS: dict[str, Any] = {"rows_in": 3, "rows_out": 2, "rows_rejected": 1, "rejected": {"x": 1}}
RECORDS: list[JsonRecord] = [
    LaunchLease(host="login1", pid=7, since="today", holder="gate"),
    WorkerLease(attempt="r0001-w00000-1-0"),
    Claim(worker=2),
    Round(
        round=2,
        key="k",
        assignment=((0, 2), (1,)),
        progress_before=("0 units",),
        began=1.5,
        spec=SPEC,
    ),
    Jobs(round=2, submitted=1.0, workers="12", gate="13"),
    UnitMarker(unit=7, **COUNTS, details={"loss": 0.5}, files={"part.parquet": 9}),
    NodeConfig(
        node="n",
        stage="translate",
        units=4,
        settings={"target": "ar"},
        inputs={
            "english": InputFacts(kind="corpus", artifact="english-0", fingerprint="0"),
            "/data": InputFacts(kind="path", path="/data", fingerprint="1"),
        },
        gpu_hours_estimate=2.5,
    ),
    NodeSummary(node="n", stage="sft", units=4, **COUNTS, details={"curve": [1]}, rounds=2),
    NodeSummary(
        node="n",
        stage="mine",
        stage_source=StageSource(file="/lab/mine.py", digest="0f"),
        units=4,
    ),
    ErrorReport(
        code=70,
        mistakes=("it broke",),
        facts=FailureFacts(kind=FailureClass.EXCEPTION, signature="E in f.py"),
    ),
    AttemptRecord(worker=1, rank=1, code=75, kind=FailureClass.NODE_FAILURE, nodes=("node1",)),
    RoundFailures(failures=(FAILURE,), scheduler=("OUT_OF_MEMORY",), memory_limit_gb=64),
    FailureReport(
        code=70,
        reasons=(FailureReason(text="no", log_tail=("log:", "  line"), gpu_seconds=2.5),),
    ),
    FirstRows(units={3: FinishedRows(rows=9, faults={"empty": 8})}, seconds=1.5),
    RunRecord(
        overrides={"stage": "all"},
        recipe="/r.toml",
        nodes=(RunNodeRecord(name="n", stage="sft", units=1, artifact="n-0", gpu_hours=1.0),),
    ),
    WaitingList(nodes=(PendingNode(folder="n-0", units=2, spec=SPEC, inputs=("m-0",)),)),
    Progress(worker=0, rank=1, attempt="a", began=1, time=2, rows=3, loss=0.5),
    RankState(rank=0, attempt="a", node="n", step=3, passes=4, phase="saving", time=1.0),
    CheckpointCommit(world_size=2, zero_stage=3, files={"w": SavedFile(bytes=1, digest="d")}),
]
NAMES = [type(record).__name__ for record in RECORDS]
#: A file cut short, an empty one, other kinds of JSON, and what is no text.
DAMAGED = {
    "empty": b"",
    "cut short": b'{"round": 1, "wor',
    "a list": b"[]",
    "a number": b"3",
    "nothing": b"null",
    "no keys": b"{}",
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
def test_a_record_reads_back_what_it_wrote(tmp_path: Path, record: JsonRecord) -> None:
    path = tmp_path / "folder" / "record.json"
    assert type(record).read(path) is None
    record.write(path)
    assert type(record).read(path) == record
    assert not record.claim(path)
    assert record.claim(tmp_path / "other.json")


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_error_with_file_and_fix_or_counts_as_absent(
    tmp_path: Path, record: JsonRecord, data: bytes
) -> None:
    path, kind = tmp_path / "record.json", type(record)
    path.write_bytes(data)
    if data == b"{}" and not any(field.is_required() for field in kind.model_fields.values()):
        return  # nothing of it is needed
    with pytest.raises(UserError) as caught:
        kind.read(path)
    assert caught.value.code == BAD_DATA
    [text] = caught.value.mistakes
    assert text.startswith(f"{path}: damaged or foreign file: ")
    assert text.endswith(kind.fix)
    assert kind.read_if_valid(path) is None


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
def test_a_wrong_type_is_named_with_its_place_and_value(tmp_path: Path, record: JsonRecord) -> None:
    path = tmp_path / "record.json"
    field = next(iter(record.to_values()))
    path.write_text(json.dumps({**record.to_values(), field: [["wrong"]]}))
    with pytest.raises(UserError, match=rf"file: {field}[\w.]*=.*wrong"):
        type(record).read(path)


def test_a_folder_in_the_place_of_a_file_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, not a file"):
        NodeConfig.read(tmp_path)


def test_keys_of_a_later_version_are_ignored() -> None:
    assert Claim.from_json('{"worker": 1, "since": "today"}', "claim") == Claim(worker=1)


def test_a_loss_that_is_not_finite_is_stored(tmp_path: Path) -> None:
    marker = UnitMarker(unit=0, details={"loss": float("nan"), "best": float("inf")})
    marker.write(tmp_path / "0.json")
    text = (tmp_path / "0.json").read_text()
    assert "NaN" in text
    read = UnitMarker.read(tmp_path / "0.json")
    assert read is not None
    assert repr(read.details) == "{'loss': nan, 'best': inf}"


def test_progress_holds_what_is_known_and_other_counts(tmp_path: Path) -> None:
    known = {"worker": 0, "rank": 0, "attempt": "a", "began": 1, "time": 2}
    record = Progress.model_validate({**known, "savings": 3})
    record.write(tmp_path / "progress.json")
    values = json.loads((tmp_path / "progress.json").read_text())
    assert values["savings"] == 3
    assert "loss" not in values


# ---- files of commits up to 6d78d78


def test_reasons_of_older_failures_are_separated_from_the_lines_of_their_log() -> None:
    old = {
        "code": 70,
        "time": 1.0,
        "reasons": [
            "2 rounds ended",
            "it broke",
            "the end of /log:",
            "  line 1",
            "  line 2",
            "OOM",
        ],
    }
    found = FailureReport.from_json(json.dumps(old), "failure.json").reasons
    assert [reason.text for reason in found] == ["2 rounds ended", "it broke", "OOM"]
    assert found[1].log_tail == ("the end of /log:", "  line 1", "  line 2")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("walltime", "timeout"),
        ("node", "node_failure"),
        ("host_memory", "host_oom"),
        ("gpu_memory", "gpu_oom"),
        ("data", "bad_data"),
        ("bug", "exception"),
        ("set_up", "config_error"),
        ("lost", "no_report"),
        ("follows", "secondary"),
        ("engine", "engine"),
    ],
)
def test_older_names_of_failure_classes_are_read(old: str, new: str) -> None:
    text = json.dumps({"kind": old, "text": "why", "nodes": ["a"], "worker": None})
    assert Failure.from_json(text, "failures").kind is FailureClass(new)
    record = AttemptRecord.from_json(json.dumps({"worker": 0, "code": 75, "kind": old}), "attempt")
    assert record.kind is FailureClass(new)


def test_an_older_attempt_of_unknown_class_is_read() -> None:
    assert AttemptRecord.from_json('{"worker": 0, "code": 75, "kind": ""}', "attempt").kind is None


def test_an_older_lease_is_that_of_a_launch() -> None:
    old = '{"host": "login1", "pid": 7, "since": "2026-11-30 06:51:20"}'
    assert LaunchLease.from_json(old, "lease").holder == "launch"


def write_rows(path: Path) -> None:
    """The rows that the older run reads; its fingerprint holds their size and time."""
    rows = ({"instruction": f"What is {n} plus one?", "output": str(n + 1)} for n in range(ROWS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def begun_before(folder: Path) -> Artifact:
    """A run of the commit 6d78d78 as it left it, with the keys of version 0.2.0.

    The child of its worker was killed in the first round, and everything in the second.
    """
    work = folder / "work"
    shutil.copytree(BEGUN_BEFORE, work)
    for path in work.rglob("*.*"):
        if path.is_file():
            text = path.read_text().replace("@FOLDER@", str(folder))
            path.write_text(text.replace("@HOST@", socket.gethostname()))
    write_rows(folder / "rows.jsonl")
    (folder / "recipe.toml").write_text(
        f'[corpus]\nstage="prepare"\ndata="{folder}/rows.jsonl"\nunits=4\n'
    )
    # Its name holds a fingerprint of the file's time, which is another here.
    planned = launch("stage=all", f"recipe={folder}/recipe.toml", f"work={folder}/new")
    assert planned.code == 0, planned
    [new] = (folder / "new").glob("corpus-*")
    config = work / "corpus" / "config.json"
    data = json.loads((new / "config.json").read_text())["inputs"][f"{folder}/rows.jsonl"]
    config.write_text(config.read_text().replace("74a2b3c962b3", data["fingerprint"]))
    (work / "corpus").rename(work / new.name)
    run = (work / "run.json").read_text().replace("corpus-deb64680ed79", new.name)
    (work / "run.json").write_text(run)
    return Artifact(work / new.name)


def test_a_run_begun_by_an_older_commit_resumes(tmp_path: Path) -> None:
    artifact = begun_before(tmp_path)
    work = tmp_path / "work"
    failures = artifact.round_failures(1)
    assert failures is not None
    assert [one.kind for one in failures.failures] == [FailureClass.KILLED]
    [end] = attempt_ends(artifact)
    assert (end.worker, end.record.code, end.record.reasons) == (0, 75, ("killed by SIGKILL",))
    assert artifact.require_newest_round().spec.rounds_without_progress == 1
    shown = run_command(f"work={work}", "format=json", module="status")
    assert json.loads(shown.out)["nodes"][0]["units_done"] == 0, shown
    ended = launch("stage=all", f"recipe={tmp_path}/recipe.toml", f"work={work}")
    assert ended.code == 0, ended
    summary = artifact.summary()
    assert summary is not None
    assert (summary.rows_in, summary.rounds) == (ROWS, 3)


# ---- damaged files in commands


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of one node."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "rows.jsonl").write_text('{"instruction": "Say 1", "output": "1"}\n')
    (folder / "recipe.toml").write_text(
        f'[corpus]\nstage="prepare"\ndata="{folder}/rows.jsonl"\nunits=1\n'
    )
    ended = launch("stage=all", f"recipe={folder}/recipe.toml", f"work={folder}/work")
    assert ended.code == 0, ended
    return folder


@pytest.mark.parametrize("data", ["", "[1]", '{"unit": "x'])
@pytest.mark.parametrize("name", ["config.json", "summary.json", "done/00000.json"])
def test_a_damaged_file_is_shown_by_status_and_set_aside_by_the_launch(
    finished: Path, tmp_path: Path, name: str, data: str
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished / "work", work, symlinks=True)
    artifact = next(work.glob("corpus-*"))
    if name.startswith("done"):
        # It is read only if there is no summary yet.
        (artifact / "summary.json").unlink()
    (artifact / name).write_text(data)
    recipe = f"recipe={finished}/recipe.toml"
    shown = run_command(f"work={work}", "format=json", module="status")
    [node] = json.loads(shown.out)["nodes"]
    assert node["state"] == "damaged"
    assert str(Path(artifact.name) / name) in node["why"]
    assert "damaged or foreign file" in node["why"]
    if not name.startswith("done"):
        gate = run_command(str(artifact), "1", module="gate")
        assert (gate.code, "Traceback" in gate.out + gate.err) == (BAD_DATA, False), gate
    ended = launch("stage=all", recipe, f"work={work}")
    assert ended.code == 0, ended
    assert isinstance(json.loads((artifact / name).read_text()), dict)
    assert run_command(f"work={work}", module="verify").code == 0


@pytest.mark.parametrize("data", ["", "[1]"])
def test_a_damaged_round_fails_the_node_with_the_reason(
    finished: Path, tmp_path: Path, data: str
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished / "work", work, symlinks=True)
    folder = next(work.glob("corpus-*"))
    (folder / "summary.json").unlink()
    (folder / "rounds/0001.json").write_text(data)
    ended = run_command(str(folder), "1", module="gate")
    assert ended.code == BAD_DATA, ended
    assert "Traceback" not in ended.err
    failure = Artifact(folder).failure()
    assert failure is not None
    assert "rounds/0001.json: damaged or foreign file" in failure.reasons[0].text
    worker = run_command(str(folder), "0", module="worker")
    assert worker.code == BAD_DATA, worker
    assert "Traceback" not in worker.err


def test_the_gate_of_a_folder_that_is_no_artifact_writes_nothing(tmp_path: Path) -> None:
    ended = run_command(str(tmp_path), module="gate")
    assert (ended.code, "is no artifact" in ended.err) == (66, True)
    assert list(tmp_path.iterdir()) == []
