"""From an entry point, or an object, to a ``Plugin``. What goes wrong stays inside that plugin, as a ``Failure``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pluggy

from omniagents.plugins import specs
from omniagents.plugins.first_party import names_of
from omniagents.plugins.specs import HOOK_OF_KIND, OBSERVERS, PROJECT, Component, Kind

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

__all__ = ["Failure", "Origin", "Plugin", "loaded_from", "loaded_object"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from.

    Attributes:
        distribution: The name of what pip installed.
        version: Its version; empty if unknown.
        location: The directory it is in, or the URL it was installed from; editable installs say so.
    """

    distribution: str
    version: str
    location: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong in a plugin.

    Attributes:
        doing: What was tried (``loading acme.plugin``, or the name of the hook).
        error: What was raised, with its traceback.
        kind: The only kind of component it can concern; None if it can be any.
        component: The only name it can concern; None if it can be any.
    """

    doing: str
    error: BaseException
    kind: Kind | None = None
    component: str | None = None

    def __str__(self) -> str:
        return f"{self.doing}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True)
class Plugin:
    """A plugin as it was found: what it registers and what went wrong.

    Attributes:
        name: Of the entry point; what ``OMNIAGENTS_DISABLE_PLUGINS`` takes.
        is_disabled: It was not loaded because that variable names it.
        hooks: A pluggy manager of its own, so that no other plugin's hooks are in reach; None if it did not load.
    """

    name: str
    origin: Origin
    components: tuple[tuple[Kind, Component], ...] = ()
    failures: tuple[Failure, ...] = ()
    is_disabled: bool = False
    hooks: pluggy.PluginManager | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.origin})"

    def failure_about(self, kind: Kind, name: str) -> Failure | None:
        """The failure that may be why this plugin does not register ``name``."""
        for failure in self.failures:
            if failure.kind in (None, kind) and (failure.component == name or self._may_mean(failure, kind, name)):
                return failure
        return None

    def could_provide(self, kind: Kind, name: str) -> bool:
        """Judged by its own name and, for first-party plugins, by what they are known to register."""
        return name == self.name or name in names_of(self.origin.distribution, kind)

    def _may_mean(self, failure: Failure, kind: Kind, name: str) -> bool:
        return failure.component is None and self.could_provide(kind, name)


def loaded_from(entry_point: EntryPoint, origin: Origin) -> Plugin:
    """Import what the entry point names and collect its components. Never raises what a plugin raises."""
    try:
        found = entry_point.load()
    # SystemExit: a module that is a script, and ends the program when imported.
    except (Exception, SystemExit) as error:
        return Plugin(entry_point.name, origin, failures=(Failure(f"loading {entry_point.value}", error),))
    return loaded_object(found, entry_point.name, origin)


def loaded_object(plugin: object, name: str, origin: Origin) -> Plugin:
    """Register a module or an object with hooks in a pluggy manager of its own and collect its components."""
    try:
        hooks = _registered(plugin, name)
    except Exception as error:
        return Plugin(name, origin, failures=(Failure("registering its hooks", error),))
    components: list[tuple[Kind, Component]] = []
    failures = list(_misnamed_hooks(hooks))
    for kind in HOOK_OF_KIND:
        for found in _collected(hooks, kind):
            if isinstance(found, Failure):
                failures.append(found)
            else:
                components.append((kind, found))
    return Plugin(name, origin, tuple(components), tuple(failures), hooks=hooks)


def _registered(plugin: object, name: str) -> pluggy.PluginManager:
    if inspect.isclass(plugin):
        raise TypeError(f"{plugin!r} is a class; an entry point names a module or an instance")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(specs)
    manager.register(plugin, name)
    callers = manager.get_hookcallers(plugin)
    if not callers:
        raise TypeError(f"{plugin!r} implements no hook; mark its functions with @omniagents.hookimpl")
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if inspect.iscoroutinefunction(implementation.function):
                raise TypeError(f"{caller.name} is a coroutine function; hooks are called, not awaited")
    return manager


def _misnamed_hooks(hooks: pluggy.PluginManager) -> Iterator[Failure]:
    try:
        hooks.check_pending()
    except pluggy.PluginValidationError as error:
        known = ", ".join((*HOOK_OF_KIND.values(), *OBSERVERS))
        yield Failure("checking its hooks", ValueError(f"{error}. Hooks: {known}"))


def _collected(hooks: pluggy.PluginManager, kind: Kind) -> Iterator[Component | Failure]:
    hook = HOOK_OF_KIND[kind]
    try:
        answers = getattr(hooks.hook, hook)()
    except (Exception, SystemExit) as error:
        yield Failure(hook, error, kind)
        return
    for answer in answers:
        if isinstance(answer, str) or not isinstance(answer, Sequence):
            yield Failure(hook, TypeError(f"returned {answer!r:.200}, not a list of Component"), kind)
            continue
        yield from (_checked(component, hook, kind) for component in answer)


def _checked(component: object, hook: str, kind: Kind) -> Component | Failure:
    """The component, or what is wrong with it."""
    if not isinstance(component, Component):
        return Failure(hook, TypeError(f"returned {component!r:.200} among its components, not a Component"), kind)
    given: dict[str, Any] = vars(component)  # what it holds, whatever its annotations promise
    name, target, summary = given["name"], given["target"], given["summary"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        wanted = "a name has up to 64 letters, digits, '-', '_' and '.'"
        return Failure(hook, ValueError(f"{wanted}; got {name!r:.200}"), kind)
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        problem = f"the target of {name!r} is {target!r:.200}, not 'package.module:Class'"
        return Failure(hook, ValueError(problem), kind, name)
    if not isinstance(summary, str):
        return Failure(hook, TypeError(f"the summary of {name!r} is {summary!r:.200}, not a string"), kind, name)
    return component
