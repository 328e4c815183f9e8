"""Tables of simulated models: few false differences, and planted ones found as often as printed."""

import json
import subprocess
import sys

import pytest
from checkout import ROOT

# Two hundred and fifty rounds take 31 s of CPU.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_equal_models_seldom_differ_and_the_smallest_visible_size_is_found() -> None:
    command = [sys.executable, "-m", "benchmarks.significance", "--tables", "250", "--seed", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    shares = json.loads(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0, shares
    assert shares["good"]
