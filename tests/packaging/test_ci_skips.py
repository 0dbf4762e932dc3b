"""The root conftest.py: under CI=true nothing may skip."""

from __future__ import annotations

import shutil
import sys

import pytest
from scripts.projects import ROOT

TESTS = """
import sys
import pytest

def test_skips():
    pytest.skip("no server")

@pytest.mark.skipif(sys.version_info > (3,), reason="decorated")
def test_skips_by_decorator(): ...

@pytest.mark.platform
def test_is_for_another_system():
    pytest.skip("not Windows")

@pytest.mark.xfail(reason="known", strict=True)
def test_is_known_to_fail():
    assert not "known"

def test_passes(): ...
"""
CONFIGURATION = f"[pytest]\npythonpath = {ROOT}\nmarkers =\n    platform: as in the checkout\n"


@pytest.fixture
def pytest_in(run, tmp_path, monkeypatch):
    """Returns a function that runs pytest on a file, beside a copy of the root conftest, and returns the outcome."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(CONFIGURATION, encoding="utf-8")

    def pytest_in(source: str, *, ci: str):
        (tmp_path / "test_it.py").write_text(source, encoding="utf-8")
        monkeypatch.setenv("CI", ci)
        return run(sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", cwd=tmp_path)

    return pytest_in


def test_a_skip_under_ci_is_a_failure_or_an_error_with_its_reason(pytest_in):
    finished = pytest_in(TESTS, ci="true")
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error" in finished.stdout
    assert "skipped, and under CI=true nothing may skip: Skipped: no server" in finished.stdout
    assert "skipped, and under CI=true nothing may skip: Skipped: decorated" in finished.stdout


def test_a_skip_elsewhere_is_a_skip_that_is_named_in_the_summary(pytest_in):
    finished = pytest_in(TESTS, ci="")
    assert "1 passed, 3 skipped, 1 xfailed" in finished.stdout
    assert "no server" in finished.stdout


def test_a_module_that_skips_itself_under_ci_is_an_error(pytest_in):
    finished = pytest_in("import pytest\npytest.importorskip('no_such_module')\n", ci="true")
    assert finished.returncode != 0
    assert "skipped, and under CI=true nothing may skip: Skipped: could not import 'no_such_module'" in finished.stdout
