"""From a kind and a name to a class, with an error for each way of failing that says what to do."""

from __future__ import annotations

import difflib
import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal, get_args

from omniagents.errors import BrokenPluginError, DuplicateComponentError, PluginError, UnknownComponentError
from omniagents.plugins import manager
from omniagents.plugins.first_party import FIRST_PARTY, missing_plugin
from omniagents.plugins.loading import Plugin
from omniagents.plugins.specs import Component, Kind

__all__ = ["ComponentRecord", "available", "create", "resolve"]

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_BASE_OF_KIND: Final[dict[Kind, str]] = {
    "backend": "omniagents.backends.base:Backend",
    "state_manager": "omniagents.state.base:StateManager",
    "tool": "omniagents.tools.base:Tool",
    "agent": "omniagents.agents.base:Agent",
    "preset": "omniagents.presets.base:Preset",
}


@dataclass(frozen=True)
class ComponentRecord:
    """One line of a listing.

    Attributes:
        kind: None for a plugin that did not get far enough to say what it provides.
        name: What to ask for; the plugin's own name where it is not known what it provides.
        plugin: The name of its entry point.
        distribution: What pip installed it as, with ``version`` and ``origin`` (a directory or URL).
        status: Only ``ready`` ones can be created.
        error: Why not, else empty.
    """

    kind: Kind | None
    name: str
    summary: str
    plugin: str
    distribution: str
    version: str
    origin: str
    status: Literal["ready", "duplicate", "broken", "disabled"] = "ready"
    error: str = ""


def available(kind: Kind | None = None) -> list[ComponentRecord]:
    """Everything installed plugins register, of one kind or all, sorted by kind and name. Imports none of it.

    Broken and disabled plugins are listed too: with any kind, if it is not known what they provide.
    """
    if kind is not None:
        _check_kind(kind)
    records = [record for plugin in manager.plugins() for record in _records_of(plugin)]
    wanted = [record for record in records if kind is None or record.kind in (None, kind)]
    return sorted(wanted, key=lambda record: (record.kind is None, record.kind or "", record.name, record.plugin))


def resolve(kind: Kind, name: str) -> type[Any]:
    """Import the class registered under ``name``.

    Raises:
        BrokenPluginError: Its plugin, or its class, cannot be loaded; from the cause.
        MissingPluginError: It is ours, but not installed; with the command that installs it.
        DuplicateComponentError: Two plugins register it.
        UnknownComponentError: Nobody registers it, or only a disabled plugin could.
    """
    _check_kind(kind)
    if not isinstance(name, str):
        raise TypeError(f"the name of {_article(kind)} is a string, not {name!r:.200}")
    found = _registrations(kind, name)
    if not found:
        raise _not_found(kind, name)
    if len(found) > 1:
        raise DuplicateComponentError(_duplicate(kind, name, [plugin for plugin, _ in found]))
    return _imported(kind, *found[0])


def create(kind: Kind, name: str, /, **options: Any) -> Any:
    """Resolve and call the class.

    Raises:
        TypeError: An option it does not take, or one it needs; names the valid ones.
    """
    made = resolve(kind, name)
    _check_options(f"{_spoken(kind)} {name!r}", inspect.signature(made), options)
    return made(**options)


def _check_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ValueError(f"no kind of component {kind!r}; kinds: {', '.join(_KINDS)}")


def _registrations(kind: Kind, name: str) -> list[tuple[Plugin, Component]]:
    return [
        (plugin, component)
        for plugin in manager.plugins()
        for of, component in plugin.components
        if of == kind and component.name == name
    ]


def _imported(kind: Kind, plugin: Plugin, component: Component) -> type[Any]:
    try:
        found = _target(component.target)
        base = _target(_BASE_OF_KIND[kind])
        if not (isinstance(found, type) and issubclass(found, base)):
            raise TypeError(f"{found!r:.200} is not a subclass of {base.__module__}.{base.__name__}")
    except (Exception, SystemExit) as error:
        raise BrokenPluginError(
            f"{_spoken(kind)} {component.name!r} of {plugin} cannot be loaded: "
            f"importing {component.target}: {type(error).__name__}: {error}"
        ) from error
    return found


def _target(target: str) -> Any:
    module, _, path = target.partition(":")
    return operator.attrgetter(path)(import_module(module))


def _not_found(kind: Kind, name: str) -> PluginError:
    for plugin in manager.plugins():
        failure = plugin.failure_about(kind, name)
        if failure is not None:
            error = BrokenPluginError(f"no {_spoken(kind)} {name!r}: {plugin} failed; {failure}")
            error.__cause__ = failure.error
            return error
        if plugin.is_disabled and plugin.could_provide(kind, name):
            return UnknownComponentError(
                f"no {_spoken(kind)} {name!r}: {plugin} is disabled by {manager.DISABLE_VARIABLE}"
            )
    if (kind, name) in FIRST_PARTY:
        return missing_plugin(f"the {_spoken(kind)} {name!r}", FIRST_PARTY[kind, name])
    return UnknownComponentError(_unknown(kind, name))


def _unknown(kind: Kind, name: str) -> str:
    installed = sorted(
        {component.name for plugin in manager.plugins() for of, component in plugin.components if of == kind}
    )
    known = {*installed, *(first for of, first in FIRST_PARTY if of == kind)}
    close = difflib.get_close_matches(name, sorted(known), n=1)
    others = [of for of in _KINDS if of != kind and (_registrations(of, name) or (of, name) in FIRST_PARTY)]
    broken = [f"{plugin}: {failure}" for plugin in manager.plugins() for failure in plugin.failures]
    hint = f"; did you mean {close[0]!r}?" if close else f"; {name!r} is {_article(others[0])}." if others else "."
    message = f"no {_spoken(kind)} named {name!r}{hint} Installed: {', '.join(installed) or 'none'}."
    return f"{message} These plugins failed and may have provided it: {'; '.join(broken)}" if broken else message


def _duplicate(kind: Kind, name: str, owners: list[Plugin]) -> str:
    return (
        f"{_spoken(kind)} {name!r} is registered by {' and by '.join(map(str, owners))}; "
        f"uninstall one, or name its plugin in {manager.DISABLE_VARIABLE}"
    )


def _records_of(plugin: Plugin) -> Iterator[ComponentRecord]:
    origin = plugin.origin
    rest = (plugin.name, origin.distribution, origin.version, origin.location)
    for kind, component in plugin.components:
        owners = [owner for owner, _ in _registrations(kind, component.name)]
        if len(owners) > 1:
            problem = _duplicate(kind, component.name, owners)
            yield ComponentRecord(kind, component.name, component.summary, *rest, "duplicate", problem)
        else:
            yield ComponentRecord(kind, component.name, component.summary, *rest)
    for failure in plugin.failures:
        yield ComponentRecord(failure.kind, failure.component or plugin.name, "", *rest, "broken", str(failure))
    if plugin.is_disabled:
        yield ComponentRecord(None, plugin.name, "", *rest, "disabled", f"disabled by {manager.DISABLE_VARIABLE}")


def _check_options(what: str, signature: inspect.Signature, options: dict[str, Any]) -> None:
    taken = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    names = [p.name for p in taken]
    unknown = [] if takes_any else [name for name in options if name not in names]
    problems = [f"takes no option {_with_guess(name, names)}" for name in unknown]
    problems += [f"needs the option {p.name!r}" for p in taken if p.default is p.empty and p.name not in options]
    if problems:
        raise TypeError(f"{what} {' and '.join(problems)}. Options: {', '.join(sorted(names)) or 'none'}.")


def _with_guess(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name)


def _spoken(kind: Kind) -> str:
    return kind.replace("_", " ")


def _article(kind: Kind) -> str:
    return f"{'an' if kind == 'agent' else 'a'} {_spoken(kind)}"
