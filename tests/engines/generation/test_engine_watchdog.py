"""An engine that died or hangs ends the attempt; anything else does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkout import ROOT
from message_checks import assert_message
from tiny_models import untrained_model

from benchmarks.common.waiting import WAIT_S, wait_until
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.errors import RETRY, FailureClass
from hala_hpc.core.files import read_json
from hala_hpc.engines.generation.watchdog import MAIN_THREAD_GRACE_S, POLL_S

pytestmark = pytest.mark.kinds

#: `abort` prints the reason and exits, as that of an attempt does. `Counting` counts the checks of
#: a watch, which are at least half a second apart: what happens between two happens on any machine.
START = """
import os, signal, sys, time
from multiprocessing import Process, active_children
from benchmarks.common.waiting import wait_until
from hala_hpc.core.errors import TransientError
from hala_hpc.engines.generation.watchdog import EngineWatch
def abort(reason):
    print(reason, flush=True)
    os._exit(75)
def watch(limit_s):
    return EngineWatch(limit_s, abort, active_children)
class Counting(EngineWatch):
    checks = 0
    def hang(self):
        found = super().hang()
        self.checks += 1
        return found
    def wait_for_checks(self, count):
        enough = self.checks + count
        wait_until(lambda: self.checks >= enough, f"{count} checks")
"""
#: Beside an engine that does nothing, longer than any test waits.
STAND_IN = START + (
    "engine = Process(target=time.sleep, args=(900,), name='EngineCore')\nengine.start()\n"
)
REAL = (
    START
    + """
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
if __name__ == "__main__":
    from hala_hpc.engines.generation.vllm.startup import start_engine
    from hala_hpc.engines.generation.settings import EngineSettings
    from hala_hpc.engines.generation.vllm.engine import engine_processes
    settings = EngineSettings(dtype="float32", cpu_cache_gb=0.1, max_num_seqs=4)
    llm = start_engine(sys.argv[1], settings)
    from vllm import SamplingParams
    from vllm.inputs.engine import tokens_input
    [engine] = engine_processes()
    params = SamplingParams(max_tokens=400, ignore_eos=True)
    llm.llm_engine.add_request("1", tokens_input([5, 6, 7]), params)
    # The first steps may take longer than what the watch takes for a hang.
    for _ in range(5):
        llm.llm_engine.step()
    try:
        with EngineWatch(float(sys.argv[2]), abort, engine_processes) as watch:
            watch.beat(1)
            print("kill", engine.pid, flush=True)
            os.kill(engine.pid, getattr(signal, sys.argv[3]))
            for _ in range(395):
                llm.llm_engine.step()
                watch.beat(1)
    except TransientError as error:
        abort(f"transient: {error}")
"""
)


def run(script: str) -> tuple[int, str]:
    """Exit code and output of a process of its own."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.returncode in (0, 75), done.stderr
    return done.returncode, done.stdout


def state_of(pid: int | str) -> str:
    """The letter of a process's state, e.g. T for stopped; X for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def run_real(script: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and output of a script whose engine gets a signal and is gone in the end."""
    # From a file: vLLM starts its engine process with `spawn`.
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    output = done.stdout.splitlines()
    kills = [line.split() for line in output if line.startswith("kill ")]
    assert kills, done.stderr
    # One that is only not reaped is gone.
    wait_until(lambda: state_of(kills[0][1]) in "ZX", "the end of the engine's process")
    return done.returncode, output


def test_the_death_of_an_engine_is_detected_within_5_seconds() -> None:
    assert POLL_S + MAIN_THREAD_GRACE_S <= 5


@pytest.mark.slow
def test_a_killed_engine_process_is_noticed() -> None:
    code, output = run(STAND_IN + "with watch(60): engine.kill(); time.sleep(900)")
    assert code == 75
    assert output == "the engine's process EngineCore was killed by SIGKILL\n"


def test_an_engine_whose_steps_no_longer_end_is_noticed() -> None:
    code, output = run(STAND_IN + "with watch(1) as w: w.beat(7); time.sleep(900)")
    assert code == 75
    assert_message(output, "engine.step_timeout_s=1: the engine hangs: no step ended in ")
    assert_message(output, " s while 7 requests were in flight\n")


def test_the_engine_processes_are_killed_before_the_attempt_exits() -> None:
    script = STAND_IN.replace("print(reason", "engine.join(99); print(engine.exitcode")
    _, output = run(script + "with watch(0.1) as w: w.beat(7); time.sleep(900)")
    assert output == "-9\n"


@pytest.mark.slow
def test_nothing_is_wrong_while_steps_end_or_no_request_is_in_flight() -> None:
    # For eight checks a step ends between any two, then no request is in flight for as many.
    code, output = run(
        START
        + "class Busy(Counting):\n"
        + "    def hang(self):\n"
        + "        found = super().hang()\n"
        + "        if self.checks <= 8: self.beat(7 if self.checks < 8 else 0)\n"
        + "        return found\n"
        + "with Busy(2, abort) as w: w.wait_for_checks(16)"
    )
    assert (code, output) == (0, "")


@pytest.mark.slow
def test_a_job_that_was_suspended_as_a_whole_does_not_hang() -> None:
    # Suspended between two checks between which no step ends, for longer than the limit.
    script = (
        START
        + "class Suspended(Counting):\n"
        + "    def hang(self):\n"
        + "        found = super().hang()\n"
        + "        if self.checks == 2: os.kill(os.getpid(), signal.SIGSTOP)\n"
        + "        else: self.beat(7)\n"
        + "        return found\n"
        + "with Suspended(4, abort) as w: w.wait_for_checks(4)"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: state_of(job.pid) == "T", "the job is suspended")
    time.sleep(6)
    job.send_signal(signal.SIGCONT)
    output, _ = job.communicate(timeout=WAIT_S)
    assert (job.returncode, output) == (0, "")


@pytest.mark.slow
def test_an_engine_that_is_replaced_did_not_die() -> None:
    code, output = run(
        STAND_IN
        + "with Counting(60, abort, active_children) as w:\n"
        + "    with w.restarting(): engine.kill(); w.wait_for_checks(8)\n"
        + "    w.wait_for_checks(2)"
    )
    assert (code, output) == (0, "")


def test_another_error_goes_its_own_way() -> None:
    from hala_hpc.engines.generation.watchdog import EngineWatch

    with pytest.raises(ValueError, match="mine"), EngineWatch(60, print):
        raise ValueError("mine")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("signal_name", "limit_s"),
    [("SIGKILL", "600"), ("SIGSTOP", "4")],
)
def test_a_real_engine_that_is_killed_or_stopped_is_left(
    signal_name: str, limit_s: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = untrained_model(tmp_path_factory.getbasetemp())
    script = tmp_path / "engine.py"
    script.write_text(REAL)
    code, output = run_real(script, str(model), limit_s, signal_name)
    assert code == 75, output
    assert ("killed by SIGKILL" if signal_name == "SIGKILL" else "the engine hangs") in output[-1]


@pytest.mark.slow
def test_an_engine_death_that_vllm_reports_is_transient() -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    from hala_hpc.core.errors import TransientError
    from hala_hpc.engines.generation.watchdog import EngineWatch

    with pytest.raises(TransientError, match="the engine failed"), EngineWatch(60, print):
        raise EngineDeadError


#: A worker whose model code is another program.
WORKER = """
import sys
from pathlib import Path
from hala_hpc.core.artifact import Artifact
from hala_hpc.worker import Supervisor
folder, sys.executable = sys.argv[1:]
sys.exit(Supervisor(Artifact(Path(folder)), 0).run())
"""
#: Model code whose engine hangs, called as an attempt is.
HANGING = """
import sys, time
from pathlib import Path
from hala_hpc.jobs.job_context import JobContext
from hala_hpc.core.artifact import Artifact
from hala_hpc.engines.generation.watchdog import EngineWatch
folder, worker, attempt = sys.argv[-3:]
out = JobContext(Artifact(Path(folder)), None, int(worker), attempt)
with EngineWatch(0.5, out.abort) as watch:
    watch.beat(7)
    time.sleep(900)
"""


def test_the_record_of_the_attempt_has_the_hang_of_the_engine(tmp_path: Path) -> None:
    program = tmp_path / "model-code"
    program.write_text(f"#!{sys.executable}\n{HANGING}")
    program.chmod(0o700)
    artifact = Artifact(tmp_path / "artifact")
    command = [sys.executable, "-c", WORKER, str(artifact.folder), str(program)]
    assert subprocess.run(command, check=False, timeout=WAIT_S).returncode == RETRY
    _, record = sorted(
        artifact.folder.glob("attempts/r0000-*.json"), key=lambda path: -len(path.name)
    )
    [reason] = read_json(record)["reasons"]
    assert_message(reason, "engine.step_timeout_s=0.5: the engine hangs: no step ended in 1 s")
    assert read_json(record)["kind"] == FailureClass.ENGINE
    assert reason in artifact.log_file(0).read_text()
    # Where the main thread was.
    assert 'model-code", line' in artifact.log_file(0).read_text()
