"""Generated input trees: the same for the same Python, from seeded choices out of real source text.

Each tree is made once and kept in the cache directory; its name carries what it was made from.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _harness import cache_directory

__all__ = ["NEEDLE", "Tree", "project_tree", "search_tree", "state_tree"]

#: Stands in a handful of lines of the search tree and nowhere else.
NEEDLE = "Zanzibar_rare_needle"

_SEED = 20_260
_FORMAT = 5  # raise it when what is generated changes
_CORPUS_BYTES = 48 << 20
_WORDS = "api auth batch billing cache client config core data export feed graph index jobs legacy mail model".split()
_ENDINGS = [".py"] * 10 + [".js", ".ts", ".md", ".c", ".h", ".txt", ".json"]


@dataclass(frozen=True)
class Tree:
    """A generated directory.

    Attributes:
        files: How many files it holds, what is ignored by ``.gitignore`` included.
        bytes: Their sizes together.
    """

    path: Path
    files: int
    bytes: int

    def described(self) -> dict[str, Any]:
        """What a result says of it."""
        return {"files": self.files, "megabytes": round(self.bytes / 1e6, 1)}


def search_tree(quick: bool) -> Tree:
    """Source-like text of at least 16,000 files and 150 MB (quick: 800 files), 5 % of it ignored by ``.gitignore``."""
    files, size = (800, 8_000_000) if quick else (16_400, 165_000_000)
    return _made("search", _SearchTree(files, size).make, files, size)


def project_tree(quick: bool) -> Tree:
    """A checkout of 2,000 files and 20 MB (quick: 200 files), made as ``search_tree`` is."""
    files, size = (200, 2_000_000) if quick else (2_000, 20_000_000)
    return _made("project", _SearchTree(files, size).make, files, size)


def state_tree(quick: bool) -> Tree:
    """10,000 files and 500 MB (quick: a fiftieth) of what a workspace holds: sources, a virtual environment, a git
    repository, random bytes, CSV, JSON lines and SQLite."""
    scale = 50 if quick else 1
    return _made("state", _StateTree(scale).make, scale)


def _made(name: str, make: Callable[[Path], None], *parameters: int) -> Tree:
    identity = repr((_FORMAT, _SEED, parameters, sysconfig.get_path("stdlib"), sysconfig.get_python_version()))
    directory = cache_directory() / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    record = directory.with_suffix(".json")
    if not record.exists():
        print(f"  making the {name} tree (once) ...", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        make(directory)
        sizes = [os.lstat(Path(parent) / file).st_size for parent, _, files in os.walk(directory) for file in files]
        tree = Tree(directory, len(sizes), sum(sizes))
        record.write_text(json.dumps({**asdict(tree), "path": str(directory)}), encoding="utf-8")
    known = json.loads(record.read_text(encoding="utf-8"))
    return Tree(Path(known["path"]), known["files"], known["bytes"])


class _Text:
    """Pieces of the standard library's source: real words, in real lines, cut anywhere."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose
        self._corpus = b"".join(_standard_library_sources())

    def piece(self, size: int) -> bytes:
        """About ``size`` bytes of whole lines."""
        start = self._corpus.find(b"\n", self._choose.randrange(len(self._corpus) - size - 1_000)) + 1
        end = self._corpus.rfind(b"\n", start, start + size) + 1
        return self._corpus[start : end if end > start else start + size]

    def size(self, mean: float) -> int:
        """A file's size: many small ones, a few large ones."""
        return min(400_000, 40 + int(self._choose.lognormvariate(0, 1.1) * mean * 0.55))


def _standard_library_sources() -> Iterator[bytes]:
    taken = 0
    root = Path(sysconfig.get_path("stdlib"))
    for parent, directories, files in os.walk(root):
        directories[:] = sorted(name for name in directories if name not in {"site-packages", "__pycache__"})
        for file in sorted(name for name in files if name.endswith(".py")):
            content = Path(parent, file).read_bytes()
            # Text only, so that what is binary or not UTF-8 in the tree is what was put there.
            if b"\0" not in content and b"\r" not in content and _is_utf8(content):
                yield content
                taken += len(content)
            if taken > _CORPUS_BYTES:
                return


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


class _SearchTree:
    """A large checkout: nested packages, mixed line ends and encodings, a few binaries, ignored build output."""

    def __init__(self, files: int, size: int) -> None:
        self._files = files
        self._mean = size / files
        self._choose = random.Random(_SEED)
        self._text = _Text(self._choose)

    def make(self, directory: Path) -> None:
        directories = self._directories(directory)
        for name in ("node_modules/left", "build/out", ".git/objects"):
            (directory / name).mkdir(parents=True)
        (directory / ".gitignore").write_text("node_modules/\n/build/\n*.log\n!keep.log\n", encoding="utf-8")
        for number in range(self._files):
            parent = directories[self._choose.randrange(len(directories))]
            self._put(directory / self._name(number, parent), number)

    def _directories(self, top: Path) -> list[str]:
        found = [""]
        for number in range(max(8, self._files // 14)):
            above = found[self._choose.randrange(max(0, len(found) - 300), len(found))]
            above = above if above.count("/") < 7 else ""
            found.append(f"{above}{self._choose.choice(_WORDS)}{number}/")
            (top / found[-1]).mkdir(parents=True)
        return found

    def _name(self, number: int, parent: str) -> str:
        if number % 50 == 7:
            return f"node_modules/left/m{number}.js"
        if number % 50 == 8:
            return f"build/out/b{number}.py"
        if number % 200 == 9:
            return f".git/objects/o{number}"
        if number % 200 == 11:
            return f"{parent}{'keep' if number % 400 == 11 else 'run'}.{number}.log"
        return f"{parent}f{number}{self._choose.choice(_ENDINGS)}"

    def _put(self, path: Path, number: int) -> None:
        content = self._text.piece(self._text.size(self._mean))
        if number % 2_500 == 17:
            half = content.find(b"\n", len(content) // 2) + 1
            content = content[:half] + f"    {NEEDLE} = {number}\n".encode() + content[half:]
        if number % 97 == 3:
            content = content.replace(b"\n", b"\r\n")
        elif number % 97 == 5:
            content = "# caf\u00e9 \u2014 na\u00efve \u4e2d\u6587\n".encode() + content
        elif number % 397 == 9:
            content = b"# caf\xe9, Latin-1\n" + content
        elif number % 397 == 11:
            content = b"\x89PNG\r\n\x1a\n\0\0" + self._choose.randbytes(8_000)
        elif number % 1_601 == 13:
            content = content.replace(b"\n", b" ")  # one line, as of a minified file
        path.write_bytes(content)


class _StateTree:
    """A workspace in the middle of its life; ``scale`` divides the number of files of each kind."""

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self._choose = random.Random(_SEED)
        self._text = _Text(self._choose)

    def make(self, directory: Path) -> None:
        directory.mkdir()
        self._sources(directory / "src", 4_200)
        self._virtual_environment(directory / "env", 4_800)
        self._repository(directory / "checkout", 700)
        data = directory / "data"
        data.mkdir()
        for megabytes in (60, 100):
            (data / f"random{megabytes}.bin").write_bytes(self._choose.randbytes(megabytes * 1_000_000 // self._scale))
        for number in range(4):
            self._csv(data / f"table{number}.csv", 480_000 // self._scale)
            self._json_lines(data / f"events{number}.jsonl", 300_000 // self._scale)
        for number in range(2):
            self._sqlite(data / f"app{number}.sqlite3", 480_000 // self._scale)

    def _sources(self, directory: Path, count: int) -> None:
        for number in range(max(4, count // self._scale)):
            path = directory / f"package{number // 40}" / f"module{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._text.piece(self._text.size(10_000)))

    def _virtual_environment(self, directory: Path, count: int) -> None:
        """Libraries as pip installs them: sources, byte code beside them, links to an interpreter."""
        (directory / "bin").mkdir(parents=True)
        (directory / "bin" / "python3").symlink_to("/usr/bin/python3")
        (directory / "bin" / "python").symlink_to("python3")
        (directory / "pyvenv.cfg").write_text("home = /usr/bin\n", encoding="utf-8")
        libraries = directory / "lib" / "site-packages"
        for number in range(max(4, count // self._scale // 2)):
            package = libraries / f"library{number // 60}" / f"part{number % 7}"
            (package / "cache").mkdir(parents=True, exist_ok=True)
            source = self._text.piece(self._text.size(12_000))
            (package / f"m{number}.py").write_bytes(source)
            # Byte code is about as large as its source and compresses a little worse; this does, too.
            noise = self._choose.randbytes(len(source) // 4)
            (package / "cache" / f"m{number}.pyc").write_bytes(noise + source[: len(source) * 3 // 4][::-1])

    def _repository(self, directory: Path, count: int) -> None:
        self._sources(directory, count)
        fixed = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            fixed |= {f"GIT_{role}_NAME": "b", f"GIT_{role}_EMAIL": "b@localhost"}
            fixed[f"GIT_{role}_DATE"] = "2026-01-01T00:00:00Z"

        def git(*arguments: str) -> None:
            subprocess.run(["git", "-C", str(directory), *arguments], env={**os.environ, **fixed}, check=True)

        git("init", "--quiet", "--initial-branch=main")
        git("config", "gc.auto", "0")
        git("add", ".")
        git("commit", "--quiet", "--message", "first")
        git("gc", "--quiet")
        changed = sorted(directory.glob("package*/*.py"))[::2]
        for path in changed:
            path.write_bytes(path.read_bytes() + b"# changed\n")
        git("commit", "--quiet", "--all", "--message", "second")

    def _csv(self, path: Path, rows: int) -> None:
        choose = self._choose
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "name", "amount", "city", "at"])
            for number in range(rows):
                word = choose.choice(_WORDS)
                name = f"{word}-{choose.randrange(10_000)}"
                writer.writerow([number, name, choose.random(), word.upper(), 1_700_000_000 + number])

    def _json_lines(self, path: Path, rows: int) -> None:
        choose = self._choose
        with path.open("w", encoding="utf-8") as file:
            for number in range(rows):
                word = choose.choice(_WORDS)
                event = {"id": number, "event": word, "value": choose.random(), "user": choose.randrange(10**9)}
                file.write(json.dumps(event) + "\n")

    def _sqlite(self, path: Path, rows: int) -> None:
        choose = self._choose
        with sqlite3.connect(path) as connection:
            connection.execute("create table item (id integer primary key, name text, price real, note text)")
            values = ((n, choose.choice(_WORDS), choose.random(), choose.randbytes(20).hex()) for n in range(rows))
            connection.executemany("insert into item values (?, ?, ?, ?)", values)
        connection.close()
