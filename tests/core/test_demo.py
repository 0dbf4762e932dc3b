"""The demo: plays to its end, cleans up, and fails when a claim does not hold."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.core.cli_support import Program

from omniagents.demo import acts, sources
from omniagents.demo.stage import Cast, ClaimError, Part, Step, claim, step
from omniagents.errors import BackendStartError
from omniagents.plugins import manager


@pytest.mark.extra
@pytest.mark.slow
def test_it_plays_to_its_end_and_leaves_nothing(program: Program, tmp_path: Path) -> None:
    answer = program("demo", "--offline", "--directory", str(tmp_path / "stage"))
    assert answer.code == 0
    told = answer.out
    assert "Everything was as stated, in " in told
    for tool in (
        "list_directory", "glob", "search_file_content", "read_file", "read_many_files", "replace", "write_file",
        "run_shell_command", "uv", "save_memory",
    ):  # fmt: skip
        assert tool in told
    assert not (tmp_path / "stage").exists()


@pytest.mark.extra
def test_a_directory_with_something_in_it_is_not_touched(program: Program, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    answer = program("demo", "--offline", "--directory", str(tmp_path))
    assert answer.code == 2
    assert "is not empty" in answer.err
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["mine.txt"]


@pytest.mark.extra
def test_without_the_state_manager_it_says_what_to_install_and_fetches_nothing(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(manager.DISABLE_VARIABLE, "snapshot")
    manager.reload()
    try:
        answer = program("demo")
    finally:
        monkeypatch.delenv(manager.DISABLE_VARIABLE)
        manager.reload()
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("omniagents: no state manager 'directory': ")


@pytest.mark.extra
def test_without_a_registry_it_uses_its_own_source(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from omniagents.demo import program as directing

    def unreachable(into: Path) -> None:
        raise sources.SourceUnavailableError("no route to host")

    monkeypatch.setattr(sources, "download", unreachable)
    cast = directing._cast(tmp_path, False)
    assert [part.work.title for part in cast.parts] == [sources.own_source(tmp_path / "again")[0].title] * 2
    assert "because the package registry was of no use: no route to host" in capsys.readouterr().out


@pytest.mark.extra
def test_where_nothing_isolates_it_plays_on_the_local_backend_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from omniagents.demo import program as directing

    def refuse() -> str:
        raise BackendStartError("nothing is installed")

    monkeypatch.setattr(directing, "choose_backend", refuse)
    assert directing._backend() == "local"
    assert "NO ISOLATION: the backend is 'local', because nothing is installed" in capsys.readouterr().out
    monkeypatch.setattr(directing, "choose_backend", lambda: "bubblewrap")
    assert directing._backend() == "bubblewrap"
    assert "the backend 'auto' is bubblewrap here" in capsys.readouterr().out


def test_a_failing_act_is_exit_code_1_and_says_what_is_not_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(cast: Cast) -> None:
        claim(False, f"{cast.parts[0].name} is here")

    monkeypatch.setitem(acts._ACTS, "first", failing)
    monkeypatch.setattr("sys.stdin", io.StringIO(_cast(tmp_path).as_json()))
    assert acts.main("first") == 1
    assert capsys.readouterr() == ("", "ClaimError: not so: alice is here\n")


def test_a_step_that_fails_is_not_told_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ClaimError), step("alice", "does it"):
        claim(False, "it is done")
    with step("alice", "does it") as doing:
        doing.text += " well"
    told = Step.from_json(capsys.readouterr().out)
    assert (told.user, told.text) == ("alice", "does it well")


def test_a_cast_survives_json(tmp_path: Path) -> None:
    cast = _cast(tmp_path)
    assert Cast.from_json(cast.as_json()) == cast
    assert json.loads(cast.as_json())["parts"][0]["name"] == "alice"


def _cast(tmp_path: Path) -> Cast:
    works = sources.own_source(tmp_path)
    return Cast(
        "local",
        "snapshots",
        tuple(Part(name, name * 2, work) for name, work in zip(("alice", "bob"), works, strict=True)),
    )
