"""How much memory a host process takes that saves into a bucket what cannot be compressed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.services.gcs.fault_server import fault_server_process

SUPPORT = Path(__file__).parents[2] / "omniagents-snapshot" / "tests" / "snapshot_support" / "large_child.py"


@pytest.mark.service
@pytest.mark.slow
def test_save_check_and_load_of_noise_stay_within_256_mebibytes() -> None:
    with fault_server_process("sessions", latency_ms=40) as url:
        command = [sys.executable, str(SUPPORT), "gs://sessions", "1000", "300", "noise"]
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": url}
        said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert int(said) < 256 << 20
