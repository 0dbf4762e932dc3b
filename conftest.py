"""For every test: under CI=true nothing may skip, hypothesis has time, and services end with the session."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.services import docker_engine, podman_engine, session

# Shared machines stall for longer than hypothesis's deadline; how long an example takes is the benchmarks' business.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

# Started in the background, a test run inherits to ignore SIGINT, and so would every program it starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Name the session to whatever starts a service for it, in this process or a worker's."""
    if not hasattr(config, "workerinput"):
        os.environ[session.VARIABLE] = uuid.uuid4().hex


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the engines that this session started, and no others."""
    if hasattr(config, "workerinput"):
        return
    if session.is_ours(docker_engine.FOLDER):
        docker_engine.stop()
    if session.is_ours(podman_engine.folder()):
        podman_engine.stop()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true, turn a skip into a failure unless the test is marked ``platform``."""
    report = yield
    expected = hasattr(report, "wasxfail") or item.get_closest_marker("platform") is not None
    if report.skipped and not expected:
        fail_under_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under CI=true, turn the skip of a whole module into an error."""
    report = yield
    if report.skipped:
        fail_under_ci(report)
    return report


def fail_under_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a skipped report a failed one that tells the reason of the skip, if CI=true."""
    if os.environ.get("CI", "").lower() not in {"1", "true"}:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    report.outcome = "failed"
    report.longrepr = f"skipped, and under CI=true nothing may skip: {reason}"


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parent
