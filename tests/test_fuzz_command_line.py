"""scripts/fuzz_command_line.py: a share of its command lines is answered as it should be."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "fuzz_command_line.py"


@pytest.mark.slow
def test_wrong_command_lines_are_refused_by_name_and_right_ones_train(tmp_path):
    command = [sys.executable, str(SCRIPT), "--count", "48", "--seed", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    refused, right, bad, total = map(int, done.stdout.split("│ all")[1].split("│")[1:5])
    assert (refused + right, bad, total) == (48, 0, 48)
    assert refused > 30
    assert right > 5
