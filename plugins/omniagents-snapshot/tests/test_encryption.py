"""What an encrypted project shows to whoever holds the store, and what it does without the right key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents._ids import encode_project_id
from omniagents.errors import MissingPluginError, StateCorruptError, StateError
from omniagents_snapshot.encryption import Encryption, ProjectKeys
from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]
PREFIX = encode_project_id("alice")
KEY = Encryption.new_key()


def encryption(key: str | bytes = KEY) -> Encryption:
    return Encryption.from_callable(lambda: key)


@pytest.fixture
def secret(new_manager: NewManager, tree: LocalTree) -> SnapshotStateManager:
    """Has saved a workspace twice."""
    manager = new_manager(encryption=encryption())
    write(tree.root, "plans/takeover.txt", "buy low, sell high\n" * 100)
    manager.save("alice", as_workspace(tree), "before the announcement")
    write(tree.root, "more.txt", "confidential\n")
    manager.save("alice", as_workspace(tree), "after it")
    return manager


def objects(store: WatchedStore) -> dict[str, bytes]:
    return {found.name.partition("/")[2]: store.get(found.name) for found in store.list(f"{PREFIX}/")}


def test_it_comes_back_with_the_key(
    secret: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree
) -> None:
    manager = new_manager(encryption=encryption())
    assert manager.load("alice", as_workspace(other)) is not None
    assert state_of(other.root) == state_of(tree.root)
    assert [snapshot.message for snapshot in manager.history("alice")] == ["after it", "before the announcement"]
    assert manager.check("alice", read_data=True).is_whole


def test_no_object_shows_content_names_or_messages(secret: SnapshotStateManager, store: WatchedStore) -> None:
    stored = objects(store)
    assert {name.partition("/")[0] for name in stored} == {"HEAD", "format.json", "history", "packs", "trees"}
    for name, data in stored.items():
        for word in (b"takeover", b"buy low", b"confidential", b"announcement", b"after it", b"\x28\xb5\x2f\xfd"):
            assert word not in data, name
        assert b"snapshot" not in data or name == "format.json"


def test_names_of_equal_content_differ_between_projects_and_saves(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    manager = new_manager(encryption=encryption())
    for project_id in ("bob", "carol"):
        tree = LocalTree(tmp_path / project_id)
        write(tree.root, "same", "the same content")
        manager.save(project_id, as_workspace(tree))
    names = [found.name.rpartition("/")[2] for found in store.list("") if "/packs/" in found.name]
    assert len(set(names)) == len(names) == 2


@pytest.mark.parametrize("call", ["load", "save", "history", "check"])
def test_another_key_is_told_apart_from_damage(
    secret: SnapshotStateManager, new_manager: NewManager, other: LocalTree, call: str
) -> None:
    manager = new_manager(encryption=encryption(Encryption.new_key()))
    with pytest.raises(StateError) as caught:
        getattr(manager, call)("alice", *([as_workspace(other)] if call in ("load", "save") else []))
    assert str(caught.value) == (
        "project 'alice' is encrypted under another key than the function for the key has, or its format.json "
        "was changed; give the key that it was saved with"
    )
    assert state_of(other.root) == {}


def test_without_a_key_the_error_says_what_to_give(
    secret: SnapshotStateManager, new_manager: NewManager, other: LocalTree
) -> None:
    with pytest.raises(StateError, match="project 'alice' is encrypted; give encryption= with the key"):
        new_manager().load("alice", as_workspace(other))


def test_a_project_put_there_without_encryption_is_not_taken_for_ours(
    new_manager: NewManager, tree: LocalTree, other: LocalTree
) -> None:
    """Who can write to the store could otherwise make us load, and later save, in the clear."""
    write(tree.root, "planted")
    new_manager().save("alice", as_workspace(tree))
    with pytest.raises(StateError, match="project 'alice' is stored without encryption, and this manager was told to"):
        new_manager(encryption=encryption()).load("alice", as_workspace(other))
    assert state_of(other.root) == {}


@pytest.mark.parametrize("below", ["packs", "trees", "history", "HEAD"])
def test_a_flipped_bit_anywhere_is_found(
    secret: SnapshotStateManager, new_manager: NewManager, store: WatchedStore, below: str
) -> None:
    for name, data in objects(store).items():
        if name.startswith(below):
            path = Path(store.store.root, PREFIX, name)  # type: ignore[attr-defined]
            path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
            assert not new_manager(encryption=encryption()).check("alice", read_data=True).is_whole
            path.write_bytes(data)


def test_history_entries_cannot_change_places(
    secret: SnapshotStateManager, new_manager: NewManager, store: WatchedStore
) -> None:
    stored = objects(store)
    one, two = sorted(name for name in stored if name.startswith("history/"))
    Path(store.store.root, PREFIX, one).write_bytes(stored[two])  # type: ignore[attr-defined]
    with pytest.raises(StateCorruptError, match="does not decrypt: it was changed, or is not what it is taken for"):
        new_manager(encryption=encryption()).history("alice")


def test_nothing_sealed_as_one_kind_opens_as_another() -> None:
    keys = ProjectKeys(bytes(32))
    sealed = keys.encrypt(b"content", "segment")
    assert keys.decrypt(sealed, "segment") == b"content"
    with pytest.raises(ValueError, match="is not what it is taken for"):
        keys.decrypt(sealed, "tree")


def test_no_nonce_is_used_twice() -> None:
    keys = ProjectKeys(bytes(32))
    assert len({keys.encrypt(b"", "segment")[:12] for _ in range(10_000)}) == 10_000


def test_the_key_can_be_changed(secret: SnapshotStateManager, new_manager: NewManager, other: LocalTree) -> None:
    new = encryption(Encryption.new_key())
    secret.change_key("alice", new)
    with pytest.raises(StateError, match="under another key"):
        new_manager(encryption=encryption()).load("alice", as_workspace(other))
    assert new_manager(encryption=new).load("alice", as_workspace(other)) is not None


def test_projects_are_listed_without_a_key(secret: SnapshotStateManager, new_manager: NewManager) -> None:
    assert new_manager().projects() == ["alice"]


class TestWhereTheKeyComesFrom:
    def test_a_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, "key", KEY + "\n")
        assert Encryption.from_file(path).key() == encryption().key()

    def test_a_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMNIAGENTS_STATE_KEY", KEY)
        assert Encryption.from_environment().key() == encryption().key()

    def test_thirty_two_raw_bytes(self) -> None:
        assert encryption(bytes(range(32))).key() == bytes(range(32))

    def test_a_missing_file_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(StateError, match=r"the key file '.*/none' could not be read: No such file"):
            Encryption.from_file(tmp_path / "none").key()

    def test_a_missing_variable_is_an_error_that_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OMNIAGENTS_STATE_KEY", raising=False)
        with pytest.raises(StateError, match="the environment variable OMNIAGENTS_STATE_KEY is empty, not a key of 32"):
            Encryption.from_environment().key()

    def test_what_is_no_key_is_refused(self) -> None:
        with pytest.raises(StateError, match="the function for the key holds 8 bytes, not a key of 32 bytes"):
            encryption("password").key()

    def test_the_key_is_in_no_representation(self) -> None:
        assert KEY not in repr(encryption())

    def test_without_the_extra_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cryptography", None)
        with pytest.raises(MissingPluginError, match=r"pip install 'omniagents-snapshot\[encryption\]'"):
            encryption()
