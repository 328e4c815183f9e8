"""A test that hangs is ended and shows its stacks, and nothing that a test started outlives it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from leftovers import RUN, TEST, start_of

from benchmarks.common.waiting import wait_until

#: A test that starts a process, writes down its number, and hangs in two threads.
HANGS = """
import subprocess, sys, threading, time
from pathlib import Path

def test_hangs():
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
    Path("pid.tmp").write_text(str(sleeper.pid))
    Path("pid.tmp").rename("pid")
    threading.Thread(target=wait_beside, daemon=True).start()
    time.sleep(900)

def wait_beside():
    time.sleep(900)
"""
NEXT = """
from leftovers import start_of

def test_next():
    assert not start_of(int(open("pid").read()))
"""


def start_pytest(folder: Path, text: str, *arguments: str) -> "subprocess.Popen[str]":
    """A test run of its own on a file with this text, with the time limit and the clean-up."""
    (folder / "test_some.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\ntimeout_method = signal\n")
    outer = {name: value for name, value in os.environ.items() if name not in (RUN, TEST)}
    support = os.pathsep.join((str(ROOT / "tests" / "support"), str(ROOT)))
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "leftovers", *arguments],
        cwd=folder,
        env=outer | {"PYTHONPATH": support, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def sleeper_of(folder: Path) -> int:
    """The process that the test which hangs has started."""
    wait_until((folder / "pid").exists, "the test has started its process")
    return int((folder / "pid").read_text())


@pytest.mark.slow
def test_a_test_that_hangs_shows_all_stacks_and_its_process_is_ended(tmp_path: Path) -> None:
    output, _ = start_pytest(tmp_path, HANGS + NEXT, "--timeout=3").communicate(timeout=200)
    assert "Timeout (>3.0s)" in output
    assert "in wait_beside" in output  # the other thread
    assert "1 failed, 1 passed" in output


@pytest.mark.slow
def test_what_a_killed_run_left_is_ended_by_the_next_one_and_no_other(tmp_path: Path) -> None:
    killed = start_pytest(tmp_path, HANGS)
    left = sleeper_of(tmp_path)
    killed.kill()
    killed.communicate(timeout=200)
    (tmp_path / "pid").unlink()
    living = start_pytest(tmp_path, HANGS)
    wait_until(lambda: not start_of(left), "the next run has ended what was left")
    sleeper = sleeper_of(tmp_path)
    other, _ = start_pytest(tmp_path, "def test_passes(): pass").communicate(timeout=200)
    assert "1 passed" in other
    assert start_of(sleeper)
    living.send_signal(signal.SIGINT)
    living.communicate(timeout=200)
    wait_until(lambda: not start_of(sleeper), "the run that was stopped has ended its process")
