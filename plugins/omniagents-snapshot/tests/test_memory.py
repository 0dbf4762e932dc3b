"""How much memory the host takes, whatever the size of the workspace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from snapshot_support import large_child

_LIMIT = 256 << 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "mebibytes", "content"),
    [(200_000, 0, "zeros"), (1_000, 1024, "zeros"), (1_000, 300, "noise")],
    ids=["two hundred thousand files", "one gibibyte of zeros", "what cannot be compressed"],
)
def test_save_check_load_and_prune_stay_within_256_mebibytes(
    tmp_path: Path, files: int, mebibytes: int, content: str
) -> None:
    command = [sys.executable, large_child.__file__, str(tmp_path), str(files), str(mebibytes), content]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < _LIMIT
