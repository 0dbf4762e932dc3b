"""The Python that a ``CodeAgent``'s code runs in: a program for the environment, sent there as source.

Standard library only, Python 3.8 or newer. Requests come as lines of JSON on standard input, answers go to standard
output; the code that is run sees neither: its input is empty and its output, that of its children too, is captured.

    -> {"run": code} | {"tools": [name]} | {"variables": {name: value}} | {"result": value} or {"error": text} of a call
    <- {"call": name, "args": [], "kwargs": {}} | {"done": {"logs", "output", "error", "is_final", "answer"}}
"""

from __future__ import annotations

import ast
import io
import json
import linecache
import os
import sys
import threading
import traceback
import types
from typing import Any, Callable

# Shown of one step's output, and of its value, at most; what is printed is counted in bytes.
SHOWN = 50000
HEAD = SHOWN // 5


class FinalAnswer(BaseException):
    """Ends a step from within; not an ``Exception``, which code might catch."""


class ToolError(Exception):
    """A tool could not be called; the message is for the model."""


class Output:
    """What is written to the descriptors 1 and 2, by this process and its children; bounded, however much comes."""

    def __init__(self) -> None:
        self._end, self._into = os.pipe()
        self._kept, self._left_out = bytearray(), 0
        self._marker = b""
        self._changed = threading.Condition()
        threading.Thread(target=self._drain, daemon=True).start()

    def begin(self) -> None:
        """Open both streams anew: the last step may have closed or replaced them."""
        for descriptor in (1, 2):
            os.dup2(self._into, descriptor)
        sys.stdout, sys.stderr = _writer(1), _writer(2)

    def end(self) -> str:
        """What came since ``begin``, as text."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass  # the code closed it, or put something else there
        with self._changed:
            # What is found in front of it in the pipe was written before.
            self._marker = os.urandom(16)
            os.write(self._into, self._marker)
            self._changed.wait_for(lambda: not self._marker)
            kept, left_out = bytes(self._kept), self._left_out
            self._kept, self._left_out = bytearray(), 0
        if not left_out:
            return kept.decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (kept[:HEAD], kept[HEAD:]))
        return f"{head}\n[{left_out} bytes left out]\n{tail}"

    def _drain(self) -> None:
        while True:
            data = os.read(self._end, 1 << 16)
            with self._changed:
                self._kept += data
                at = self._kept.rfind(self._marker) if self._marker else -1
                if at >= 0:
                    del self._kept[at : at + len(self._marker)]
                    self._marker = b""
                    self._changed.notify_all()
                # While a marker is on its way, its beginning may be the end of what is here.
                excess = len(self._kept) - SHOWN
                if excess > 0 and (not self._marker or excess > SHOWN):
                    del self._kept[HEAD : HEAD + excess]
                    self._left_out += excess


class Kernel:
    """Runs code step by step in one module, whose names last from step to step."""

    def __init__(self) -> None:
        self._requests = os.fdopen(os.dup(0), encoding="utf-8", newline="\n")
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        self._output = Output()
        self._output.begin()
        self._calling = threading.Lock()
        self._given: list[Any] = []
        self._steps = 0
        # The real __main__, where pickle, dataclasses and multiprocessing look for what the code defines.
        self._module = types.ModuleType("__main__")
        vars(self._module)["final_answer"] = self._final_answer

    def serve(self) -> None:
        """Answer requests until there are no more."""
        sys.modules["__main__"] = self._module
        for line in iter(self._requests.readline, ""):
            request = json.loads(line)
            for name in request.get("tools", ()):
                vars(self._module)[name] = self._tool(name)
            vars(self._module).update(request.get("variables", {}))
            if "run" in request:
                self._send(json.dumps({"done": self._step(request["run"])}))

    def _step(self, code: str) -> dict[str, Any]:
        self._steps += 1
        self._output.begin()
        self._given = []
        name = f"<step {self._steps}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        done: dict[str, Any] = {"output": None, "error": None, "answer": None}
        try:
            value = self._run(code, name)
            done["output"] = None if value is None else str(value)[:SHOWN]
        except FinalAnswer:
            pass
        except BaseException as problem:
            done["error"] = _explained(problem, name)
        done["is_final"] = bool(self._given)
        if self._given:
            done["answer"] = _plain(self._given[-1])
        done["logs"] = self._output.end()
        return done

    def _run(self, code: str, name: str) -> Any:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), vars(self._module))
        if not isinstance(last, ast.Expr):
            return None
        return eval(compile(ast.Expression(last.value), name, "eval"), vars(self._module))

    def _final_answer(self, answer: Any = None) -> None:
        self._given.append(answer)
        raise FinalAnswer

    def _tool(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                request = json.dumps({"call": name, "args": args, "kwargs": kwargs})
            except (TypeError, ValueError) as problem:
                raise ToolError(f"the arguments of {name} must be JSON values: {problem}") from None
            with self._calling:
                self._send(request)
                reply = json.loads(self._requests.readline())
            if "error" in reply:
                raise ToolError(reply["error"])
            return reply["result"]

        call.__name__ = call.__qualname__ = name
        return call

    def _send(self, line: str) -> None:
        self._answers.write(line + "\n")
        self._answers.flush()


def _writer(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)


def _explained(problem: BaseException, name: str) -> str:
    """The traceback from the code's own first line on."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(problem), problem, trace)).rstrip()[-SHOWN:]


def _plain(value: Any) -> Any:
    """The value if JSON can say it, else its text."""
    try:
        json.dumps(value)
    except (RecursionError, TypeError, ValueError):
        return _text(value)
    return value


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as problem:
        return f"<{type(value).__name__} without a text: {problem!r}>"


if __name__ == "__main__":
    # Where the code's own modules are; while this program's modules were imported, nothing of the workspace could be.
    sys.path.insert(0, "")
    sys.argv[:] = [""]
    Kernel().serve()
