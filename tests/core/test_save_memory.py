"""The save_memory tool, its store, and load_memory."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from omniagents.errors import GuestCallError
from omniagents.guest import storing
from omniagents.tools.base import ToolResult
from omniagents.tools.save_memory_tool import SaveMemoryTool, load_memory


def save(backend: Any, **arguments: Any) -> ToolResult:
    return SaveMemoryTool(backend=backend).execute(**arguments)


def refused(result: ToolResult) -> tuple[str | None, str]:
    assert result.is_error
    return result.error_type, result.content


@pytest.fixture
def store(workspace_root: Path) -> Path:
    return workspace_root / ".omniagents" / "memory.json"


def test_without_a_store_there_is_nothing_to_remember(backend: Any, workspace_root: Path) -> None:
    assert load_memory(backend) == {}
    assert os.listdir(workspace_root) == []


def test_what_is_saved_is_loaded(backend: Any) -> None:
    assert save(backend, key="editor", value="vim").content == 'Saved "editor". 1 entry in memory.'
    assert save(backend, key="shell", value="zsh\n🎉").content == 'Saved "shell". 2 entries in memory.'
    assert load_memory(backend) == {"editor": "vim", "shell": "zsh\n🎉"}


def test_the_store_is_sorted_indented_readable_json(backend: Any, store: Path) -> None:
    save(backend, key="b", value="é")
    save(backend, key="a", value="1")
    assert store.read_bytes() == '{\n  "a": "1",\n  "b": "é"\n}\n'.encode()


def test_overwriting_a_key_tells_its_old_value(backend: Any) -> None:
    save(backend, key="editor", value="vim")
    assert save(backend, key="editor", value="emacs").content == (
        'Saved "editor"; it held "vim" before. 1 entry in memory.'
    )
    result = save(backend, key=" editor ", value="emacs")
    assert result.content == '"editor" already holds this. 1 entry in memory.'
    assert result.data == {"key": "editor", "old": "emacs", "changed": False, "entries": 1, "bytes": 24}


def test_a_fact_alone_makes_its_key(backend: Any) -> None:
    fact = "The user prefers tabs over spaces in every Python file of this project, always."
    save(backend, fact=fact)
    save(backend, fact=fact + " Really.")
    save(backend, fact=fact)
    save(backend, fact="!!!")
    assert load_memory(backend) == {
        "the-user-prefers-tabs-over-spaces-in-every-python-file-of": fact,
        "the-user-prefers-tabs-over-spaces-in-every-python-file-of-2": fact + " Really.",
        "fact": "!!!",
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"key": "a"}, "give key and value together, or fact alone"),
        ({"value": "a"}, "give key and value together, or fact alone"),
        ({}, "give key and value together, or fact alone"),
        ({"key": "a", "value": "b", "fact": "c"}, "give either key and value, or fact alone"),
        ({"fact": "  "}, "the fact is empty"),
        ({"key": " ", "value": "b"}, "the key is empty; give it a short name, such as 'test-command'"),
        ({"key": "a\x00b", "value": "b"}, 'the key "a\\u0000b" has control or other unprintable characters'),
        ({"key": "a\udc80", "value": "b"}, "'key': Input should be a valid string"),
        ({"key": "k" * 201, "value": "b"}, "String should have at most 200 characters"),
        ({"key": "k", "value": "v" * 4097}, "the value has 4,097 bytes, at most 4,096 fit"),
        ({"key": "k", "value": "é" * 2049}, "the value has 4,098 bytes, at most 4,096 fit"),
        ({"key": "k", "value": "\udc80"}, "character 1 is half of a surrogate pair (U+DC80)"),
    ],
)
def test_wrong_keys_and_values_are_refused(backend: Any, store: Path, arguments: dict[str, str], problem: str) -> None:
    code, message = refused(save(backend, **arguments))
    assert code == "INVALID_ARGUMENTS"
    assert problem in message
    assert not store.exists()


def test_a_value_of_exactly_four_kibibytes_fits(backend: Any) -> None:
    assert not save(backend, key="k" * 200, value="v" * 4096).is_error


def test_the_store_has_a_limit_and_what_is_in_it_stays(backend: Any, store: Path) -> None:
    for number in range(15):
        assert not save(backend, key=f"k{number:02}", value="v" * 4096).is_error
    before = store.read_bytes()
    code, message = refused(save(backend, key="more", value="v" * 4096))
    assert code == "FILE_TOO_LARGE"
    assert message == (
        "the memory store would have 65,748 bytes, at most 65,536 are kept; nothing was saved. Save a shorter value "
        'under one of the largest keys first: "k00" (4096 bytes), "k01" (4096 bytes), "k02" (4096 bytes)'
    )
    assert store.read_bytes() == before
    assert not save(backend, key="k00", value="").is_error
    assert not save(backend, key="more", value="v" * 4000).is_error


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": {"b": "c"}}',
        b'{"a": 1}',
        b'{"a": null}',
        b'{"a": "1", "a": "2"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_corrupt_store_is_an_error_and_stays_untouched(backend: Any, store: Path, content: bytes) -> None:
    store.parent.mkdir()
    store.write_bytes(content)
    code, message = refused(save(backend, key="k", value="v"))
    assert code == "STORE_CORRUPT"
    assert message.startswith("the memory store cannot be used: .omniagents/memory.json ")
    assert message.endswith("; it is untouched. Look at it with read_file, then mend it with write_file or remove it")
    with pytest.raises(GuestCallError) as caught:
        load_memory(backend)
    assert caught.value.code == "STORE_CORRUPT"
    assert store.read_bytes() == content


def test_what_is_no_file_in_the_stores_place_is_a_corrupt_store(
    backend: Any, store: Path, workspace_root: Path
) -> None:
    store.mkdir(parents=True)
    assert refused(save(backend, key="k", value="v"))[0] == "STORE_CORRUPT"
    store.rmdir()
    os.mkfifo(store)
    assert refused(save(backend, key="k", value="v"))[0] == "STORE_CORRUPT"
    store.unlink()
    store.symlink_to(store.name)
    assert refused(save(backend, key="k", value="v"))[0] == "STORE_CORRUPT"
    store.unlink()
    store.parent.rmdir()
    (workspace_root / ".omniagents").write_text("")
    assert refused(save(backend, key="k", value="v"))[0] == "STORE_CORRUPT"


def test_a_store_that_leads_out_of_the_workspace_is_refused(
    backend: Any, store: Path, tmp_path: Path, workspace_root: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store.parent.symlink_to(outside)
    expected = (
        "PATH_OUTSIDE_WORKSPACE",
        ".omniagents/memory.json leads out of the workspace; remove the link with run_shell_command",
    )
    assert refused(save(backend, key="k", value="v")) == expected
    store.parent.unlink()
    store.parent.mkdir()
    store.symlink_to(outside / "memory.json")
    assert refused(save(backend, key="k", value="v")) == expected
    with pytest.raises(GuestCallError) as caught:
        load_memory(backend)
    assert caught.value.code == "PATH_OUTSIDE_WORKSPACE"
    assert os.listdir(outside) == []


def test_savers_at_the_same_time_lose_nothing(backend: Any) -> None:
    threads = [threading.Thread(target=save, args=(backend,), kwargs={"key": f"k{n}", "value": "v"}) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_memory(backend) == {f"k{n}": "v" for n in range(20)}


def test_a_writer_of_another_guest_in_between_loses_nothing(
    backend: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interfered: list[bool] = []

    def interfering(resolved: str, content: bytes, **options: Any) -> os.stat_result:
        if not interfered:
            interfered.append(True)
            store.parent.mkdir()
            store.write_text(json.dumps({"theirs": "1"}))
        return storing.store(resolved, content, **options)

    monkeypatch.setattr("omniagents.guest.memory.store", interfering)
    assert not save(backend, key="mine", value="2").is_error
    assert load_memory(backend) == {"mine": "2", "theirs": "1"}
