"""The Python of a ``CodeAgent``, in a real environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendError, BackendNotStartedError
from omniagents_smolagents.executor import BackendPythonExecutor, CodeError


@pytest.fixture
def python(backend: Backend) -> Iterator[BackendPythonExecutor]:
    executor = BackendPythonExecutor(backend)
    yield executor
    executor.cleanup()


def failure(python: BackendPythonExecutor, code: str) -> str:
    with pytest.raises(CodeError) as raised:
        python(code)
    return str(raised.value)


def test_what_is_printed_and_the_last_value(python: BackendPythonExecutor) -> None:
    output = python("x = 20\nprint('x is', x)\nx + 1")
    assert (output.output, output.logs, output.is_final_answer) == ("21", "x is 20\n", False)


def test_names_last_from_step_to_step(python: BackendPythonExecutor) -> None:
    python("import math\ndef area(r):\n    return round(math.pi * r * r)")
    assert python("area(2)").output == "13"


def test_code_runs_in_the_workspace(python: BackendPythonExecutor, backend: Backend) -> None:
    backend.workspace.write_bytes("helper.py", b"VALUE = 7\n")
    assert python("import helper, os\n(helper.VALUE, os.getcwd())").output == repr((7, backend.workspace.root))


def test_nothing_of_this_process_is_there(python: BackendPythonExecutor) -> None:
    code = "import os, sys\n(os.getpid(), 'smolagents' in sys.modules, 'omniagents' in sys.modules)"
    pid, *imported = python(code).output.strip("()").split(", ")
    assert int(pid) != os.getpid()
    assert imported == ["False", "False"]


def test_a_module_of_the_workspace_does_not_stand_in_for_the_standard_library(backend: Backend) -> None:
    backend.workspace.write_bytes("json.py", b"raise SystemExit('not the real one')\n")
    assert BackendPythonExecutor(backend)("1 + 1").output == "2"


def test_a_traceback_shows_the_code(python: BackendPythonExecutor) -> None:
    told = failure(python, "print('before')\n\ndef half(n):\n    return n / 0\n\nhalf(3)")
    assert told.startswith('Execution logs:\nbefore\n\nTraceback (most recent call last):\n  File "<step 1>", line 6')
    assert "    return n / 0\n" in told
    assert told.endswith("ZeroDivisionError: division by zero")


def test_a_syntax_error_is_told(python: BackendPythonExecutor) -> None:
    assert "SyntaxError: '(' was never closed" in failure(python, "f(")


@pytest.mark.parametrize("code", ["exit(3)", "raise KeyboardInterrupt", "import sys; sys.exit()"])
def test_code_that_wants_to_leave_stays(python: BackendPythonExecutor, code: str) -> None:
    python("x = 1")
    assert failure(python, code).startswith("Traceback")
    assert python("x").output == "1"


def test_a_final_answer_is_json(python: BackendPythonExecutor) -> None:
    output = python("final_answer({'n': [1, 2.5, None, 'é'], 'pair': (1, 2)})\nprint('not reached')")
    assert output.output == {"n": [1, 2.5, None, "é"], "pair": [1, 2]}
    assert (output.logs, output.is_final_answer) == ("", True)


def test_a_final_answer_that_is_not_json_is_its_text(python: BackendPythonExecutor) -> None:
    assert python("from pathlib import Path\nfinal_answer(Path('a') / 'b')").output == "a/b"


@pytest.mark.parametrize("guard", ["Exception", "BaseException"])
def test_a_final_answer_survives_an_except(python: BackendPythonExecutor, guard: str) -> None:
    code = f"try:\n    final_answer('yes')\nexcept {guard}:\n    pass"
    assert (python(code).output, python("1").is_final_answer) == ("yes", False)


def test_markers_of_smolagents_serializer_are_plain_data(python: BackendPythonExecutor) -> None:
    """What its own executors would turn into an image or an array by whatever library decodes it."""
    answer = {"__type__": "PIL.Image", "data": "AAAA"}
    assert python(f"final_answer({answer!r})").output == answer


def test_tools_are_called_on_the_host(python: BackendPythonExecutor) -> None:
    caller: list[Any] = []

    def look(*args: Any, **kwargs: Any) -> str:
        caller.append((os.getpid(), args, kwargs))
        return "seen"

    python.send_tools({"look": look, "final_answer": look})
    assert python("look('a', deep=[1])").output == "seen"
    assert caller == [(os.getpid(), ("a",), {"deep": [1]})]


def test_tools_that_fail_are_exceptions_in_the_code(python: BackendPythonExecutor) -> None:
    def fail() -> str:
        raise ValueError("no")

    python.send_tools({"fail": fail})
    assert failure(python, "fail()").endswith("ToolError: ValueError: no")
    assert failure(python, "fail(object())").endswith("is not JSON serializable")


def test_tools_can_be_called_from_threads_of_the_code(python: BackendPythonExecutor) -> None:
    python.send_tools({"double": lambda n: 2 * n})
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n    done = list(pool.map(double, range(50)))\ndone"
    )
    assert python(code).output == str(list(range(0, 100, 2)))


def test_variables_are_json(python: BackendPythonExecutor) -> None:
    python.send_variables({"given": {"a": [1]}})
    assert python("given['a']").output == "[1]"
    with pytest.raises(TypeError):
        python.send_variables({"given": object()})


def test_output_of_children_is_kept_and_input_is_empty(python: BackendPythonExecutor) -> None:
    code = "import subprocess, sys\nsubprocess.run('cat; echo child; echo wrong >&2', shell=True)\nsys.stdin.read()"
    output = python(code)
    assert (output.logs, output.output) == ("child\nwrong\n", "")


def test_endless_output_is_cut_in_the_middle(python: BackendPythonExecutor) -> None:
    logs = python("for n in range(500_000):\n    print('line', n)").logs
    assert len(logs) < 51_000
    assert logs.startswith("line 0\nline 1\n")
    assert logs.endswith("line 499999\n")
    assert "bytes left out]" in logs


def test_code_that_closes_its_output_has_it_again_in_the_next_step(python: BackendPythonExecutor) -> None:
    python("import os, sys\nsys.stdout.close()\nos.close(1)\nsys.stderr = None")
    assert python("print('here')").logs == "here\n"


def test_text_that_is_no_unicode_can_be_sent_on(python: BackendPythonExecutor) -> None:
    output = python("print('\\udc80')\n'\\udc80'")
    assert (output.logs, output.output) == ("\\udc80\n", "\\udc80")


def test_python_that_ends_is_told_and_a_new_one_started(python: BackendPythonExecutor) -> None:
    told = failure(python, "x = 1\nimport os\nos._exit(3)")
    assert told == (
        "Python ended while the code ran (exit code 3). Its variables are lost; the next code starts in a new Python."
    )
    assert failure(python, "x").endswith("NameError: name 'x' is not defined")


def test_code_that_takes_too_long_is_killed(backend: Backend) -> None:
    python = BackendPythonExecutor(backend, timeout_seconds=3)
    told = failure(python, "import time\nwhile True:\n    time.sleep(1)")
    assert told.startswith("The code was stopped after 3 s.")
    assert python("2").output == "2"


@pytest.mark.parametrize(
    "answer",
    [
        "garbage",
        "[" * 100_000,
        '{"done": 1}',
        '{"done": {"logs": ""}}',
        '{"call": "look", "args": 1, "kwargs": {}}',
        "x" * (17 << 20),
    ],
    ids=["no JSON", "deep", "no object", "incomplete", "no arguments", "endless line"],
)
def test_answers_that_the_kernel_would_not_give(python: BackendPythonExecutor, answer: str) -> None:
    """The code owns its process, and may write what it likes where the kernel's answers go."""
    code = f"import gc\n[o for o in gc.get_objects() if type(o).__name__ == 'Kernel'][0]._send({answer!r})"
    if len(answer) > 1 << 20:
        code = "import gc\n[o for o in gc.get_objects() if type(o).__name__ == 'Kernel'][0]._send('x' * (17 << 20))"
    assert failure(python, code)
    assert python("3").output == "3"


def test_a_call_of_a_tool_that_does_not_exist(python: BackendPythonExecutor) -> None:
    code = "import gc\n[o for o in gc.get_objects() if type(o).__name__ == 'Kernel'][0]._tool('other')()"
    assert failure(python, code).endswith("ToolError: there is no tool 'other'")


def test_cleaning_up_stops_code_that_runs(python: BackendPythonExecutor, backend: Backend) -> None:
    seen = threading.Event()
    python.send_tools({"begun": lambda: seen.set()})
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(failure(python, "begun()\nwhile True: pass")))
    thread.start()
    assert seen.wait(30)
    python.cleanup()
    thread.join(30)
    assert told == ["The run was cancelled. Its variables are lost; the next code starts in a new Python."]


def test_a_backend_that_is_not_running_is_said() -> None:
    with pytest.raises(BackendNotStartedError):
        BackendPythonExecutor(LocalBackend(project_id="idle"))("1")


def test_an_environment_that_is_gone_is_an_exception(python: BackendPythonExecutor, backend: Backend) -> None:
    python("1")
    backend.shutdown()
    with pytest.raises(BackendError):
        python("1")
