"""The loss tests go red when the KL is flipped, the mask dropped, or a pair or the two models swapped.

`python tests/losses/mutations.py` runs the longer list.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_required_mutations_are_caught() -> None:
    script = Path(__file__).with_name("mutations.py")
    done = subprocess.run([sys.executable, str(script), "--required"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 mutations caught" in done.stdout
