"""``save_memory`` and ``load_memory``."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import GuestCallError
from omniagents.testing.tools.base import Call, ToolTests, tool_class
from omniagents.workspace import Workspace

__all__ = ["SaveMemoryTests"]

_STORE = ".omniagents/memory.json"


class SaveMemoryTests(ToolTests):
    """A store of texts that the workspace carries."""

    @pytest.fixture
    def save(self, call: Call) -> Call:
        return partial(call, "save_memory")

    @staticmethod
    def _load(backend: Backend) -> dict[str, str]:
        from omniagents.tools.save_memory_tool import load_memory

        return load_memory(backend)

    def test_what_was_saved_is_loaded(self, backend: Backend, save: Call) -> None:
        assert self._load(backend) == {}
        save(key="test command", value="pytest -q")
        save(key="ünï", value='"quoted"\n🎉')
        assert self._load(backend) == {"test command": "pytest -q", "ünï": '"quoted"\n🎉'}

    def test_the_store_is_a_sorted_indented_file_of_the_workspace(self, workspace: Workspace, save: Call) -> None:
        save(key="b", value="2")
        save(key="a", value="é")
        stored = workspace.read_bytes(_STORE)
        assert json.loads(stored) == {"a": "é", "b": "2"}
        assert stored.decode() == json.dumps({"a": "é", "b": "2"}, indent=2, ensure_ascii=False) + "\n"

    def test_a_key_saved_again_has_its_new_value_and_the_old_one_is_told(self, backend: Backend, save: Call) -> None:
        save(key="k", value="old value")
        assert "old value" in save(key="k", value="new value").content
        assert self._load(backend) == {"k": "new value"}

    def test_a_fact_alone_gets_a_key(self, backend: Backend, save: Call) -> None:
        save(fact="The user likes tabs.")
        save(fact="The user likes tea.")
        assert sorted(self._load(backend).values()) == ["The user likes tabs.", "The user likes tea."]

    @pytest.mark.parametrize(
        "arguments",
        [{}, {"key": "k"}, {"value": "v"}, {"fact": "f", "key": "k"}, {"key": "", "value": "v"}, {"fact": " "}],
        ids=str,
    )
    def test_key_and_value_or_a_fact_are_needed(self, save: Call, arguments: dict[str, str]) -> None:
        assert save(**arguments).error_type == "INVALID_ARGUMENTS"

    def test_a_value_may_have_four_kibibytes(self, backend: Backend, save: Call) -> None:
        assert save(key="fits", value="x" * 4096).error_type is None
        assert save(key="large", value="x" * 4097).error_type in ("INVALID_ARGUMENTS", "FILE_TOO_LARGE")
        assert save(key="large", value="é" * 2049).is_error
        assert list(self._load(backend)) == ["fits"]

    def test_the_store_may_have_sixty_four_kibibytes(self, backend: Backend, save: Call) -> None:
        results = [save(key=f"k{number}", value="x" * 4000) for number in range(20)]
        saved = [result.error_type is None for result in results]
        assert saved == [True] * saved.count(True) + [False] * saved.count(False)
        assert saved.count(True) == 16
        assert len(self._load(backend)) == 16
        assert results[-1].error_type == "FILE_TOO_LARGE"
        assert "k0" in results[-1].content or "k1" in results[-1].content

    @pytest.mark.parametrize(
        "content", [b"{", b"[]", b'{"a": 1}', b'{"a": {"b": "c"}}', b"\xff", b"", b'{"a": "1", "a": "2"}'], ids=ascii
    )
    def test_a_corrupt_store_is_an_error_and_stays_untouched(
        self, backend: Backend, workspace: Workspace, save: Call, content: bytes
    ) -> None:
        workspace.write_bytes(_STORE, content)
        result = save(key="k", value="v")
        assert result.error_type == "STORE_CORRUPT"
        assert _STORE in result.content
        assert workspace.read_bytes(_STORE) == content
        with pytest.raises(GuestCallError) as raised:
            self._load(backend)
        assert raised.value.code == "STORE_CORRUPT"

    def test_many_savers_at_once_lose_nothing(self, backend: Backend) -> None:
        tool = tool_class("save_memory")(backend)

        async def save_all() -> None:
            results = await asyncio.gather(*(tool.aexecute(key=f"k{n:02}", value=str(n)) for n in range(30)))
            assert [result.content for result in results if result.is_error] == []

        asyncio.run(save_all())
        assert self._load(backend) == {f"k{number:02}": str(number) for number in range(30)}

    def test_the_next_session_remembers(self, make_backend: Any) -> None:
        from omniagents.testing._keeping import KeepingStateManager

        state = KeepingStateManager()
        with make_backend(state_manager=state) as backend:
            tool_class("save_memory")(backend).execute(key="k", value="v")
        with make_backend(state_manager=state) as backend:
            assert self._load(backend) == {"k": "v"}
