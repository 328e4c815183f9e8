"""The gate reads records and logs of an ended round within its memory limit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from message_checks import assert_message

from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import FailureClass
from hala_hpc.core.job_records import AttemptRecord
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.records import RoundSpec
from hala_hpc.core.resources import Resources
from hala_hpc.jobs.attempt_records import AttemptName
from hala_hpc.jobs.log_file import format_log_head
from hala_hpc.jobs.rounds import begin_round

pytestmark = pytest.mark.kinds

#: Less than gates have by default.
GATE_BYTES = 2**30
#: Size of a log of months before the newest attempt; a hole on disk.
HOLE_BYTES = 64 * 2**30
#: Reads the failures of a node as a gate does, with this much memory.
READ = f"""
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, ({GATE_BYTES}, {GATE_BYTES}))
from hala_hpc.core.artifact import Artifact
from hala_hpc.jobs.failures.evidence import record_failures, recorded_failures
from hala_hpc.jobs.rounds import failure_summary
artifact = Artifact(Path(sys.argv[1]))
record_failures(artifact)
print(json.dumps({{
    "kinds": [failure.kind for failure in recorded_failures(artifact, artifact.last_round())],
    "lines": [line for reason in failure_summary(artifact) for line in reason.lines],
}}))
"""


def ended(folder: Path, lines: bytes) -> Artifact:
    """A node whose second round ended with a defect, after these lines in the log."""
    artifact = Artifact(folder)
    spec = RoundSpec(
        launcher=Launcher(name="test", backend="local"),
        env="main",
        commit="",
        settings={},
        resources=Resources(),
    )
    begin_round(artifact, 1, 1, spec)
    number = begin_round(artifact, 1, 1, spec).round
    attempt = AttemptName(number, 0, "7", 0)
    record = AttemptRecord(worker=0, code=70, reasons=("RuntimeError: no",), signature="x")
    record.write(artifact.attempt_file(str(attempt)))
    log = artifact.log_file(0)
    log.parent.mkdir(parents=True)
    with log.open("wb") as file:
        file.write(format_log_head(str(AttemptName(1, 0, "6", 0))))
        file.truncate(HOLE_BYTES)
        file.seek(HOLE_BYTES)
        file.write(
            b"\nof another attempt: HIP out of memory\n" + format_log_head(str(attempt)) + lines
        )
    return artifact


def test_a_log_that_is_larger_than_the_memory_of_a_gate_is_read_from_its_end(
    tmp_path: Path,
) -> None:
    artifact = ended(tmp_path / "node", b"first\nlast\n")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(artifact.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kinds"] == [FailureClass.EXCEPTION]
    log = f"the end of {artifact.log_file(0)}:"
    assert_message(found["lines"][1], log)
    assert [found["lines"][0], *found["lines"][2:]] == ["RuntimeError: no", "  first", "  last"]
