"""The kit itself: every broken plugin fails the test that is there for it, and no standard test can be left out."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from omniagents.testing import AgentContract, BackendContract, StateManagerContract, ToolContract

#: For each broken plugin the standard tests that it must fail; all must pass on the faithful one, and the last on all.
_MUST_FAIL: dict[str, dict[str, list[str]]] = {
    "backends": {
        "TestLosesExitCodes": ["test_an_exit_code_is_an_answer"],
        "TestLosesSignals": ["test_a_signal_is_an_answer"],
        "TestDropsErrors": ["test_output_and_errors_are_apart"],
        "TestTranslatesLineEnds": ["test_input_is_what_the_command_reads_and_then_end_of_file"],
        "TestHidesTimeouts": ["test_a_time_limit_is_a_result_with_the_output_until_then"],
        "TestHidesTruncation": ["test_of_more_output_than_the_limit_the_first_fifth_and_the_end_are_kept"],
        "TestSharesItsEnvironment": ["test_variables_of_this_process_are_not_in_the_environment"],
        "TestForgetsFiles": ["test_files_are_there_in_the_next_session"],
        "TestKeepsFilesForEver": ["test_without_a_state_manager_nothing_stays"],
        "TestShutsDownOnce": ["test_shutting_down_twice_changes_nothing"],
        "TestStartsAfresh": ["test_starting_twice_changes_nothing"],
        "TestDiscardsOnError": ["test_an_exception_in_a_with_statement_passes_and_the_workspace_is_saved"],
        "TestHidesFailedSaves": ["test_a_shutdown_that_cannot_save_keeps_the_environment_and_can_be_repeated"],
        "TestMixesProjects": ["test_projects_with_hostile_ids_never_meet", "test_the_project_id_is_kept_as_given"],
        "TestOwnsNothing": ["test_a_second_backend_of_a_running_project_is_refused_and_told_who_holds_it"],
        "TestClaimsToBeIsolated": [
            "test_files_of_this_machine_are_visible_only_where_the_backend_says_so",
            "test_processes_of_this_machine_are_visible_only_where_the_backend_says_so",
        ],
        "TestReadsEverywhere": ["test_a_way_up_and_out_is_refused", "test_a_link_that_leads_out_is_refused"],
        "TestWritesWhateverIsThere": [
            "test_a_write_that_expected_something_else_changes_nothing",
            "test_of_many_who_create_a_file_exactly_one_succeeds",
        ],
        "TestRemovesWhatLinksPointTo": ["test_a_link_is_removed_and_not_what_it_points_to"],
        "TestListsBackwards": ["test_a_directory_lists_its_own_entries_by_code_point"],
    },
    "state_managers": {
        "TestLosesModes": ["test_modes_are_equal", "test_a_tree_of_everything_is_equal_after_loading"],
        "TestLosesTimes": ["test_times_of_files_are_equal"],
        "TestLosesDirectories": ["test_empty_directories_are_kept"],
        "TestLosesLinks": ["test_links_are_kept_as_links"],
        "TestLosesHiddenFiles": ["test_hidden_and_ignored_files_are_kept"],
        "TestLosesOddNames": ["test_odd_names_are_equal"],
        "TestLosesBytes": ["test_bytes_are_equal"],
        "TestWritesThroughLinks": ["test_loading_never_writes_through_a_link"],
        "TestLeavesWhatIsTooMuch": ["test_loading_removes_what_the_snapshot_has_not"],
        "TestObeysGitIgnore": ["test_hidden_and_ignored_files_are_kept"],
        "TestMixesProjects": ["test_projects_with_hostile_ids_never_meet"],
        "TestTellsHistoryOldestFirst": ["test_history_is_newest_first_and_the_same_for_every_manager"],
        "TestTellsLocalTimes": ["test_times_are_utc_and_in_order"],
        "TestSavesWhatHasNotChanged": ["test_saving_with_nothing_changed_returns_the_latest_snapshot"],
        "TestRestoresSomething": ["test_an_unknown_snapshot_is_not_found_and_the_workspace_stays"],
        "TestForgetsNothing": ["test_a_deleted_project_is_as_if_never_saved"],
        "TestLosesAllByAFailedSave": ["test_a_save_that_fails_leaves_the_previous_snapshot"],
        "TestOverwritesOtherWriters": ["test_two_writers_do_not_lose_work_silently"],
        "TestForgetsWithItsProcess": ["test_a_host_killed_while_it_saves_again_and_again_loses_no_save_it_called_done"],
        "TestBelievesItsClock": ["test_a_clock_that_goes_backwards_does_not_disturb_the_order"],
        "TestHasNoLimits": ["test_a_workspace_over_the_limit_is_refused_and_one_without_a_limit_is_not"],
        "TestExportsNothing": ["test_an_export_is_a_tar_archive"],
    },
    "tools": {
        "TestAnswersNothing": ["test_a_command_that_prints_nothing_says_so"],
        "TestHidesExitCodes": ["test_a_failure_is_an_error_with_its_exit_code_below"],
        "TestInventsCodes": ["test_a_failure_is_an_error_with_its_exit_code_below"],
        "TestFailsQuietly": ["test_a_failure_is_an_error_with_its_exit_code_below"],
        "TestStripsText": ["test_a_small_text_is_shown_exactly"],
        "TestShowsSurrogates": ["test_odd_names_are_shown_on_one_line_each"],
        "TestEndsEveryFileWithANewline": ["test_a_new_file_has_exactly_the_given_bytes"],
        "TestReplacesAll": ["test_the_number_of_places_must_be_as_expected"],
        "TestSortsByName": ["test_recently_changed_files_come_first_newest_first_and_the_rest_by_path"],
        "TestSearchesIgnoredFiles": ["test_what_is_skipped_is_counted_named_and_can_be_included"],
        "TestRaisesRefusals": ["test_an_offset_past_the_end_is_told_with_the_total"],
        "TestTakesAnyArgument": ["test_an_unknown_argument_is_an_error_that_names_the_valid_ones"],
        "TestRunsAnywhere": ["test_a_path_outside_is_refused"],
    },
    "agents": {
        "TestCallsOnlyOnce": ["test_parallel_calls_are_each_answered"],
        "TestHidesRefusals": ["test_a_refusal_is_an_answer", "test_an_answer_that_the_provider_filtered"],
        "TestForgetsWhatWasDone": ["test_every_call_has_its_arguments_and_how_long_it_took"],
        "TestNeverTriesAgain": ["test_a_rate_limit_is_waited_for", "test_a_server_that_fails_once"],
        "TestGuessesArguments": ["test_arguments_that_are_not_json_in_a_stream"],
        "TestDoesNotListen": ["test_a_system_prompt_replaces_the_preset_s_instructions"],
        "TestCleansUp": ["test_a_second_run_continues_in_the_same_workspace"],
        "TestCannotBeStopped": ["test_cancelling_a_run_stops_its_tool_call"],
        "TestBlocksTheLoop": ["test_many_agents_at_once_do_not_block_each_other"],
    },
}
#: What even the broken ones can do: they fail for their defect, not because nothing works.
_ALL_PASS = {
    "backends": "test_a_string_runs_in_a_shell",
    "state_managers": "test_the_history_of_a_project_never_saved_is_empty",
    "tools": "test_the_store_is_a_sorted_indented_file_of_the_workspace",
    "agents": "test_an_ordinary_answer_is_no_refusal",
}


def _outcomes(report: Path) -> dict[tuple[str, str], set[str]]:
    """By class and test, without parameters: ``passed`` and ``failed``."""
    found: dict[tuple[str, str], set[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        key = case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0]
        found.setdefault(key, set()).add("failed" if len(case) else "passed")
    return found


def _run(kind: str, checkout: Path, report: Path) -> dict[tuple[str, str], set[str]]:
    """The outcomes of one kind of broken plugins, all in one process."""
    pairs = [(cls, test) for cls, tests in _MUST_FAIL[kind].items() for test in [*tests, _ALL_PASS[kind]]]
    pairs += [("TestFaithful", test) for _, test in pairs]
    pairs += [("TestFaithfulInAFixtureOfOneTest", _ALL_PASS[kind])] * (kind == "backends")
    arguments = [f"tests/conformance/broken/{kind}.py::{cls}::{test}" for cls, test in dict.fromkeys(pairs)]
    quiet = ["-q", "--tb=short", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={report}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI"))}
    command = [sys.executable, "-m", "pytest", *quiet, *arguments]
    run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=110)
    assert run.returncode == 1, run.stdout[-3000:] + run.stderr[-3000:]
    return _outcomes(report)


# One test a kind: with several, each worker of pytest-xdist would run all of the kind.
@pytest.mark.parametrize("kind", _MUST_FAIL)
def test_each_broken_plugin_fails_the_test_for_its_defect_and_only_for_it(
    kind: str, checkout: Path, tmp_path: Path
) -> None:
    outcomes = _run(kind, checkout, tmp_path / "report.xml")
    wanted = {(cls, test) for cls, tests in _MUST_FAIL[kind].items() for test in tests}
    undetected = sorted(pair for pair in wanted if "failed" not in outcomes[pair])
    unrelated = [cls for cls in _MUST_FAIL[kind] if outcomes[cls, _ALL_PASS[kind]] != {"passed"}]
    unfaithful = sorted(pair for pair in outcomes if pair[0].startswith("TestFaithful") and "failed" in outcomes[pair])
    assert (undetected, unrelated, unfaithful) == ([], [], [])


@pytest.mark.parametrize("kind", _MUST_FAIL)
def test_every_broken_plugin_is_run(kind: str, checkout: Path) -> None:
    source = (checkout / f"tests/conformance/broken/{kind}.py").read_text()
    classes = {line.removeprefix("class ").partition("(")[0] for line in source.splitlines() if "class Test" in line}
    assert classes - {"TestFaithful", "TestFaithfulInAFixtureOfOneTest"} == _MUST_FAIL[kind].keys()


@pytest.mark.parametrize("contract", [AgentContract, BackendContract, StateManagerContract, ToolContract])
@pytest.mark.parametrize("replacement", [None, lambda self: None, pytest.mark.skip(lambda self: None)])
def test_a_standard_test_cannot_be_replaced(contract: type, replacement: object) -> None:
    name = next(name for name in dir(contract) if name.startswith("test_"))
    with pytest.raises(TypeError) as raised:
        type("TestMine", (contract,), {name: replacement})
    assert str(raised.value).startswith(f"TestMine.{name} replaces a standard test of ")
    assert "keep it, or mark yours with @pytest.mark.xfail(reason=…) and call super()" in str(raised.value)


def test_a_standard_test_cannot_be_replaced_further_down_either() -> None:
    class Middle(BackendContract):
        """Everything is kept."""

    with pytest.raises(TypeError, match=r"Further\.test_a_string_runs_in_a_shell replaces a standard test"):
        type("Further", (Middle,), {"test_a_string_runs_in_a_shell": None})


def test_a_standard_test_that_is_expected_to_fail_needs_a_reason() -> None:
    with pytest.raises(TypeError):
        type("TestMine", (BackendContract,), {"test_a_string_runs_in_a_shell": pytest.mark.xfail(lambda self: None)})

    class TestMine(BackendContract):
        @pytest.mark.xfail(reason="this system has no shell")
        def test_a_string_runs_in_a_shell(self, workspace: Any) -> None:
            super().test_a_string_runs_in_a_shell(workspace)

    assert TestMine.test_a_string_runs_in_a_shell is not BackendContract.test_a_string_runs_in_a_shell


def test_a_subclass_may_add_tests() -> None:
    class TestMine(BackendContract):
        def test_something_of_its_own(self) -> None:
            """Nothing standard is touched."""

    assert issubclass(TestMine, BackendContract)


def test_the_contracts_have_no_test_of_one_name() -> None:
    both = type("TestBoth", (BackendContract, ToolContract), {})
    assert issubclass(both, ToolContract)


def test_without_pytest_the_error_says_what_to_install(checkout: Path) -> None:
    program = "import sys; sys.modules['pytest'] = None; import omniagents.testing"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stderr.splitlines()[-1] == (
        "ImportError: omniagents.testing is a set of pytest tests: install pytest (pip install pytest)"
    )


def test_nothing_of_the_package_imports_the_kit() -> None:
    program = (
        "import sys, omniagents; omniagents.available(); import omniagents.backends.local_backend; "
        "print('omniagents.testing' in sys.modules, 'pytest' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False False\n"


def test_an_assertion_of_the_kit_that_fails_shows_its_values() -> None:
    from omniagents.testing.tools.base import check
    from omniagents.tools.base import ToolResult

    with pytest.raises(AssertionError, match=r"where True = ToolResult\(content='x'"):
        check(ToolResult("x", is_error=True))
