"""What a command takes of the processor."""

import os
import subprocess


def cpu_s(command: list[str]) -> float:
    """Seconds of CPU that a command takes, user and system."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_utime + usage.ru_stime
