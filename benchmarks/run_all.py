"""Run every benchmark of this directory, one after the other; arguments are passed on to each.

python benchmarks/run_all.py            all, results into benchmarks/results/
python benchmarks/run_all.py --quick    all, small, nothing written
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run them all even if one fails; return 1 if one did."""
    failed = []
    started = time.monotonic()
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        begun = time.monotonic()
        if subprocess.run([sys.executable, str(script), *arguments]).returncode:
            failed.append(script.stem)
        print(f"  ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"\n{time.monotonic() - started:.0f} s in all" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
