"""The code the two users work on: two packages from the package registry, or Omniagents' own where there is none."""

from __future__ import annotations

import ensurepip
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import omniagents

__all__ = ["SourceUnavailableError", "Work", "download", "own_source"]

_DOWNLOAD_SECONDS = 60

# Small, pure Python, with quick tests that need nothing else; at the hashes of their releases.
_REQUIREMENTS: Final = """\
idna==3.10 --hash=sha256:12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9
typing_extensions==4.15.0 --hash=sha256:0cea48d173cc12fa28ecabc3b837ea3cf6f38c6d1136f85cbaaf598984861466
"""


class SourceUnavailableError(Exception):
    """The packages cannot be downloaded; says why."""


@dataclass(frozen=True)
class Work:
    """A source tree and what its user does to it.

    Attributes:
        title: What it is.
        tree: The directory it is in.
        file: What is edited, below the tree; ``definition`` is the pattern of one line in it.
        old: The text to replace by ``new``.
        test_file: A new test, with its content ``test``.
        test_directory: Where ``python -m unittest`` finds the tests, and then at least ``least_tests``.
    """

    title: str
    tree: str
    file: str
    definition: str
    old: str
    new: str
    test_file: str
    test: str
    test_directory: str
    least_tests: int


def download(into: Path) -> tuple[Work, Work]:
    """Fetch both packages' source distributions with pip.

    Raises:
        SourceUnavailableError: No pip, no registry, or not what was expected.
    """
    requirements = into / "requirements.txt"
    requirements.write_text(_REQUIREMENTS, encoding="utf-8")
    pip, environment = _pip()
    options = [
        "--no-deps",
        "--no-binary",
        "idna,typing_extensions",
        "--require-hashes",
        "--disable-pip-version-check",
        "-q",
    ]
    try:
        subprocess.run(
            [*pip, "download", *options, "--dest", into, "--requirement", requirements],
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_SECONDS,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        for archive in into.glob("*.tar.gz"):
            with tarfile.open(archive) as opened:
                opened.extractall(into, filter="data")
        return _idna(into / "idna-3.10"), _typing_extensions(into / "typing_extensions-4.15.0")
    except subprocess.TimeoutExpired as error:
        raise SourceUnavailableError(f"pip had no answer for {_DOWNLOAD_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise SourceUnavailableError(said[-1][:200]) from error
    except (OSError, tarfile.TarError) as error:
        raise SourceUnavailableError(str(error)) from error


def own_source(into: Path) -> tuple[Work, Work]:
    """A copy for each of the program that runs inside environments."""
    return _guest(into / "first", 4096), _guest(into / "second", 16384)


def _pip() -> tuple[list[str], dict[str, str]]:
    """This Python's pip; one from ensurepip where an environment was made without."""
    pip = [sys.executable, "-m", "pip"]
    if find_spec("pip") is not None:
        return pip, {**os.environ}
    for wheel in _bundled_wheels():
        return pip, {**os.environ, "PYTHONPATH": str(wheel)}
    raise SourceUnavailableError("this Python has no pip and no ensurepip")


def _bundled_wheels() -> Iterator[Path]:
    # Debian keeps the wheel elsewhere, where only its own environments look.
    yield from (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    yield from Path("/usr/share/python-wheels").glob("pip-*.whl")


def _idna(tree: Path) -> Work:
    return Work(
        title="idna 3.10",
        tree=str(tree),
        file="idna/core.py",
        definition=r"def valid_label_length\(",
        old="    if len(label) > 63:\n        return False\n    return True\n",
        new="    return len(label) <= 63  # RFC 1035, 2.3.4\n",
        test_file="tests/test_label_length.py",
        test=(
            "import unittest\n\nfrom idna.core import valid_label_length\n\n\n"
            "class LabelLengthTests(unittest.TestCase):\n"
            "    def test_63_is_the_most(self):\n"
            "        self.assertTrue(valid_label_length('a' * 63))\n"
            "        self.assertFalse(valid_label_length('a' * 64))\n"
        ),
        test_directory=".",
        least_tests=6000,
    )


def _typing_extensions(tree: Path) -> Work:
    return Work(
        title="typing_extensions 4.15.0",
        tree=str(tree),
        file="src/typing_extensions.py",
        definition=r"def IntVar\(",
        old="def IntVar(name):\n    return typing.TypeVar(name)\n",
        new='def IntVar(name):\n    """A type variable; its bound is gone."""\n    return typing.TypeVar(name)\n',
        test_file="src/test_int_var.py",
        test=(
            "import unittest\n\nfrom typing_extensions import IntVar\n\n\n"
            "class IntVarTests(unittest.TestCase):\n"
            "    def test_has_its_name_and_says_what_it_is(self):\n"
            "        self.assertEqual(IntVar('T').__name__, 'T')\n"
            "        self.assertIn('type variable', IntVar.__doc__)\n"
        ),
        test_directory="src",
        least_tests=400,
    )


def _guest(tree: Path, sniffed_bytes: int) -> Work:
    source = Path(omniagents.__file__).parent / "guest"
    shutil.copytree(source, tree / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    return Work(
        title=f"Omniagents' own guest {omniagents.__version__}",
        tree=str(tree),
        file="guest/text.py",
        definition=r"^class Decoded\(",
        old="_SNIFFED_BYTES = 8192\n",
        new=f"_SNIFFED_BYTES = {sniffed_bytes}\n",
        test_file="test_text.py",
        test=(
            "import unittest\n\nfrom guest.text import is_binary\n\n\n"
            "class IsBinaryTests(unittest.TestCase):\n"
            "    def test_looks_so_far_and_no_further(self):\n"
            f"        self.assertTrue(is_binary(b'a' * {sniffed_bytes - 1} + b'\\0'))\n"
            f"        self.assertFalse(is_binary(b'a' * {sniffed_bytes} + b'\\0'))\n"
        ),
        test_directory=".",
        least_tests=1,
    )
