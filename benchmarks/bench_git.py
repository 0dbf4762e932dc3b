"""A workspace of 2,000 files kept by the state manager ``git``, beside git itself, on one HTTP server.

Both sides push to and fetch from ``git http-backend`` on loopback, with basic authentication, so that a network costs
nothing; each request of a real one costs both sides the same. git's side is what a script would run: ``git add
--all --force && git commit && git push``, and ``git clone --depth=1``. It keeps no empty directory, mode or time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from _harness import Report, Side, measure, options, program_version, scratch, timed
from _trees import project_tree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.services.git_servers import GitOverHttp, make_repository, wsgi_server

from omniagents.backends.local_backend import LocalBackend
from omniagents.workspace import Workspace
from omniagents_git.state_manager import GitStateManager

ACCOUNT = ("bench", "token")
CHANGED = "changed.txt"
ME = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0")


class Ours:
    """The state manager, as one host process has it; ``anew`` is another host that has nothing yet."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder, self._hosts = url, folder, count()
        self.manager = self.anew()

    def anew(self) -> GitStateManager:
        """A manager with an empty cache."""
        cache = self._folder / f"host {next(self._hosts)}"
        user, token = ACCOUNT
        return GitStateManager(self._url, username=user, token=token, keep_secrets=True, cache_directory=cache)


class Plain:
    """A checkout whose owner runs git."""

    def __init__(self, url: str, folder: Path) -> None:
        user, token = ACCOUNT
        self._url = url.replace("://", f"://{user}:{token}@")
        self.checkout = folder

    def git(self, *arguments: str | Path) -> None:
        """Run git in the checkout; an error ends the benchmark."""
        subprocess.run(["git", *ME, "-C", self.checkout, *arguments], check=True, capture_output=True)

    def push(self, branch: str) -> None:
        """Move a branch to what was last committed."""
        self.git("push", "--quiet", self._url, f"HEAD:refs/heads/{branch}")

    def first(self, branch: str) -> None:
        """A repository of its own, and everything pushed to a branch."""
        self.git("init", "--quiet")
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message=first")
        self.push(branch)

    def changed(self, branch: str) -> None:
        """Add, commit and push what changed; nothing is pushed if nothing did."""
        self.git("add", "--all", "--force")
        with suppress(subprocess.CalledProcessError):  # exit code 1: there is something to commit
            self.git("diff", "--cached", "--quiet")
            return
        self.git("commit", "--quiet", "--message=more")
        self.push(branch)

    def clone(self, branch: str, into: Path) -> None:
        """The newest commit of a branch, checked out."""
        self.git("clone", "--quiet", "--depth=1", "--branch", branch, self._url, into)


def main() -> None:
    report = Report("bench_git", options(__doc__), versions={"git": program_version("git", "--version")})
    tree = project_tree(report.options.quick)
    report.note(**tree.described())
    with scratch() as folder, wsgi_server(folder / "repositories", dict([ACCOUNT])) as server:
        for name in ("ours", "plain"):
            shutil.copytree(tree.path, folder / name, symlinks=True)
            make_repository(folder / "repositories", f"{name}.git")
        ours = Ours(f"{server.url}/ours.git", folder / "hosts")
        plain = Plain(f"{server.url}/plain.git", folder / "plain")
        with LocalBackend("bench", workspace_dir=folder / "ours", checkpoint_interval_seconds=None) as backend:
            saves(report, server, ours, plain, backend.workspace)
        restores(report, server, ours, plain, folder)
    report.write()


def saves(report: Report, server: GitOverHttp, ours: Ours, plain: Plain, workspace: Workspace) -> None:
    """The first save, one with nothing changed, and one of a single file."""
    numbers = count()

    def first_of_ours() -> None:
        ours.anew().save(f"first {next(numbers)}", workspace)

    def first_of_plain() -> float:
        shutil.rmtree(plain.checkout / ".git", ignore_errors=True)
        return timed(partial(plain.first, f"first-{next(numbers)}"))()

    sides: dict[str, Side] = {"omniagents": timed(first_of_ours), "git": first_of_plain}
    report.add(measure("first save", sides, rounds=report.options.counted(2)))

    ours.manager.save("kept", workspace)
    plain.push("kept")
    sides = {
        "omniagents": timed(lambda: ours.manager.save("kept", workspace)),
        "git": timed(partial(plain.changed, "kept")),
    }
    report.add(measure("save, nothing changed", sides, rounds=report.options.counted(7)))
    unchanged = {name: requests(server, side) for name, side in sides.items()}

    def after_a_change(side: Side, change: Callable[[bytes], object]) -> Side:
        def run() -> float | Sequence[float]:
            change(b"%d\n" % next(numbers) * 1000)
            return side()

        return run

    sides = {
        "omniagents": after_a_change(sides["omniagents"], lambda data: workspace.write_bytes(CHANGED, data)),
        "git": after_a_change(sides["git"], (plain.checkout / CHANGED).write_bytes),
    }
    report.add(measure("save, one file changed", sides, rounds=report.options.counted(5)))
    changed = {name: requests(server, side) for name, side in sides.items()}
    report.fact("requests_of_a_save", {"nothing changed": unchanged, "one file changed": changed})


def restores(report: Report, server: GitOverHttp, ours: Ours, plain: Plain, folder: Path) -> None:
    """Everything into an empty workspace, by a host that has nothing yet."""
    numbers = count()

    def load() -> float:
        target = folder / f"loaded {next(numbers)}"
        with LocalBackend(target.name, workspace_dir=target, checkpoint_interval_seconds=None) as backend:
            seconds = timed(lambda: ours.anew().load("kept", backend.workspace))()
        shutil.rmtree(target)
        return seconds

    def clone() -> float:
        target = folder / f"cloned {next(numbers)}"
        seconds = timed(lambda: plain.clone("kept", target))()
        shutil.rmtree(target)
        return seconds

    sides: dict[str, Side] = {"omniagents": load, "git": clone}
    report.add(measure("restore", sides, rounds=report.options.counted(3)))
    report.fact("requests_of_a_restore", {name: requests(server, side) for name, side in sides.items()})


def requests(server: GitOverHttp, side: Side) -> int:
    """How many requests one run makes, without those that are only told to log in."""
    before = len(server.requests)
    side()
    return sum(user is not None for _, _, user in server.requests[before:])


if __name__ == "__main__":
    main()
