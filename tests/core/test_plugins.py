"""Plugins are found, loaded one at a time, and hurt only themselves; observers are told and never in the way."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.core.site_packages import SitePackages

from omniagents import Component, hookimpl
from omniagents.errors import BrokenPluginError
from omniagents.plugins import builtin, manager, specs
from omniagents.plugins.loading import Plugin

REDIS_PLUGIN = """
    from omniagents import Component, hookimpl

    @hookimpl
    def omniagents_register_state_managers():
        return [Component("redis", "acme_redis:RedisStateManager", "In Redis.")]
"""


def install_redis(site: SitePackages, **details: Any) -> None:
    site.install("acme-redis", entry_points={"redis": "acme_plugin"}, modules={"acme_plugin": REDIS_PLUGIN}, **details)


def install_broken(site: SitePackages, source: str) -> None:
    site.install("acme-broken", entry_points={"broken": "broken_plugin"}, modules={"broken_plugin": source})


def found(name: str) -> Plugin:
    return next(plugin for plugin in manager.plugins() if plugin.name == name)


def failures(name: str) -> list[str]:
    return [str(failure) for failure in found(name).failures]


def component_names(plugin: Plugin) -> list[str]:
    return [component.name for _, component in plugin.components]


# Discovery


@pytest.mark.usefixtures("site_packages")
def test_the_built_in_plugin_is_loaded_through_the_same_hooks_as_any_other() -> None:
    registered = component_names(found("builtin"))
    assert registered == [
        component.name for hook in specs.HOOK_OF_KIND.values() for component in getattr(builtin, hook, list)()
    ]
    assert "local" in registered


def test_an_installed_plugin_is_found_by_its_entry_point(site_packages: SitePackages) -> None:
    install_redis(site_packages, version="2.5")
    plugin = found("redis")
    assert plugin.components == (("state_manager", Component("redis", "acme_redis:RedisStateManager", "In Redis.")),)
    assert str(plugin) == "plugin 'redis' (acme-redis 2.5)"
    assert plugin.origin.location == str(site_packages.path)


def test_an_entry_point_may_name_an_object_with_hooks(site_packages: SitePackages) -> None:
    source = """
        from omniagents import Component, hookimpl

        class Plugin:
            def __init__(self, name):
                self.name = name

            @hookimpl
            def omniagents_register_tools(self):
                return [Component(self.name, "acme:Tool")]

        plugin = Plugin("shout")
    """
    site_packages.install("acme", entry_points={"acme": "acme_object:plugin"}, modules={"acme_object": source})
    assert component_names(found("acme")) == ["shout"]


@pytest.mark.parametrize(
    ("direct_url", "location"),
    [
        ({"url": "file:///src/acme", "dir_info": {"editable": True}}, "file:///src/acme (editable)"),
        ({"url": "file:///src/acme", "dir_info": {}}, "file:///src/acme"),
        ({"url": "https://git.example/acme", "vcs_info": {"commit_id": "0a1b"}}, "https://git.example/acme@0a1b"),
    ],
)
def test_the_origin_says_what_it_was_installed_from(
    site_packages: SitePackages, direct_url: dict[str, object], location: str
) -> None:
    install_redis(site_packages, direct_url=direct_url)
    assert found("redis").origin.location == location


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    site_packages: SitePackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib_metadata

    stale = SitePackages(tmp_path / "stale")
    stale.path.mkdir()
    install_redis(site_packages, version="2.0")
    stale.install("Acme_Redis", entry_points={"redis": "acme_plugin"}, modules={}, version="1.0")
    paths = [str(site_packages.path), str(stale.path)]
    monkeypatch.setattr(
        importlib_metadata, "distributions", lambda: importlib_metadata.Distribution.discover(path=paths)
    )
    assert [plugin.origin.version for plugin in manager.plugins() if plugin.name == "redis"] == ["2.0"]


def test_plugins_are_loaded_once(site_packages: SitePackages) -> None:
    install_redis(site_packages)
    assert manager.plugins() is manager.plugins()


def test_a_plugin_installed_later_is_found_after_reload(site_packages: SitePackages) -> None:
    assert [plugin.name for plugin in manager.plugins()] == ["builtin"]
    install_redis(site_packages)
    manager.reload()
    assert [plugin.name for plugin in manager.plugins()] == ["builtin", "redis"]


def test_threads_that_ask_first_at_the_same_time_get_the_same_plugins(site_packages: SitePackages) -> None:
    install_redis(site_packages)
    together = threading.Barrier(8)

    def ask(_: int) -> tuple[Plugin, ...]:
        together.wait()
        return manager.plugins()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert all(answer is answers[0] for answer in answers)


# Failures


def test_a_plugin_that_cannot_be_imported_is_kept_with_its_traceback(site_packages: SitePackages) -> None:
    install_broken(site_packages, "import no_such_sdk")
    install_redis(site_packages)
    assert failures("broken") == ["loading broken_plugin: ModuleNotFoundError: No module named 'no_such_sdk'"]
    assert found("broken").failures[0].error.__traceback__ is not None
    assert component_names(found("redis")) == ["redis"]


def test_a_plugin_that_ends_the_program_when_imported_does_not(site_packages: SitePackages) -> None:
    install_broken(site_packages, "import sys; sys.exit(3)")
    assert failures("broken") == ["loading broken_plugin: SystemExit: 3"]


def test_a_plugin_whose_object_is_missing_is_kept_as_a_failure(site_packages: SitePackages) -> None:
    site_packages.install("acme", entry_points={"acme": "acme_empty:plugin"}, modules={"acme_empty": ""})
    assert failures("acme") == [
        "loading acme_empty:plugin: AttributeError: module 'acme_empty' has no attribute 'plugin'"
    ]


def test_a_hook_that_raises_leaves_the_other_hooks_of_its_plugin_working(site_packages: SitePackages) -> None:
    install_broken(
        site_packages,
        """
        from omniagents import Component, hookimpl

        @hookimpl
        def omniagents_register_backends():
            return [Component("vm", "acme:VMBackend")]

        @hookimpl
        def omniagents_register_tools():
            raise OSError("no tools today")
        """,
    )
    assert component_names(found("broken")) == ["vm"]
    assert failures("broken") == ["omniagents_register_tools: OSError: no tools today"]


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("Component('x', 'a:B')", "TypeError: returned Component(name='x', target='a:B', summary=''), not a list of"),
        ("'local'", "TypeError: returned 'local', not a list of Component"),
        ("42", "TypeError: returned 42, not a list of Component"),
        ("['local']", "TypeError: returned 'local' among its components, not a Component"),
        ("[Component('', 'a:B')]", "ValueError: a name has up to 64 letters, digits, '-', '_' and '.'; got ''"),
        ("[Component('a b', 'a:B')]", "ValueError: a name has up to 64 letters, digits, '-', '_' and '.'; got 'a b'"),
        ("[Component(7, 'a:B')]", "ValueError: a name has up to 64 letters, digits, '-', '_' and '.'; got 7"),
        ("[Component('x', 'a.B')]", "ValueError: the target of 'x' is 'a.B', not 'package.module:Class'"),
        ("[Component('x', 'a:')]", "ValueError: the target of 'x' is 'a:', not 'package.module:Class'"),
        (
            "[Component('x', Component)]",
            "ValueError: the target of 'x' is <class 'omniagents.plugins.specs.Component'>",
        ),
        ("[Component('x', 'a:B', None)]", "TypeError: the summary of 'x' is None, not a string"),
    ],
)
def test_a_hook_that_returns_garbage_is_a_failure_that_says_so(
    site_packages: SitePackages, returned: str, problem: str
) -> None:
    source = f"""
        from omniagents import Component, hookimpl

        @hookimpl
        def omniagents_register_tools():
            return {returned}
    """
    install_broken(site_packages, source)
    assert component_names(found("broken")) == []
    assert len(failures("broken")) == 1
    assert failures("broken")[0].startswith(f"omniagents_register_tools: {problem}")


def test_one_bad_component_leaves_the_good_ones_of_its_list(site_packages: SitePackages) -> None:
    install_broken(
        site_packages,
        """
        from omniagents import Component, hookimpl

        @hookimpl
        def omniagents_register_tools():
            return [Component("good", "a:B"), Component("bad", "a b c"), None, Component("fine", "a:C")]
        """,
    )
    assert component_names(found("broken")) == ["good", "fine"]
    assert len(failures("broken")) == 2


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def omniagents_register_tools():\n    return []", "implements no hook; mark its functions with @omniagents"),
        (
            "from omniagents import hookimpl\n@hookimpl\nasync def omniagents_tool_finished(tool): ...",
            "TypeError: omniagents_tool_finished is a coroutine function; hooks are called, not awaited",
        ),
        (
            "from omniagents import hookimpl\n@hookimpl\ndef omniagents_tool_finished(tool, mood): ...",
            "Argument(s) {'mood'} are declared in the hookimpl but can not be found in the hookspec",
        ),
        (
            "from omniagents import hookimpl\n@hookimpl\ndef omniagents_register_tool(): return []",
            "unknown hook 'omniagents_register_tool'",
        ),
    ],
)
def test_a_plugin_whose_hooks_are_wrong_is_told_what_is_wrong(
    site_packages: SitePackages, source: str, problem: str
) -> None:
    install_broken(site_packages, source)
    assert len(failures("broken")) == 1
    assert problem in failures("broken")[0]


def test_a_class_in_place_of_an_instance_is_a_failure(site_packages: SitePackages) -> None:
    source = """
        from omniagents import hookimpl

        class Plugin:
            @hookimpl
            def omniagents_register_tools(self):
                return []
    """
    site_packages.install("acme", entry_points={"acme": "acme_class:Plugin"}, modules={"acme_class": source})
    assert failures("acme") == [
        "registering its hooks: TypeError: <class 'acme_class.Plugin'> is a class; "
        "an entry point names a module or an instance"
    ]


def test_a_hook_of_a_later_version_may_be_marked_optional(site_packages: SitePackages) -> None:
    source = """
        from omniagents import hookimpl

        @hookimpl(optionalhook=True)
        def omniagents_backend_painted(colour):
            pass
    """
    site_packages.install("acme", entry_points={"acme": "acme_later"}, modules={"acme_later": source})
    assert failures("acme") == []


@pytest.mark.parametrize("content", ["[omniagents]\nno equals sign\n", b"[omniagents]\nx = \xff\xfe\n"])
def test_unreadable_metadata_of_one_distribution_hides_no_other(
    site_packages: SitePackages, content: str | bytes
) -> None:
    site_packages.write_metadata("mangled", "entry_points.txt", content)
    install_redis(site_packages)
    assert failures("unknown")[0].startswith(f"reading metadata in {site_packages.path}: ")
    assert component_names(found("redis")) == ["redis"]


def test_a_half_uninstalled_distribution_is_kept_as_a_failure(site_packages: SitePackages) -> None:
    site_packages.write_metadata("leftover", "entry_points.txt", "[omniagents]\nleft = leftover_plugin\n")
    install_redis(site_packages)
    assert len(failures("unknown")) == 1
    assert component_names(found("redis")) == ["redis"]


def test_malformed_entry_points_of_unrelated_distributions_are_not_our_business(site_packages: SitePackages) -> None:
    site_packages.write_metadata("unrelated", "entry_points.txt", "[console_scripts]\nno equals sign\n")
    assert [plugin.name for plugin in manager.plugins()] == ["builtin"]


def test_a_plugin_that_asks_for_components_while_it_is_loaded_is_refused(site_packages: SitePackages) -> None:
    install_broken(site_packages, "import omniagents; omniagents.available()")
    assert failures("broken") == [
        "loading broken_plugin: PluginError: plugins are being loaded; "
        "a plugin cannot ask for components while it is imported"
    ]


# Disabling


def test_a_disabled_plugin_is_not_imported(site_packages: SitePackages, monkeypatch: pytest.MonkeyPatch) -> None:
    install_broken(site_packages, "import no_such_sdk")
    install_redis(site_packages)
    monkeypatch.setenv("OMNIAGENTS_DISABLE_PLUGINS", "redis, broken")
    assert found("redis").is_disabled
    assert found("broken").failures == ()
    assert "acme_plugin" not in sys.modules


def test_disabling_what_is_not_installed_is_logged(
    site_packages: SitePackages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMNIAGENTS_DISABLE_PLUGINS", "rediss,")
    install_redis(site_packages)
    manager.plugins()
    assert caplog.messages == ["OMNIAGENTS_DISABLE_PLUGINS names no installed plugin: rediss"]


# Plugins of this process


class Watching:
    """Observes everything."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    @hookimpl
    def omniagents_backend_started(self, backend: object) -> None:
        self.seen.append(("started", backend))

    @hookimpl
    def omniagents_backend_stopping(self, backend: object) -> None:
        self.seen.append(("stopping", backend))

    @hookimpl
    def omniagents_tool_finished(self, tool: object, arguments: object, result: object, seconds: float) -> None:
        self.seen.append(("finished", tool, arguments, result, seconds))

    @hookimpl
    def omniagents_snapshot_saved(self, backend: object, snapshot: object) -> None:
        self.seen.append(("saved", backend, snapshot))


@pytest.fixture
def watching(site_packages: SitePackages) -> Any:
    observer = Watching()
    manager.register(observer)
    yield observer
    manager.unregister(observer)


@pytest.mark.usefixtures("site_packages")
def test_a_registered_object_provides_components_until_it_is_unregistered() -> None:
    class Tools:
        @hookimpl
        def omniagents_register_tools(self) -> list[Component]:
            return [Component("shout", "acme:Tool")]

    plugin = Tools()
    manager.register(plugin, name="product")
    assert component_names(found("product")) == ["shout"]
    manager.unregister(plugin)
    assert [plugin.name for plugin in manager.plugins()] == ["builtin"]


def test_a_registered_object_survives_a_reload(watching: Watching) -> None:
    manager.plugins()
    manager.reload()
    assert component_names(found("Watching")) == []


def test_registering_a_plugin_that_fails_raises_from_the_cause() -> None:
    class Tools:
        @hookimpl
        def omniagents_register_tools(self) -> list[Component]:
            raise OSError("no tools today")

    with pytest.raises(BrokenPluginError) as raised:
        manager.register(Tools())
    assert str(raised.value) == (
        "plugin 'Tools' cannot be registered: omniagents_register_tools: OSError: no tools today"
    )
    assert isinstance(raised.value.__cause__, OSError)


def test_registering_twice_is_refused(watching: Watching) -> None:
    with pytest.raises(ValueError, match="plugin 'Watching' is registered already"):
        manager.register(watching)


def test_unregistering_a_stranger_is_refused() -> None:
    with pytest.raises(ValueError, match="'stranger' is not a registered plugin"):
        manager.unregister("stranger")


# Observers


def test_observers_are_given_every_argument_of_their_hook(watching: Watching) -> None:
    manager.notify("omniagents_backend_started", backend="b")
    manager.notify("omniagents_tool_finished", tool="t", arguments={"a": 1}, result="r", seconds=0.5)
    manager.notify("omniagents_snapshot_saved", backend="b", snapshot="s")
    manager.notify("omniagents_backend_stopping", backend="b")
    assert watching.seen == [
        ("started", "b"),
        ("finished", "t", {"a": 1}, "r", 0.5),
        ("saved", "b", "s"),
        ("stopping", "b"),
    ]


def test_an_observer_may_leave_out_arguments(watching: Watching) -> None:
    seen: list[float] = []

    def observe(seconds: float) -> None:
        seen.append(seconds)

    plugin = SimpleNamespace(omniagents_tool_finished=hookimpl(observe))
    manager.register(plugin)
    try:
        manager.notify("omniagents_tool_finished", tool="t", arguments={}, result="r", seconds=0.5)
    finally:
        manager.unregister(plugin)
    assert seen == [0.5]


def test_what_an_observer_raises_is_logged_and_the_others_are_told(
    watching: Watching, site_packages: SitePackages, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        from omniagents import hookimpl

        @hookimpl
        def omniagents_backend_started(backend):
            raise OSError("metrics are down")
    """
    site_packages.install("acme", entry_points={"acme": "acme_observer"}, modules={"acme_observer": source})
    manager.notify("omniagents_backend_started", backend="b")
    assert watching.seen == [("started", "b")]
    assert [(record.name, record.levelno, record.getMessage()) for record in caplog.records] == [
        ("omniagents", logging.ERROR, "omniagents_backend_started failed in plugin 'acme' (acme 1.0)")
    ]
    assert "metrics are down" in caplog.text


def test_observers_are_told_although_another_plugin_is_broken(site_packages: SitePackages, watching: Watching) -> None:
    install_broken(site_packages, "import no_such_sdk")
    manager.notify("omniagents_backend_started", backend="b")
    assert watching.seen == [("started", "b")]


@pytest.mark.usefixtures("site_packages")
def test_notify_goes_on_when_plugins_cannot_be_found_at_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise OSError("sys.path is gone")

    monkeypatch.setattr(manager, "discovered", fail)
    manager.notify("omniagents_backend_started", backend="b")
    assert caplog.messages == ["omniagents_backend_started: plugins cannot be told"]


def test_notifying_a_hook_that_does_not_exist_is_a_defect() -> None:
    with pytest.raises(KeyError, match="omniagents_backend_painted"):
        manager.notify("omniagents_backend_painted", colour="red")


# Documentation

HOOKS = [*specs.HOOK_OF_KIND.values(), *specs.OBSERVERS]


def test_every_hook_is_either_registering_or_observing() -> None:
    assert sorted(HOOKS) == sorted(name for name in vars(specs) if name.startswith("omniagents_"))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook: str, checkout: Path) -> None:
    arguments = ", ".join(inspect.signature(getattr(specs, hook)).parameters)
    assert f"`{hook}({arguments})`" in (checkout / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("hook", HOOKS)
def test_no_hook_stops_at_the_first_result(hook: str) -> None:
    assert getattr(specs, hook).omniagents_spec["firstresult"] is False


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test(hook: str) -> None:
    tests = [Path(__file__), Path(__file__).with_name("test_registry.py")]
    assert any(f"def {hook}(" in test.read_text() for test in tests)
