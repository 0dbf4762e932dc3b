"""``BackendPythonExecutor``: the Python of a smolagents ``CodeAgent``, inside a backend and not on the host.

What comes out of the environment is read as JSON and nothing else; nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from smolagents.local_python_executor import CodeOutput, PythonExecutor

from omniagents.errors import BackendError

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.process import Process

__all__ = ["DEFAULT_TIMEOUT_SECONDS", "BackendPythonExecutor", "CodeError"]

#: For one step, the tools it calls included.
DEFAULT_TIMEOUT_SECONDS: Final = 600.0

# Longest line taken from the environment, bytes; the kernel's own are far below, a final answer may be large.
_MOST_LINE_BYTES = 16 << 20

# A module of the workspace must not stand in for one of the standard library's while the kernel imports them.
_START: Final = "import sys; sys.path[:] = [path for path in sys.path if path]; exec(sys.argv[1])"


_CANCELLED: Final = "The run was cancelled"


class CodeError(Exception):
    """The code of a step failed, or its Python ended; the message is what the model sees."""


class BackendPythonExecutor(PythonExecutor):  # type: ignore[misc]
    """Runs code in one Python process of the backend's environment; names last from step to step.

    Args:
        backend: Must be running when code is.
        timeout_seconds: Wall clock for one step. On expiry the process and all it has started are killed.
    """

    def __init__(self, backend: Backend, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        self._backend = backend
        self._timeout_seconds = timeout_seconds
        self._tools: dict[str, Any] = {}
        self._variables: dict[str, Any] = {}
        self._process: Process | None = None
        self._lines: Iterator[bytes] = iter(())

    def send_tools(self, tools: Mapping[str, Any]) -> None:
        """Make tools callable from code; the calls are made on the host, one at a time."""
        self._tools = {name: tool for name, tool in tools.items() if name != "final_answer"}
        if self._process is not None:
            self._send({"tools": [*self._tools]})

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables; JSON values only.

        Raises:
            TypeError: One of them is something else.
        """
        self._variables.update(json.loads(json.dumps(dict(variables))))
        if self._process is not None:
            self._send({"variables": self._variables})

    def __call__(self, code_action: str) -> CodeOutput:
        """Run one step.

        Raises:
            CodeError: The code failed, ran out of time or ended its Python; what it printed is in the message.
            BackendError: The environment is gone or was never there.
        """
        try:
            done = self._run(code_action)
        except BaseException:
            self.cleanup()  # a step that was left in the middle would answer the next one
            raise
        logs, error = _text(done["logs"]), done["error"]
        if error is not None:
            raise CodeError(f"Execution logs:\n{logs}\n{_text(error)}" if logs else _text(error))
        is_final = done["is_final"] is True
        output = done["answer"] if is_final or done["output"] is None else _text(done["output"])
        return CodeOutput(output=output, logs=logs, is_final_answer=is_final)

    def cleanup(self) -> None:
        """End the Python process, if there is one; the next step starts another, without the names of this one."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)

    def _run(self, code: str) -> dict[str, Any]:
        if self._process is None:
            self._start()
        with self._time_limit() as expired:
            self._send({"run": code})
            for line in self._lines:
                message = _message(line)
                if "done" in message:
                    done: dict[str, Any] = message["done"]
                    return done
                self._send(self._called(message))
            raise CodeError(self._how_it_ended(expired))

    def _start(self) -> None:
        source = (resources.files(__package__) / "kernel.py").read_text(encoding="utf-8")
        self._process = self._backend.workspace.start_process(["python3", "-c", _START, source])
        self._lines = _lines(self._process)
        self._send({"tools": [*self._tools], "variables": self._variables})

    def _send(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process is None:
            raise CodeError(_CANCELLED)
        process.write(json.dumps(message).encode() + b"\n")

    @contextlib.contextmanager
    def _time_limit(self) -> Iterator[threading.Event]:
        expired, process = threading.Event(), self._process

        def expire() -> None:
            expired.set()
            if process is not None:
                _kill(process)

        timer = threading.Timer(self._timeout_seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()

    def _called(self, message: Mapping[str, Any]) -> dict[str, Any]:
        tool = self._tools.get(str(message["call"]))
        if tool is None:
            return {"error": f"there is no tool {message['call']!r}"}
        try:
            result = tool(*message["args"], **message["kwargs"])
        except BackendError:
            raise
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"result": result if _is_json(result) else str(result)}

    def _how_it_ended(self, expired: threading.Event) -> str:
        process, self._process = self._process, None
        if expired.is_set():
            why = f"The code was stopped after {self._timeout_seconds:g} s"
        elif process is None:
            why = _CANCELLED
        else:
            why = f"Python ended while the code ran (exit code {process.wait().exit_code})"
        return f"{why}. Its variables are lost; the next code starts in a new Python."


def _kill(process: Process) -> None:
    with contextlib.suppress(BackendError):  # its environment is gone, and so is it
        process.kill()


def _lines(process: Process) -> Iterator[bytes]:
    """Whole lines of what the kernel writes; ends with the process, or when a line is longer than is sane."""
    rest = b""
    for stream, data in process.output():
        if stream != "stdout":
            continue
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
        if len(rest) > _MOST_LINE_BYTES:
            process.kill()
            return


def _message(line: bytes) -> dict[str, Any]:
    """A line from the environment, which may hold anything.

    Raises:
        CodeError: It is not what the kernel says.
    """
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (RecursionError, ValueError):
        message = None
    if isinstance(message, dict):
        done, args, kwargs = message.get("done"), message.get("args"), message.get("kwargs")
        if isinstance(done, dict) and done.keys() >= {"logs", "output", "error", "is_final", "answer"}:
            return message
        if "call" in message and isinstance(args, list) and isinstance(kwargs, dict):
            return message
    raise CodeError(f"Python's answer cannot be read: {line[:200]!r}")


def _text(value: object) -> str:
    """Text that can be sent on: a surrogate could not."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _is_json(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
