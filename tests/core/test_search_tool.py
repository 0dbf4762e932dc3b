"""``search_file_content`` through its tool, and against a plain Python walk over decoded lines."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagents.guest import search_files, search_workers
from omniagents.guest.context import Call, CallCancelled, Context
from omniagents.guest.failure import GuestFailure
from omniagents.guest.root import Root
from omniagents.guest.search import grep
from omniagents.guest.search_lines import compile_query, read_text
from omniagents.tools.search_file_content_tool import SearchFileContentTool


@pytest.fixture
def make(workspace_root):
    """Create files with the given contents."""

    def create(**contents: bytes) -> None:
        for name, content in contents.items():
            target = workspace_root / name.replace("__", "/").replace("_py", ".py")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    return create


def search(backend, pattern: str, **arguments):
    return SearchFileContentTool(backend).execute(pattern=pattern, **arguments)


def found(root: Path, pattern: str, **arguments) -> list[tuple[str, int, str]]:
    """Every match the operation finds, after a trip through JSON."""
    value, _ = grep(Context(Root(str(root))), {"pattern": pattern, "max_matches": 10**6, "context": 0, **arguments})
    files = json.loads(json.dumps(value))["files"]
    return [(file["path"], line[0], line[2]) for file in files for line in file["lines"] if line[1]]


def plain(contents: dict[str, bytes], pattern: str, case_sensitive: bool) -> list[tuple[str, int, str]]:
    """What counts as a match, by definition."""
    expression = re.compile(pattern, 0 if case_sensitive else re.IGNORECASE)
    matches = []
    for path in sorted(contents):
        lines = contents[path].decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        if not lines[-1]:
            lines.pop()
        matches += [(path, number, line) for number, line in enumerate(lines, 1) if expression.search(line)]
    return matches


def test_matches_are_grouped_by_file_and_sorted_by_path(backend, make):
    make(b_py=b"x = 1\nneedle\n", a__c_py=b"needle one\n\nNEEDLE two\n")
    assert search(backend, "needle").content == (
        "Found 3 matches for 'needle' in 2 files:\na/c.py\nL1: needle one\nL3: NEEDLE two\n\nb.py\nL2: needle"
    )


def test_context_windows_are_merged(backend, make):
    make(a=b"".join(b"line %d\n" % number for number in range(1, 21)))
    assert search(backend, "line (5|8|15)$", context=1).content == (
        "Found 3 matches for 'line (5|8|15)$' in 1 file:\na\nL4- line 4\nL5: line 5\nL6- line 6\nL7- line 7\n"
        "L8: line 8\nL9- line 9\n--\nL14- line 14\nL15: line 15\nL16- line 16"
    )


def test_a_single_match_gets_wide_context_by_itself(backend, make):
    make(a=b"".join(b"line %d\n" % number for number in range(1, 101)), b=b"nothing\n")
    lines = search(backend, "line 50").content.splitlines()
    assert (lines[2], lines[22], lines[-1], len(lines)) == ("L30- line 30", "L50: line 50", "L70- line 70", 43)
    assert search(backend, "line 50", context=0).content.splitlines()[1:] == ["a", "L50: line 50"]


def test_names_only_lists_paths(backend, make):
    make(a=b"x\nx\n", b=b"y\n", c=b"x\n")
    assert search(backend, "x", names_only=True).content == "Found 2 files with matches for 'x':\na\nc"


def test_stops_at_the_limit_and_says_that_there_are_more(backend, make):
    make(a=b"x\n" * 3, b=b"x\n" * 3)
    assert search(backend, "x", max_matches=4).content == (
        "Found 4 matches for 'x' in 2 files, and there are more:\na\nL1: x\nL2: x\nL3: x\n\nb\nL1: x\n"
        "Stopped after 4 matches. Narrow path or include, or raise max_matches, to see more."
    )
    assert "more" not in search(backend, "x", max_matches=6).content


def test_of_more_matches_in_one_file_than_the_limit_it_says_which_limit_it_was(backend, make):
    make(a=b"x\n" * 3)
    assert search(backend, "x", max_matches=2).content == (
        "Found 2 matches for 'x' in 1 file, and there are more:\na\nL1: x\nL2: x\n"
        "Stopped after 2 matches. Narrow path or include, or raise max_matches, to see more."
    )


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        (b"w" * 1900, {"max_matches": 5000}),
        ("ü".encode() * 1900, {"max_matches": 5000}),
        (b"w" * 1900, {"context": 50}),
        (b"www", {"max_matches": 5000, "context": 50}),
    ],
    ids=["long lines", "no ASCII", "context", "short lines"],
)
def test_more_than_can_be_shown_is_cut_and_never_an_error(backend, make, line, arguments):
    make(a=(line + b"\n") * 6000)
    result = search(backend, "[wü]", **arguments)
    *lines, showing, stopped = result.content.splitlines()
    assert not result.is_error
    assert 40_000 < len("\n".join(lines)) <= 50_100
    assert re.fullmatch(r"\[Showing [\d,]+ of [\d,]+ lines of results\. To see the others, .*\]", showing)
    assert re.fullmatch(
        r"Stopped after [\d,]+ matches\. Narrow path or include(, or raise max_matches,)? to see more\.", stopped
    )


def test_more_names_than_can_be_shown_are_cut_and_never_an_error(backend, workspace_root):
    for number in range(1200):
        (workspace_root / f"{number:04}{'d' * 200}").write_bytes(b"x\n")
    result = search(backend, "x", names_only=True, max_matches=5000)
    *names, showing, stopped = result.content.splitlines()
    assert 40_000 < len("\n".join(names)) <= 50_100
    assert showing == (
        f"[Showing {len(names) - 1:,} of {len(result.data['files']):,} lines of results. "
        "To see the others, call again with a narrower path or include.]"
    )
    assert stopped == f"Stopped after {len(result.data['files']):,} files. Narrow path or include to see more."


def test_matches_of_one_file_can_be_limited(backend, make):
    make(a=b"x\n" * 3, b=b"x\n")
    assert search(backend, "x", max_matches_per_file=2).content == (
        "Found 3 matches for 'x' in 2 files:\na\nL1: x\nL2: x\n"
        "… more matches in this file: raise max_matches_per_file to see them.\n\nb\nL1: x"
    )


def test_a_limited_result_is_the_same_with_any_number_of_workers(workspace_root):
    for number in range(300):
        (workspace_root / f"f{number:03}").write_bytes(b"a x\nb\nc x\n" * (number % 4))
    arguments = {"pattern": "x", "max_matches": 57, "context": 1}
    values = [grep(Context(Root(str(workspace_root))), {**arguments, "workers": count})[0] for count in (1, 2, 5)]
    assert values[0]["matches"] == 57
    assert values[0] == values[1] == values[2]


def test_what_is_skipped_is_counted_named_and_can_be_included(backend, make, workspace_root):
    make(a=b"x\n", b_log=b"x\n", node_modules__c=b"x\n", d=b"x\0\n", dot_omniagents__logs__e=b"x\n")
    (workspace_root / "dot_omniagents").rename(workspace_root / ".omniagents")
    (workspace_root / ".gitignore").write_text("*_log\n")
    (workspace_root / "link").symlink_to("a")
    assert search(backend, "^x$", context=0).content == (
        "Found 1 match for '^x$' in 1 file:\na\nL1: x\n"
        "Skipped: 1 binary (d); 2 ignored (b_log, node_modules/); 1 symbolic links (link). "
        "Set no_ignore=true to search ignored files."
    )
    paths = [file["path"] for file in search(backend, "^x$", no_ignore=True).data["files"]]
    assert paths == ["a", "b_log", "node_modules/c"]


def test_unreadable_files_are_counted(backend, make, monkeypatch):
    def refuse(absolute):
        raise PermissionError(13, "Permission denied", absolute)

    make(a=b"x\n")
    monkeypatch.setattr(search_files, "read_content", refuse)
    assert search(backend, "x").content.splitlines()[-1] == "Skipped: 1 unreadable (a)."


def test_include_takes_names_and_paths(backend, make):
    make(a_py=b"x\n", s__b_py=b"x\n", s__t__c_py=b"x\n", s__d=b"x\n")

    def paths(**arguments):
        return [file["path"] for file in search(backend, "x", **arguments).data["files"]]

    assert paths(include="*.py") == ["a.py", "s/b.py", "s/t/c.py"]
    assert paths(glob="s/**/*.py") == ["s/b.py", "s/t/c.py"]
    assert paths(include="t/*.py", path="s") == ["s/t/c.py"]
    assert paths(include="{a,b}.py") == ["a.py", "s/b.py"]


def test_one_file_can_be_searched_even_if_it_is_ignored(backend, make, workspace_root):
    make(a=b"x\n", b=b"x\n")
    (workspace_root / ".gitignore").write_text("a\n")
    assert search(backend, "x", path="a").content == "Found 1 match for 'x' in a in 1 file:\na\nL1: x"


def test_nothing_found_says_what_was_searched(backend, make):
    make(a_py=b"x\n", b=b"x\n")
    assert search(backend, "zzz").content == "No matches for 'zzz': searched 2 files, ignoring case."
    assert search(backend, "zzz", include="*.py", case_sensitive=True).content == (
        "No matches for 'zzz': searched 1 file matching '*.py', with case told apart.\n"
        "Without case_sensitive, upper and lower case match each other."
    )
    assert search(backend, "zzz", include="*.c").content.splitlines()[1] == "No file is included by '*.c'."


def test_nothing_found_but_as_plain_text_says_so(backend, make):
    make(a=b"call(x)[0]\n")
    assert search(backend, "call(x)[0]").content.splitlines()[1] == (
        "The pattern taken as plain text occurs in a: call again with fixed_strings=true, "
        "or escape its special characters."
    )
    assert search(backend, "call(x)[0]", fixed_strings=True, context=0).data["matches"] == 1


def test_a_pattern_with_a_line_feed_is_explained(backend, make):
    make(a=b"a\nb\n")
    assert search(backend, "a\\nb").content.splitlines()[1] == (
        "Matching goes line by line: a pattern with a line feed never matches."
    )


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("foo[", "unterminated character set at position 3"),
        ("(", "missing ), unterminated subpattern at position 0"),
        ("a**", "multiple repeat at position 2"),
        ("(" * 5000, "too many nested groups"),
    ],
)
def test_an_invalid_pattern_is_refused_with_its_position(backend, pattern, reason):
    result = search(backend, pattern)
    assert result.error_type == "INVALID_REGEX"
    assert f"'{pattern[:200]}': {reason}. Patterns are Python regular expressions; " in result.content
    assert "set fixed_strings to true" in result.content


@pytest.mark.parametrize("pattern", ["a(?i)b", "a++", "a?+", "(b|a{2}+)", "(?>a+)b"])
def test_what_only_some_pythons_have_is_refused_on_every_python(backend, pattern):
    assert search(backend, pattern).error_type == "INVALID_REGEX"


def test_long_lines_are_cut_around_the_match(backend, make):
    make(a=b"a" * 30_000 + b"needle" + b"b" * 30_000 + b"\n")
    line = search(backend, "needle", context=0).content.splitlines()[2]
    assert line == (
        "L1: " + "a" * 997 + "needle" + "b" * 997
        + " [characters 29,004 to 31,003 of 60,006; read_file shows the line]"
    )  # fmt: skip


def test_results_over_the_cap_are_cut_on_line_boundaries(backend, make):
    make(a=b"".join(b"needle %04d %s\n" % (number, b"x" * 90) for number in range(1000)))
    content = search(backend, "needle", max_matches=1000).content
    lines = content.splitlines()
    assert lines[-1] == (
        "[Showing 460 of 1,001 lines of results. To see the others, call again with a narrower path or include, "
        "with max_matches_per_file, or with names_only=true.]"
    )
    assert len("\n".join(lines[1:-1])) <= 50_000


def test_crlf_marks_and_other_encodings(workspace_root):
    text = "foo \u00e9\r\nbar\r\n"
    for name in ("utf-8-sig", "utf-16", "utf-32"):
        (workspace_root / name).write_bytes(text.encode(name))
    (workspace_root / "utf-8").write_bytes(text.encode())
    (workspace_root / "latin").write_bytes(b"foo \xe9\r\n")
    assert found(workspace_root, "^foo .$") == [
        ("latin", 1, "foo \ufffd"),
        *((name, 1, "foo \u00e9") for name in ("utf-16", "utf-32", "utf-8", "utf-8-sig")),
    ]
    assert found(workspace_root, "bar$") == [(name, 2, "bar") for name in ("utf-16", "utf-32", "utf-8", "utf-8-sig")]


def test_odd_names_are_searched(workspace_root):
    names = [b"-a", b"a\nb", b"a:12:b.py", b"\xff"]
    for name in names:
        (workspace_root / os.fsdecode(name)).write_bytes(b"needle\n")
    assert [os.fsencode(path) for path, _, _ in found(workspace_root, "needle")] == names


@pytest.mark.parametrize("letters", ["\u0130", "\u0131", "\u212a", "\u017f", "K", "i", "S"])
@pytest.mark.parametrize("pattern", ["ki", "is", "kk|ss", "s(?:i)k", "skin"])
def test_case_folding_beyond_ascii_is_not_lost_by_looking_for_literals_first(letters, pattern):
    text = "".join(f"s{letters}k\nsk{letters}n\n{letters}{letters}\n{letters}i\nk{letters}\ni{letters}\n")
    query = compile_query(pattern, fixed_strings=False, case_sensitive=False)
    expected = [line for line in text.split("\n") if re.search(pattern, line, re.IGNORECASE)]
    assert bool(expected) <= query.may_match(text.encode())
    assert [text[start:stop] for start, stop, _, _ in query.spans(text)] == expected


ATOMS = st.sampled_from(
    ["a", "b", "ab", "Ab", "foo", "é", "K", "i", "s", r"\d", r"\w", r"\s", r"\S", r"\W", r"\D", ".", "[ab]", "[^a]",
     "[^\\s]", r"\b", r"\B", "^", "$", r"\A", r"\Z", r"\t", " ", "\\.", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "[a-z0]",
     "\ufffd", r"[\Wa]", r"(?i:B)", r"(?s:.)", r"\n"]
)  # fmt: skip
QUANTIFIERS = st.sampled_from(["", "", "", "", "*", "+", "?", "{2}", "*?", "+?", "{0,2}"])
SIMPLE = st.lists(
    st.tuples(ATOMS, QUANTIFIERS).map(lambda parts: f"(?:{parts[0]}){parts[1]}" if parts[1] else parts[0]),
    min_size=1, max_size=4,
).map("".join)  # fmt: skip
EXPRESSIONS = st.one_of(
    SIMPLE,
    st.tuples(SIMPLE, SIMPLE).map("|".join),
    st.tuples(SIMPLE, SIMPLE, SIMPLE, QUANTIFIERS).map(lambda parts: "{}(?:{}|{}){}".format(*parts)),
    st.tuples(SIMPLE, SIMPLE).map(lambda parts: f"({parts[0]}){parts[1]}\\1"),
    st.tuples(st.sampled_from(["(?s)", "(?m)", "(?x)", "(?a)", "(?i)"]), SIMPLE).map("".join),
)
TEXTS = st.lists(
    st.sampled_from(["a", "b", "ab", "A", "B", "foo", "é", "É", "\u212a", "\u017f", "İ", "0", " ", "\t", "\n", "\n",
                     "\r\n", "\r", ".", "_", "\x0b", "\u2028", "\ud800", "\udcff"]),
    max_size=25,
).map(lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass"))  # fmt: skip


@settings(
    max_examples=int(os.environ.get("OMNIAGENTS_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(EXPRESSIONS, TEXTS, st.booleans())
def test_lines_found_are_those_a_plain_loop_finds(pattern, content, case_sensitive):
    expected = plain({"f": content}, pattern, case_sensitive)
    query = compile_query(pattern, fixed_strings=False, case_sensitive=case_sensitive)
    text = read_text(content)
    spans = list(query.spans(text))
    assert [("f", text.count("\n", 0, start) + 1, text[start:stop]) for start, stop, _, _ in spans] == expected
    assert bool(expected) <= query.may_match(content)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS, st.lists(TEXTS, min_size=1, max_size=8), st.booleans(), st.sampled_from([None, 2]))
def test_a_search_of_a_tree_finds_what_a_plain_walk_finds(pattern, texts, case_sensitive, workers):
    contents = {f"{'d/' * (index % 3)}f{index}": content for index, content in enumerate(texts)}
    with tempfile.TemporaryDirectory() as directory:
        for path, content in contents.items():
            target = Path(directory) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        matches = found(Path(directory), pattern, case_sensitive=case_sensitive, workers=workers)
        assert matches == plain(contents, pattern, case_sensitive)


def test_a_pattern_that_backtracks_without_end_is_stopped(workspace_root, backend):
    (workspace_root / "long").write_bytes(b"a" * 5000 + b"b\n")
    arguments = {"pattern": "(a+)+$", "file_seconds": 0.2, "total_seconds": 10}
    with pytest.raises(GuestFailure) as caught:
        grep(Context(Root(str(workspace_root))), arguments)
    assert (caught.value.code, caught.value.details) == (
        "SEARCH_TIMEOUT",
        {"unfinished": {"count": 1, "names": ["long"]}},
    )
    assert caught.value.message.startswith(
        "the search for '(a+)+$' took too long and found nothing: 1 file(s) could not be finished (long)."
    )


def test_what_was_found_beside_a_file_that_takes_too_long_is_kept(workspace_root):
    (workspace_root / "a").write_bytes(b"aaa\n")
    (workspace_root / "long").write_bytes(b"a" * 5000 + b"b\n")
    (workspace_root / "z").write_bytes(b"aaa\n")
    value, _ = grep(Context(Root(str(workspace_root))), {"pattern": "(a+)+$", "file_seconds": 0.2})
    assert [file["path"] for file in value["files"]] == ["a", "z"]
    assert value["unfinished"] == {"count": 1, "names": ["long"]}


def test_the_total_time_is_bounded(workspace_root):
    for number in range(40):
        (workspace_root / f"long{number:02}").write_bytes(b"a" * 5000 + b"b\n")
    # A file alone may take longer than the suite's limit for one test.
    with pytest.raises(GuestFailure, match="took too long"):
        grep(Context(Root(str(workspace_root))), {"pattern": "(a+)+$", "file_seconds": 600, "total_seconds": 0.5})


def refuse_to_fork() -> int:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_without_processes_plain_text_is_searched_all_the_same(backend, make, monkeypatch):
    make(a=b"needle\n", b=b"x\n" * 1_500_000)
    monkeypatch.setattr(search_workers.os, "fork", refuse_to_fork)
    assert search(backend, "needle", context=0).content == "Found 1 match for 'needle' in 1 file:\na\nL1: needle"
    assert search(backend, "need\\w+", context=0).data["matches"] == 1


def test_without_processes_a_pattern_that_might_run_away_is_refused(backend, make, monkeypatch):
    make(a=b"needle\n")
    monkeypatch.setattr(search_workers.os, "fork", refuse_to_fork)
    result = search(backend, "(e+)+x")
    assert (result.error_type, result.content) == (
        "COMMAND_FAILED",
        "no process for the search can be started: the environment's process limit is reached. "
        "End background processes, or search for plain text with fixed_strings set to true.",
    )


def test_a_worker_that_is_killed_costs_only_its_files(workspace_root, monkeypatch):
    for number in range(200):
        (workspace_root / f"f{number:03}").write_bytes(b"needle\n")
    (workspace_root / "f003").write_bytes(b"die\n")
    original = search_workers.Searcher.chunk

    def deadly(self, paths, timed):
        return os._exit(9) if "f003" in paths else original(self, paths, timed)

    monkeypatch.setattr(search_workers.Searcher, "chunk", deadly)
    value, _ = grep(Context(Root(str(workspace_root))), {"pattern": "needle", "max_matches": 1000, "workers": 2})
    assert value["unfinished"]["count"] + value["matches"] == 200
    assert value["unfinished"]["names"][0] == "f000"


def test_a_defect_in_a_worker_is_not_taken_for_an_empty_result(workspace_root, monkeypatch):
    (workspace_root / "a").write_bytes(b"x\n")
    monkeypatch.setattr(search_workers.Searcher, "chunk", lambda self, paths, timed: 1 // 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        grep(Context(Root(str(workspace_root))), {"pattern": "x", "workers": 1})


def test_a_small_search_starts_no_process(backend, make, monkeypatch):
    make(a=b"needle\n", b=b"x\n")
    monkeypatch.setattr(search_workers.os, "fork", lambda: pytest.fail("forked"))
    assert search(backend, "need\\w+", context=0).content == "Found 1 match for 'need\\w+' in 1 file:\na\nL1: needle"


def test_a_small_search_with_a_long_line_is_left_to_workers(backend, make):
    make(a=b"x" * 20_000 + b"needle\n")
    assert search(backend, "need\\w+", names_only=True).data["matches"] == 1


def test_a_cancelled_search_stops(workspace_root):
    (workspace_root / "long").write_bytes(b"a" * 5000 + b"b\n")
    call = Call()
    call.cancelled.set()
    with pytest.raises(CallCancelled):
        grep(Context(Root(str(workspace_root)), call), {"pattern": "(a+)+$"})


def test_no_process_is_left_behind(workspace_root):
    (workspace_root / "a").write_bytes(b"x\n" * 1000)
    grep(Context(Root(str(workspace_root))), {"pattern": "x", "workers": 2})
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_files_over_the_limit_are_counted(backend, make, workspace_root):
    make(a=b"x\n")
    with (workspace_root / "huge").open("wb") as file:
        file.truncate((50 << 20) + 1)
    assert search(backend, "x", context=0).content.splitlines()[-1] == (
        "Skipped: 1 larger than 50 MiB (huge). Search very large files with grep through run_shell_command."
    )


def test_a_fifo_is_passed_over(backend, make, workspace_root):
    make(a=b"x\n")
    os.mkfifo(workspace_root / "fifo")
    assert search(backend, "x", context=0).content.splitlines()[-1] == "Skipped: 1 special files (fifo)."
    assert search(backend, "x", path="fifo").error_type == "NOT_A_REGULAR_FILE"


def test_a_file_that_nobody_may_read_is_not_searched_for_root_either(backend, workspace_root):
    (workspace_root / "open").write_text("needle\n")
    (workspace_root / "closed").write_text("needle\n")
    (workspace_root / "closed").chmod(0)
    result = SearchFileContentTool(backend=backend).execute(pattern="needle")
    assert result.data["matches"] == 1
    assert result.data["skipped"]["unreadable"]["names"] == ["closed"]
