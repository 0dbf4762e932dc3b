"""Everything a developer or CI runs, as nox sessions; also a script that needs nothing but Python.

python3 noxfile.py tests             makes itself an environment with nox and uv, then runs the session
python3 noxfile.py tests -- -k grep  everything after -- goes to the session's main program
python3 noxfile.py --list            all sessions
nox -s tests                         plain nox works too
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # Before nox is imported: the machine may not have it yet.
    from scripts.bootstrap import main

    raise SystemExit(main(sys.argv[1:]))

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "tests"]
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")

ROOT = Path(__file__).resolve().parent
PLUGINS = sorted(file.parent.name for file in ROOT.glob("plugins/*/pyproject.toml"))
EXAMPLES = sorted(file.parent.name for file in ROOT.glob("examples/*/pyproject.toml"))
SIBLINGS = [f"plugins/{name}" for name in PLUGINS] + [f"examples/{name}" for name in EXAMPLES]
SOURCES = [f"{project}/src" for project in SIBLINGS]
PINNED = ("--constraints", "constraints.txt", "--build-constraints", "constraints.txt")


def editable(*projects: str) -> list[str]:
    """Return the install arguments for projects of this checkout, in place."""
    return [argument for project in projects for argument in ("--editable", project)]


def test_groups(*projects: str) -> list[str]:
    """Return the install arguments for the test group of the core and of the projects that have their own."""
    files = [f"{project}/pyproject.toml" for project in projects]
    own = [f"{file}:test" for file in files if "[dependency-groups]" in (ROOT / file).read_text(encoding="utf-8")]
    return [argument for group in ["test", *own] for argument in ("--group", group)]


def install(session: nox.Session, *arguments: str) -> None:
    """Install at the versions and hashes of constraints.txt, and nothing that it does not name."""
    session.install(*PINNED, *arguments)
    session.run("python", "-m", "scripts.constraints", "check", silent=True)


def pytest(session: nox.Session, *arguments: str, workers: int = 2) -> None:
    """Run pytest over both cores; under CI=true a skipped test is a failed one (conftest.py)."""
    session.run("pytest", "--numprocesses", str(workers), "--dist", "loadgroup", *arguments, *session.posargs)


def debian_packages(session: nox.Session) -> None:
    """Install the programs that tests and benchmarks run, or say which are missing and what installs them."""
    session.run("python", "tests/services/apt.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format of all Python code, and nothing written twice; `-- --fix` mends what it can."""
    install(session, "--group", "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]))
    session.run("pylint", "core/omniagents", *SOURCES, "scripts", "noxfile.py")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types of the core, every plugin and every example."""
    groups = ["--group", "types", "--group", "bootstrap", *test_groups(*SIBLINGS)]
    install(session, *editable(".[all]", *SIBLINGS), *groups)
    targets = ["core/omniagents", *SOURCES, "noxfile.py", "scripts", "tests/services", "benchmarks", "conftest.py"]
    session.run("mypy", *targets, *session.posargs, env={"MYPYPATH": os.pathsep.join([*SOURCES, "benchmarks"])})


@nox.session
def tests(session: nox.Session) -> None:
    """Every test of the core, plugins and examples, with the real services that this machine has or may install."""
    install(session, *editable(".[all]", *SIBLINGS), *test_groups(*SIBLINGS))
    debian_packages(session)
    pytest(session)


@nox.session
def tests_minimal(session: nox.Session) -> None:
    """The core's tests with its four dependencies and nothing else: no click, no rich, no plugins."""
    install(session, *editable("."), *test_groups())
    debian_packages(session)
    pytest(session, "tests/core", "-m", "not packaging and not extra")


@nox.session
@nox.parametrize("plugin", PLUGINS, ids=[name.removeprefix("omniagents-") for name in PLUGINS])
def tests_plugin(session: nox.Session, plugin: str) -> None:
    """One plugin's tests with the core and what that plugin itself asks for."""
    project = f"plugins/{plugin}"
    install(session, *editable(".", project), *test_groups(project))
    debian_packages(session)
    pytest(session, f"{project}/tests")


@nox.session
def tests_lower(session: nox.Session) -> None:
    """The core's and the plugins' own quick tests with the oldest direct dependencies that the distributions allow."""
    lowest = ("--resolution", "lowest-direct", "--build-constraints", "constraints.txt")
    session.install(*lowest, *editable(".[all]", *SIBLINGS))
    # The tests' own tools as pinned, as far as the old versions leave the choice.
    tools = Path(session.create_tmp()) / "tools.txt"
    tools.write_text(session.run("python", "-m", "scripts.constraints", "rest", silent=True) or "", encoding="utf-8")
    session.install("--constraints", str(tools), *test_groups(*SIBLINGS))
    debian_packages(session)
    pytest(session, "tests/core", "plugins", "examples", "-m", "not packaging and not service and not slow")


@nox.session
def tests_e2b_live(session: nox.Session) -> None:
    """The e2b plugin's tests against the real service, on the account of E2B_API_KEY. It charges for sandboxes."""
    if not os.environ.get("E2B_API_KEY"):
        session.error("set E2B_API_KEY to a key from https://e2b.dev/dashboard?tab=keys")
    project = "plugins/omniagents-e2b"
    install(session, *editable(".[cli]", project), *test_groups(project))
    debian_packages(session)
    env = {"OMNIAGENTS_E2B_LIVE": "1"}
    session.run("pytest", f"{project}/tests", *session.posargs, env=env)


@nox.session
def packaging(session: nox.Session) -> None:
    """Build every distribution and try each in an empty environment."""
    install(session, "--group", "test")
    pytest(session, "tests/packaging", "-m", "packaging or not packaging", workers=0)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation's links and examples."""
    install(session, *editable(".[all]", *SIBLINGS), *test_groups(*SIBLINGS))
    pytest(session, "tests/docs", workers=0)


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmarks/bench_*.py, or those named after --; each writes its own JSON."""
    install(session, *editable(".[all]", *SIBLINGS))
    debian_packages(session)
    names = session.posargs or sorted(file.stem for file in ROOT.glob("benchmarks/bench_*.py"))
    for name in names:
        session.run("python", f"benchmarks/{Path(name).stem}.py")


@nox.session
def demo(session: nox.Session) -> None:
    """Two users, each with a workspace of their own, edit and run real code, leave, and come back."""
    install(session, *editable(".[all]", *(f"plugins/{name}" for name in PLUGINS)))
    session.run("python", "-m", "omniagents", "demo", *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Renew constraints.txt; `-- --upgrade` takes the newest versions."""
    install(session, "--group", "bootstrap")
    session.run("python", "-m", "scripts.constraints", "update", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build every distribution into wheelhouse/: what a user without a checkout installs from."""
    install(session, "--group", "bootstrap")
    shutil.rmtree(ROOT / "wheelhouse", ignore_errors=True)
    for project in [".", *SIBLINGS]:
        session.run("uv", "build", "--build-constraints", "constraints.txt", "--out-dir", "wheelhouse", project)


@nox.session
def changelog(session: nox.Session) -> None:
    """Show the next release's notes; `-- --yes` writes them into CHANGELOG.md and removes the fragments."""
    install(session, "--group", "release")
    session.run("towncrier", "build", *(session.posargs or ["--draft"]))
