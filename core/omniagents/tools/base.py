"""What the ten tools share: argument checking, results, and the one request each call makes."""

from __future__ import annotations

import asyncio
import difflib
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, ValidationError

from omniagents.errors import GuestCallError
from omniagents.plugins.manager import notify
from omniagents.records import Reply

if TYPE_CHECKING:
    from omniagents.backends.base import Backend

__all__ = [
    "MAX_RESULT_CHARACTERS",
    "Cancellation",
    "DocumentPart",
    "ImagePart",
    "Tool",
    "ToolArguments",
    "ToolResult",
    "names",
    "not_boolean",
    "refused",
    "valid_arguments",
]

# What one result shows a model at most; the marker that says what was cut is not counted.
MAX_RESULT_CHARACTERS = 50_000
# Longer ones repeat what a model has sent.
_MOST_OF_REFUSAL = 8_000


@dataclass(frozen=True)
class ImagePart:
    """An image for the model: raw bytes, their MIME type by magic number, and the file's name."""

    data: bytes
    mime_type: str
    name: str


@dataclass(frozen=True)
class DocumentPart:
    """A document (PDF) for the model: raw bytes, MIME type and the file's name."""

    data: bytes
    mime_type: str
    name: str


@dataclass(frozen=True)
class ToolResult:
    """What a model sees of one call; prints as its content.

    Attributes:
        content: Never empty; at most 50,000 characters and a marker that says what was cut.
        is_error: The call did not do what was asked; the content says why and what to do next.
        error_type: A stable code (``FILE_NOT_FOUND``…) when ``is_error``, else None.
        data: The same facts for programs; JSON values only.
        parts: Images and documents, which each framework's adapter hands on in its own way.
    """

    content: str
    is_error: bool = False
    error_type: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    parts: tuple[ImagePart | DocumentPart, ...] = ()

    def __str__(self) -> str:
        return self.content


class ToolArguments(BaseModel):
    """Base of every tool's arguments: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _refuse_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a whole number is needed, not a boolean")
    return value


#: For whole numbers, ``Annotated[int, Field(ge=1), not_boolean]``: ``"3"`` is accepted, ``true`` is not. It comes
#: behind the limits; in front of them, schemas would have them in pydantic's own words.
not_boolean = BeforeValidator(_refuse_boolean)


def names(*choices: str) -> AliasChoices:
    """The names a parameter is accepted under; the first is the one shown in schemas."""
    return AliasChoices(*choices)


class Tool(ABC):
    """One coding tool on one backend.

    A subclass states its name, description, arguments and guest operation, and turns the
    guest's reply into text. ``execute`` and ``aexecute`` make exactly one request.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    operation: ClassVar[str]
    Arguments: ClassVar[type[ToolArguments]]

    def __init__(self, backend: Backend) -> None:
        if backend is None or isinstance(backend, (str, type)):
            raise TypeError(f"backend is a backend, not {backend!r:.200}")
        self.backend = backend

    def execute(self, /, **arguments: Any) -> ToolResult:
        """Run the tool and wait for its result.

        Raises:
            BackendNotStartedError: The backend is not running.
            BackendUnavailableError: The environment died. A model's mistake never raises: it is a result.
        """
        started = time.perf_counter()
        checked = self._check(arguments)
        if isinstance(checked, ToolResult):
            return self._finish(arguments, checked, started)
        try:
            outcome = self.result(checked, _wait(self._send(checked)))
        except GuestCallError as refusal:
            outcome = self.refusal(checked, refusal)
        return self._finish(arguments, outcome, started)

    async def aexecute(self, /, **arguments: Any) -> ToolResult:
        """Like ``execute``; cancelling the task stops the work inside the environment."""
        started = time.perf_counter()
        checked = self._check(arguments)
        if isinstance(checked, ToolResult):
            return self._finish(arguments, checked, started)
        try:
            outcome = self.result(checked, await asyncio.wrap_future(self._send(checked)))
        except GuestCallError as refusal:
            outcome = self.refusal(checked, refusal)
        return self._finish(arguments, outcome, started)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of the arguments, under their primary names: what every framework shows to models."""
        schema = cls.Arguments.model_json_schema()
        schema["properties"] = {name: _plain(value) for name, value in schema["properties"].items()}
        return {key: value for key, value in schema.items() if key not in ("title", "description")}

    def request(self, arguments: Any) -> tuple[dict[str, Any], bytes]:
        """The guest operation's arguments and payload for checked ``arguments``.

        Raises:
            GuestCallError: They are refused without asking the guest.
        """
        return arguments.model_dump(), b""

    @abstractmethod
    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """Turn the guest's reply into what the model sees. A pure function."""

    def refusal(self, arguments: Any, error: GuestCallError) -> ToolResult:
        """Turn a refusal into what the model sees; ``refused`` where a tool has nothing to add."""
        return refused(error)

    def _check(self, arguments: Mapping[str, Any]) -> ToolArguments | ToolResult:
        """Checked arguments, or the result that tells a model which of them is wrong."""
        try:
            # Models send null for what they leave out.
            given = {name: value for name, value in arguments.items() if value is not None}
            return self.Arguments.model_validate(given)
        except ValidationError as error:
            return ToolResult(_explain(error, self), is_error=True, error_type="INVALID_ARGUMENTS")

    def _send(self, checked: ToolArguments) -> Future[Reply]:
        future = self.backend.workspace.request(self.operation, *self.request(checked))
        cancellation = _cancellation.get()
        if cancellation is not None:
            cancellation.add(future)
        return future

    def _finish(self, arguments: Mapping[str, Any], result: ToolResult, started: float) -> ToolResult:
        seconds = time.perf_counter() - started
        notify("omniagents_tool_finished", tool=self, arguments=arguments, result=result, seconds=seconds)
        return result


_cancellation: ContextVar[Cancellation | None] = ContextVar("omniagents_cancellation", default=None)


class Cancellation:
    """Stops tool calls, from any thread.

    Attributes:
        is_cancelled: ``cancel`` was called; calls that begin now end at once.
    """

    def __init__(self) -> None:
        self.is_cancelled = False
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._lock = threading.Lock()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Calls that this thread or task begins in here are among those that ``cancel`` stops."""
        token = _cancellation.set(self)
        try:
            yield
        finally:
            _cancellation.reset(token)

    def add(self, future: Future[Any]) -> None:
        """Cancel ``future``, too, now or later."""
        with self._lock:
            self._futures.add(future)
        if self.is_cancelled:
            future.cancel()

    def cancel(self) -> None:
        """Cancel what is under way; those who wait for it get ``CancelledError``."""
        self.is_cancelled = True
        with self._lock:
            futures = list(self._futures)
        for future in futures:
            future.cancel()


def _wait(future: Future[Reply]) -> Reply:
    try:
        return future.result()
    except BaseException:
        future.cancel()  # interrupted: the work inside stops; of no effect on a future that is done
        raise


def refused(refusal: GuestCallError) -> ToolResult:
    """The result for a request the guest refused.

    Raises:
        GuestCallError: The refusal is a defect of ours (``INTERNAL``), not a mistake a model could mend.
    """
    if refusal.code == "INTERNAL":
        raise refusal
    return ToolResult(_shortened(str(refusal)), is_error=True, error_type=refusal.code, data=refusal.details)


def _shortened(message: str) -> str:
    """The beginning and the end, where what was sent and is quoted has no end."""
    if len(message) <= _MOST_OF_REFUSAL:
        return message
    return f"{message[: _MOST_OF_REFUSAL // 2]} \u2026 {message[-_MOST_OF_REFUSAL // 4 :]}"


def _explain(error: ValidationError, tool: Tool) -> str:
    known = list(tool.schema()["properties"])
    problems = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"]) or "arguments"
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(name, known, n=1)
            problems.append(f"unknown argument {name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
        elif problem["type"] == "missing":
            problems.append(f"{name!r} is required")
        else:
            problems.append(f"{name!r}: {problem['msg']} (got {problem['input']!r:.80})")
    return f"{tool.name}: {_shortened('; '.join(problems))}. {valid_arguments(tool)}"


def valid_arguments(tool: Tool) -> str:
    """The sentence that lists a tool's arguments, for results that refuse others."""
    schema = tool.schema()
    required = schema.get("required", [])
    valid = ", ".join(f"{name} (required)" if name in required else name for name in schema["properties"])
    return f"Valid arguments: {valid}."


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """A property's schema without what tells a model nothing: a title, and that null is the same as leaving it out."""
    kept = {key: part for key, part in value.items() if key != "title" and (key != "default" or part is not None)}
    choices = [choice for choice in kept.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        return {**choices[0], **kept}
    return {**kept, "anyOf": choices} if choices else kept
