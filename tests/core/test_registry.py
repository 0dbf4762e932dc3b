"""A kind and a name become a class, or an error that says what to do."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.core.site_packages import SitePackages

import omniagents
from omniagents import Component
from omniagents.errors import (
    BrokenPluginError,
    DuplicateComponentError,
    MissingPluginError,
    UnknownComponentError,
)
from omniagents.plugins import manager, registry
from omniagents.plugins.registry import ComponentRecord

pytestmark = pytest.mark.usefixtures("site_packages")

EVERY_KIND = """
    from omniagents import Component, hookimpl

    @hookimpl
    def omniagents_register_backends():
        return [Component("vm", "acme_classes:VMBackend", "A virtual machine.")]

    @hookimpl
    def omniagents_register_state_managers():
        return [Component("redis", "acme_classes:RedisStateManager")]

    @hookimpl
    def omniagents_register_tools():
        return [Component("shout", "acme_classes:ShoutTool")]

    @hookimpl
    def omniagents_register_agents():
        return [Component("loop", "acme_classes:LoopAgent")]

    @hookimpl
    def omniagents_register_presets():
        return [Component("rust", "acme_classes:RustPreset")]
"""

CLASSES = """
    from omniagents.agents.base import Agent
    from omniagents.backends.base import Backend
    from omniagents.presets.base import Preset
    from omniagents.state import NoOpStateManager
    from omniagents.tools.base import Tool

    class VMBackend(Backend): ...
    class RedisStateManager(NoOpStateManager): ...
    class ShoutTool(Tool): ...
    class LoopAgent(Agent): ...
    class RustPreset(Preset): ...
"""


def install(site: SitePackages, distribution: str, plugin: str, **modules: str) -> None:
    """Install a plugin module; its entry point is named like the distribution's second part."""
    name = distribution.partition("-")[2]
    module = distribution.replace("-", "_") + "_plugin"
    site.install(distribution, entry_points={name: module}, modules={module: plugin, **modules})


def state_managers(*components: str) -> str:
    """The source of a plugin that registers these."""
    listed = ", ".join(f"Component{component}" for component in components)
    return (
        "from omniagents import Component, hookimpl\n"
        f"@hookimpl\ndef omniagents_register_state_managers():\n    return [{listed}]\n"
    )


def message_of(error: type[Exception], kind: Any, name: Any) -> str:
    with pytest.raises(error) as raised:
        registry.resolve(kind, name)
    return str(raised.value)


# resolve


@pytest.mark.parametrize(
    ("kind", "name", "class_name"),
    [
        ("backend", "vm", "VMBackend"),
        ("state_manager", "redis", "RedisStateManager"),
        ("tool", "shout", "ShoutTool"),
        ("agent", "loop", "LoopAgent"),
        ("preset", "rust", "RustPreset"),
    ],
)
def test_each_kind_resolves_to_the_class_a_plugin_registered(
    site_packages: SitePackages, kind: Any, name: str, class_name: str
) -> None:
    install(site_packages, "acme-all", EVERY_KIND, acme_classes=CLASSES)
    assert registry.resolve(kind, name).__name__ == class_name


def test_a_target_may_be_a_class_inside_a_class(site_packages: SitePackages) -> None:
    source = "from omniagents.state import NoOpStateManager\nclass In:\n    class Redis(NoOpStateManager): ..."
    install(site_packages, "acme-redis", state_managers("('redis', 'acme_state:In.Redis')"), acme_state=source)
    assert registry.resolve("state_manager", "redis").__qualname__ == "In.Redis"


def test_an_unknown_name_gets_the_closest_one_and_the_list() -> None:
    assert message_of(UnknownComponentError, "state_manager", "nine") == (
        "no state manager named 'nine'; did you mean 'none'? Installed: none."
    )


def test_a_name_of_another_kind_is_told_as_such() -> None:
    assert message_of(UnknownComponentError, "preset", "local") == (
        "no preset named 'local'; 'local' is a backend. Installed: generic, node, python-pip, python-uv."
    )


def test_an_unknown_name_is_a_lookup_error() -> None:
    assert issubclass(UnknownComponentError, LookupError)


def test_an_unknown_name_mentions_the_plugins_that_failed(site_packages: SitePackages) -> None:
    install(site_packages, "acme-broken", "import no_such_sdk")
    assert message_of(UnknownComponentError, "state_manager", "redis") == (
        "no state manager named 'redis'. Installed: none. These plugins failed and may have provided it: "
        "plugin 'broken' (acme-broken 1.0): loading acme_broken_plugin: "
        "ModuleNotFoundError: No module named 'no_such_sdk'"
    )


@pytest.mark.parametrize(
    ("kind", "name", "command"),
    [
        ("backend", "docker", "pip install ./plugins/omniagents-docker"),
        ("backend", "e2b", "pip install ./plugins/omniagents-e2b"),
        ("backend", "bubblewrap", "pip install ./plugins/omniagents-bubblewrap"),
        ("state_manager", "directory", "pip install ./plugins/omniagents-snapshot"),
        ("state_manager", "gcs", "pip install ./plugins/omniagents-snapshot ./plugins/omniagents-gcs"),
        ("state_manager", "git", "pip install ./plugins/omniagents-snapshot ./plugins/omniagents-git"),
        ("agent", "langchain", "pip install ./plugins/omniagents-langchain"),
        ("agent", "pydantic-ai", "pip install ./plugins/omniagents-pydantic-ai"),
        ("agent", "smolagents", "pip install ./plugins/omniagents-smolagents"),
    ],
)
def test_a_first_party_name_that_is_not_installed_gets_the_command(kind: Any, name: str, command: str) -> None:
    message = message_of(MissingPluginError, kind, name)
    distribution = command.rpartition("/")[2]
    assert message == (
        f"the {kind.replace('_', ' ')} {name!r} comes with the plugin {distribution}, which is not installed; "
        f"in a checkout of Omniagents run: {command}"
    )


def test_a_name_a_broken_plugin_goes_by_raises_from_the_cause(site_packages: SitePackages) -> None:
    install(site_packages, "acme-redis", "import no_such_sdk")
    with pytest.raises(BrokenPluginError) as raised:
        registry.resolve("state_manager", "redis")
    assert str(raised.value) == (
        "no state manager 'redis': plugin 'redis' (acme-redis 1.0) failed; "
        "loading acme_redis_plugin: ModuleNotFoundError: No module named 'no_such_sdk'"
    )
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_a_broken_first_party_plugin_is_known_by_what_it_provides(site_packages: SitePackages) -> None:
    install(site_packages, "omniagents-snapshot", "import no_such_sdk")
    assert "omniagents-snapshot 1.0) failed" in message_of(BrokenPluginError, "state_manager", "directory")


def test_a_component_with_a_bad_target_is_broken_by_its_own_name(site_packages: SitePackages) -> None:
    install(site_packages, "acme-stores", state_managers("('redis', 'no colon')", "('s3', 'acme:S3')"))
    assert message_of(BrokenPluginError, "state_manager", "redis") == (
        "no state manager 'redis': plugin 'stores' (acme-stores 1.0) failed; omniagents_register_state_managers: "
        "ValueError: the target of 'redis' is 'no colon', not 'package.module:Class'"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_sdk", "ModuleNotFoundError: No module named 'no_such_sdk'"),
        ("raise OSError('no licence')", "OSError: no licence"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("", "AttributeError: module 'acme_state' has no attribute 'Redis'"),
        ("Redis = 7", "TypeError: 7 is not a subclass of omniagents.state.base.StateManager"),
        (
            "class Redis: ...",
            "TypeError: <class 'acme_state.Redis'> is not a subclass of omniagents.state.base.StateManager",
        ),
    ],
)
def test_a_target_that_cannot_be_imported_raises_from_the_cause(
    site_packages: SitePackages, source: str, reason: str
) -> None:
    install(site_packages, "acme-redis", state_managers("('redis', 'acme_state:Redis')"), acme_state=source)
    with pytest.raises(BrokenPluginError) as raised:
        registry.resolve("state_manager", "redis")
    assert str(raised.value) == (
        "state manager 'redis' of plugin 'redis' (acme-redis 1.0) cannot be loaded: "
        f"importing acme_state:Redis: {reason}"
    )
    assert raised.value.__cause__ is not None


def test_two_plugins_with_one_name_are_an_error_naming_both(site_packages: SitePackages) -> None:
    install(site_packages, "acme-redis", state_managers("('redis', 'a:B')"))
    install(site_packages, "other-keyvalue", state_managers("('redis', 'c:D')"))
    assert message_of(DuplicateComponentError, "state_manager", "redis") == (
        "state manager 'redis' is registered by plugin 'redis' (acme-redis 1.0) and by "
        "plugin 'keyvalue' (other-keyvalue 1.0); uninstall one, or name its plugin in OMNIAGENTS_DISABLE_PLUGINS"
    )


def test_the_other_names_of_plugins_with_a_duplicate_keep_working(site_packages: SitePackages) -> None:
    source = "from omniagents.state import NoOpStateManager\nclass S3(NoOpStateManager): ..."
    install(site_packages, "acme-redis", state_managers("('redis', 'a:B')", "('s3', 'acme_s3:S3')"), acme_s3=source)
    install(site_packages, "other-keyvalue", state_managers("('redis', 'c:D')"))
    assert registry.resolve("state_manager", "s3").__name__ == "S3"


def test_disabling_one_of_two_plugins_settles_a_duplicate(
    site_packages: SitePackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from omniagents.state import NoOpStateManager\nclass Redis(NoOpStateManager): ..."
    install(site_packages, "acme-redis", state_managers("('redis', 'acme_state:Redis')"), acme_state=source)
    install(site_packages, "other-keyvalue", state_managers("('redis', 'c:D')"))
    monkeypatch.setenv("OMNIAGENTS_DISABLE_PLUGINS", "keyvalue")
    assert registry.resolve("state_manager", "redis").__name__ == "Redis"


def test_a_plugin_may_not_replace_a_built_in_silently(site_packages: SitePackages) -> None:
    install(site_packages, "acme-none", state_managers("('none', 'a:B')"))
    assert "plugin 'builtin' (omniagents " in message_of(DuplicateComponentError, "state_manager", "none")


def test_one_name_may_be_used_for_two_kinds(site_packages: SitePackages) -> None:
    source = "from omniagents.state import NoOpStateManager\nclass Local(NoOpStateManager): ..."
    install(site_packages, "acme-local", state_managers("('local', 'acme_state:Local')"), acme_state=source)
    assert registry.resolve("state_manager", "local").__name__ == "Local"


def test_a_name_of_a_disabled_plugin_says_that_it_is_disabled(
    site_packages: SitePackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site_packages, "omniagents-snapshot", state_managers("('directory', 'a:B')"))
    monkeypatch.setenv("OMNIAGENTS_DISABLE_PLUGINS", "snapshot")
    assert message_of(UnknownComponentError, "state_manager", "directory") == (
        "no state manager 'directory': plugin 'snapshot' (omniagents-snapshot 1.0) "
        "is disabled by OMNIAGENTS_DISABLE_PLUGINS"
    )


def test_an_unknown_kind_is_refused_with_the_kinds_there_are() -> None:
    assert message_of(ValueError, "backends", "local") == (
        "no kind of component 'backends'; kinds: backend, state_manager, tool, agent, preset"
    )


def test_a_class_in_place_of_a_name_is_refused() -> None:
    assert message_of(TypeError, "backend", int) == "the name of a backend is a string, not <class 'int'>"


# create


def test_create_names_the_wrong_options_the_missing_ones_and_the_valid_ones(site_packages: SitePackages) -> None:
    source = """
        from omniagents.state import NoOpStateManager

        class Redis(NoOpStateManager):
            def __init__(self, address, *, timeout_seconds=5): ...
    """
    install(site_packages, "acme-redis", state_managers("('redis', 'acme_state:Redis')"), acme_state=source)
    with pytest.raises(TypeError) as raised:
        registry.create("state_manager", "redis", timeout=3)
    assert str(raised.value) == (
        "state manager 'redis' takes no option 'timeout' (did you mean 'timeout_seconds'?) "
        "and needs the option 'address'. Options: address, timeout_seconds."
    )


def test_create_passes_any_option_to_a_class_that_takes_any(site_packages: SitePackages) -> None:
    source = """
        from omniagents.state import NoOpStateManager

        class Redis(NoOpStateManager):
            def __init__(self, **options):
                self.options = options
    """
    install(site_packages, "acme-redis", state_managers("('redis', 'acme_state:Redis')"), acme_state=source)
    assert registry.create("state_manager", "redis", kind="x", name="y").options == {"kind": "x", "name": "y"}


def test_a_type_error_inside_a_constructor_passes_through(site_packages: SitePackages) -> None:
    source = """
        from omniagents.state import NoOpStateManager

        class Redis(NoOpStateManager):
            def __init__(self):
                raise TypeError("from inside")
    """
    install(site_packages, "acme-redis", state_managers("('redis', 'acme_state:Redis')"), acme_state=source)
    with pytest.raises(TypeError, match=r"\Afrom inside\Z"):
        registry.create("state_manager", "redis")


# available


def test_available_describes_a_component_and_where_it_comes_from(site_packages: SitePackages) -> None:
    install(site_packages, "acme-redis", state_managers("('redis', 'acme:Redis', 'In Redis.')"))
    assert registry.available("state_manager")[-1] == ComponentRecord(
        kind="state_manager",
        name="redis",
        summary="In Redis.",
        plugin="redis",
        distribution="acme-redis",
        version="1.0",
        origin=str(site_packages.path),
        status="ready",
        error="",
    )


def test_available_is_sorted_by_kind_and_name(site_packages: SitePackages) -> None:
    install(site_packages, "acme-all", EVERY_KIND, acme_classes=CLASSES)
    listed = [(record.kind or "", record.name) for record in registry.available()]
    assert listed == sorted(listed)
    assert {kind for kind, _ in listed} == {"backend", "state_manager", "tool", "agent", "preset"}


def test_available_imports_no_target(site_packages: SitePackages) -> None:
    install(site_packages, "acme-all", EVERY_KIND, acme_classes="raise OSError('imported')")
    assert "vm" in [record.name for record in registry.available("backend")]
    assert "acme_classes" not in sys.modules


def test_available_lists_a_broken_plugin_under_every_kind(site_packages: SitePackages) -> None:
    install(site_packages, "acme-redis", "import no_such_sdk")
    for kind in ("backend", "tool"):
        record = registry.available(kind)[-1]
        assert (record.kind, record.name, record.status) == (None, "redis", "broken")
        assert record.error == "loading acme_redis_plugin: ModuleNotFoundError: No module named 'no_such_sdk'"


def test_available_lists_a_failed_hook_under_its_own_kind(site_packages: SitePackages) -> None:
    install(site_packages, "acme-redis", state_managers("('redis', 'no colon')"))
    record = registry.available("state_manager")[-1]
    assert (record.kind, record.name, record.status) == ("state_manager", "redis", "broken")
    assert "broken" not in [record.status for record in registry.available("tool")]


def test_available_lists_a_disabled_plugin(site_packages: SitePackages, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site_packages, "acme-redis", state_managers("('redis', 'a:B')"))
    monkeypatch.setenv("OMNIAGENTS_DISABLE_PLUGINS", "redis")
    record = registry.available("state_manager")[-1]
    assert (record.kind, record.name, record.status) == (None, "redis", "disabled")
    assert record.error == "disabled by OMNIAGENTS_DISABLE_PLUGINS"


def test_available_lists_both_of_a_duplicate(site_packages: SitePackages) -> None:
    install(site_packages, "acme-redis", state_managers("('redis', 'a:B')"))
    install(site_packages, "other-keyvalue", state_managers("('redis', 'c:D')"))
    both = [record for record in registry.available("state_manager") if record.name == "redis"]
    assert [(record.distribution, record.status) for record in both] == [
        ("other-keyvalue", "duplicate"),
        ("acme-redis", "duplicate"),
    ]
    assert "acme-redis 1.0" in both[0].error
    assert "other-keyvalue 1.0" in both[0].error


def test_available_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of component 'backends'"):
        omniagents.available("backends")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "component"), manager.plugins()[0].components)
def test_every_built_in_resolves(kind: Any, component: Component) -> None:
    assert registry.resolve(kind, component.name).__name__ == component.target.rpartition(":")[2]
