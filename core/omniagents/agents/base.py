"""What the adapters of all frameworks share: ``Agent``, and the ``AgentResult`` of a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from omniagents.agents.events import AgentEvent, EventStream, RunFinished
from omniagents.agents.records import AgentResult, ToolCall
from omniagents.agents.run import Run
from omniagents.agents.threads import in_loop, in_thread
from omniagents.agents.tooling import made_preset, make_tools
from omniagents.presets.base import Preset
from omniagents.presets.generic import GenericPreset
from omniagents.presets.set_up import set_up

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.tools.base import Tool

__all__ = ["DEFAULT_MAX_STEPS", "Agent", "AgentResult", "ToolCall"]

#: Turns of the model in one run.
DEFAULT_MAX_STEPS: Final = 50


class Agent:
    """A framework's agent with Omniagents' tools on one backend; an adapter writes ``_work``, ``_awork`` or both.

    Running changes the workspace only through the tools: nothing is deleted or reset before or after, and a
    second run continues in the same workspace. The backend is started and shut down by its owner.

    Args:
        backend: Where the tools work.
        model: The framework's own model object, or a name the framework understands.
        preset: Sets tools and instructions: a preset, its class or its name; by default the backend's own preset, or
            ``generic``. If it is not the backend's, its set-up commands run before the first run, in a workspace
            that is empty.
        tools: Instead of the preset's: tools, or names of tools.
        system_prompt: Instead of the preset's instructions.
        max_steps: Turns of the model in one run, at least 1.
    """

    def __init__(
        self,
        backend: Backend,
        model: Any,
        *,
        preset: Preset | Callable[[], Preset] | str | None = None,
        tools: Sequence[Tool | str] | None = None,
        system_prompt: str | None = None,
        max_steps: int = DEFAULT_MAX_STEPS,
    ) -> None:
        _check_options(model, system_prompt, max_steps)
        self.backend = backend
        self.model = model
        self.preset = made_preset(preset) if preset else getattr(backend, "preset", None) or GenericPreset()
        self.tools = make_tools(backend, self.preset.tools if tools is None else tools)
        self.system_prompt = self.preset.instructions if system_prompt is None else system_prompt
        self.max_steps = max_steps
        self._is_to_set_up = bool(self.preset.setup_commands) and self.preset != getattr(backend, "preset", None)
        self._setting_up = threading.Lock()

    def run(self, task: str) -> AgentResult:
        """Work on the task until the model has its answer. Also works where an event loop is running.

        Raises:
            StepLimitError: ``max_steps`` turns were not enough. This and the next have what was done so far.
            ModelError: The model or its provider failed; the framework's error is the cause.
            BackendError: The backend is not running, or its environment died.
        """
        run = self._new_run(task=task, streamed=False)
        work = in_thread(lambda: self._prepared(task, run))
        try:
            return work.result()
        finally:
            run.cancel()  # interrupted: what was begun in the environment stops

    async def arun(self, task: str) -> AgentResult:
        """Like ``run``; cancelling it stops the tool call under way."""
        return await self._aprepared(task, self._new_run(task=task, streamed=False))

    def stream(self, task: str) -> EventStream:
        """Like ``run``; yields text and tool calls as they happen, and ``RunFinished`` at the end.

        Closing it stops the tool call under way. In an event loop it can be read by ``async for``, like ``astream``.
        """
        return EventStream(self._stream(task), self.astream(task))

    def _stream(self, task: str) -> Generator[AgentEvent, None, None]:
        events: SimpleQueue[AgentEvent | Future[AgentResult]] = SimpleQueue()
        run = self._new_run(task=task, streamed=True, emit=events.put)
        work = in_thread(lambda: self._prepared(task, run))
        work.add_done_callback(events.put)
        try:
            while not isinstance(event := events.get(), Future):
                yield event
            yield RunFinished(event.result())
        finally:
            run.cancel()

    async def astream(self, task: str) -> AsyncGenerator[AgentEvent, None]:
        """Like ``stream``. Leaving early, close it (``contextlib.aclosing``), which stops the tool call under way."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[AgentEvent | asyncio.Task[AgentResult]] = asyncio.Queue()

        def emit(event: AgentEvent | asyncio.Task[AgentResult]) -> None:
            # Always by way of the loop, so that events of threads and of the loop keep their order.
            loop.call_soon_threadsafe(events.put_nowait, event)

        work = asyncio.create_task(self._aprepared(task, self._new_run(task=task, streamed=True, emit=emit)))
        work.add_done_callback(emit)
        try:
            while not isinstance(event := await events.get(), asyncio.Task):
                yield event
            yield RunFinished(event.result())
        finally:
            work.cancel()
            await asyncio.wait([work])

    def _work(self, task: str, run: Run) -> AgentResult:
        """Run the framework's loop; an adapter writes this, or ``_awork``, or both.

        Every tool call goes through ``run``, which emits the events of calls; ``run.text`` those of text.
        Called in a thread of its own.

        Raises:
            StepLimitError: By ``run.begin_step`` or ``run.step_limit``.
            ModelError: By ``run.model_error``.
        """
        return run.wait(in_loop(self._awork(task, run)))

    async def _awork(self, task: str, run: Run) -> AgentResult:
        """Like ``_work``, in the caller's event loop. By itself it is ``_work`` in a thread."""
        try:
            return await asyncio.wrap_future(in_thread(lambda: self._work(task, run)))
        finally:
            run.cancel()  # cancelled: what was begun in the environment stops

    def _prepared(self, task: str, run: Run) -> AgentResult:
        self._set_up()
        return self._work(task, run)

    async def _aprepared(self, task: str, run: Run) -> AgentResult:
        if self._is_to_set_up:
            await asyncio.to_thread(self._set_up)
        return await self._awork(task, run)

    def _new_run(self, *, task: str, streamed: bool, emit: Callable[[AgentEvent], object] = lambda event: None) -> Run:
        if not isinstance(task, str):
            raise TypeError(f"the task is a string, not {task!r:.200}")
        if type(self)._work is Agent._work and type(self)._awork is Agent._awork:
            raise TypeError(f"{type(self).__name__} has neither _work nor _awork; an adapter writes one of them")
        _ = self.backend.workspace  # not running: said before the model is asked, which costs
        return Run(self.tools, self.max_steps, emit=emit, streamed=streamed)

    def _set_up(self) -> None:
        """What the backend would have done with our preset in a new workspace, where it was given none, or another."""
        with self._setting_up:
            if self._is_to_set_up:
                if not self.backend.workspace.list():
                    where = f"{type(self).__name__} on {self.backend}"
                    set_up(self.preset, self.backend.workspace, where=where, env=self.preset.environment)
                self._is_to_set_up = False


def _check_options(model: object, system_prompt: object, max_steps: object) -> None:
    if model is None or (isinstance(model, str) and not model.strip()):
        error = TypeError if model is None else ValueError
        raise error(f"model is the framework's model object or a name, not {model!r}")
    if not (system_prompt is None or isinstance(system_prompt, str)):
        raise TypeError(f"system_prompt is a string, not {system_prompt!r:.200}")
    if not isinstance(max_steps, int) or isinstance(max_steps, bool):
        raise TypeError(f"max_steps is a whole number, not {max_steps!r:.200}")
    if max_steps < 1:
        raise ValueError(f"max_steps is at least 1, not {max_steps!r}")
