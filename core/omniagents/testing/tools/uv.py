"""``uv``, with a stand-in for the program: what is tested is how it is called."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from omniagents.backends.base import Backend
from omniagents.testing.tools.base import Call, ToolTests, check, tool_class

__all__ = ["UVTests"]

_STAND_IN = """#!/bin/sh
case "$1" in
  fail) echo broken >&2; exit 2 ;;
  where) pwd -P ;;
  hang) sleep 300 ;;
  read) cat; echo end ;;
  *) exec python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@" ;;
esac
"""


class UVTests(ToolTests):
    """Words are passed on as they are, without a shell."""

    @pytest.fixture
    def uv_backend(self, make_backend: Callable[..., Backend]) -> Iterator[Backend]:
        """A running backend that has the stand-in on its PATH."""
        programs = f"/tmp/programs-{secrets.token_hex(8)}"
        backend = make_backend(environment={"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"})
        backend.start()
        backend.workspace.write_bytes(programs + "/uv", _STAND_IN.encode(), mode=0o755, outside=True)
        yield backend
        backend.workspace.remove(programs, outside=True)

    @pytest.fixture
    def uv(self, uv_backend: Backend) -> Call:
        return lambda **arguments: check(tool_class("uv")(uv_backend).execute(**arguments))

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("add requests", ["add", "requests"]),
            ("run python -c 'print(\"a b\")'", ["run", "python", "-c", 'print("a b")']),
            ("pip install 'x>=1' $HOME *", ["pip", "install", "x>=1", "$HOME", "*"]),
            (["add", "two words", "$(id)", ""], ["add", "two words", "$(id)", ""]),
            ("uv add requests", ["add", "requests"]),
        ],
        ids=str,
    )
    def test_arguments_are_split_like_a_shell_would_and_run_without_one(
        self, uv: Call, given: object, words: list[str]
    ) -> None:
        assert json.loads(uv(args=given).content) == words

    def test_the_arguments_have_other_names_too(self, uv: Call) -> None:
        assert [uv(**{name: "sync"}).content for name in ("args", "command", "uv_command")] == ['["sync"]'] * 3

    def test_the_exit_code_is_uvs_own(self, uv: Call) -> None:
        result = uv(args="fail")
        assert (result.error_type, result.data["exit_code"]) == ("COMMAND_FAILED", 2)
        assert result.content.splitlines() == ["broken", "[exit code: 2]"]

    def test_a_directory_is_where_uv_runs(self, uv_backend: Backend, uv: Call) -> None:
        uv_backend.workspace.make_dir("sub")
        assert uv(args="where", directory="sub").content == uv_backend.workspace.root + "/sub"
        assert uv(args="where", directory="/").error_type == "PATH_OUTSIDE_WORKSPACE"

    def test_a_timeout_kills_uv(self, uv: Call) -> None:
        assert uv(args="hang", timeout=1).error_type == "COMMAND_TIMEOUT"

    def test_uv_reads_no_input(self, uv: Call) -> None:
        assert uv(args="read").content == "end"

    @pytest.mark.parametrize(
        "args", ["publish", "auth login", "self update", "--quiet publish", ["self", "update"]], ids=str
    )
    def test_what_is_the_users_business_is_refused(self, uv: Call, args: object) -> None:
        assert uv(args=args).error_type == "COMMAND_REFUSED"

    @pytest.mark.parametrize("args", ["", "'open", [], "nul\0"], ids=ascii)
    def test_what_are_no_words_is_a_wrong_argument(self, uv: Call, args: object) -> None:
        assert uv(args=args).error_type == "INVALID_ARGUMENTS"

    def test_without_uv_there_is_a_hint_how_to_install_it(self, make_backend: Callable[..., Backend]) -> None:
        with make_backend(environment={"PATH": f"/tmp/no-programs-{secrets.token_hex(8)}"}) as backend:
            call = partial(tool_class("uv")(backend).execute, args="sync")
            assert check(call()).error_type == "UV_NOT_FOUND"
            assert "install" in call().content
