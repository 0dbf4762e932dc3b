"""Registers the ``memory`` state manager. Imports nothing heavy: this module runs whenever plugins are listed."""

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_state_managers() -> list[Component]:
    return [
        Component(
            name="memory",
            target="omniagents_memory_state.state_manager:MemoryStateManager",
            summary="Snapshots in the memory of this process; gone when it ends.",
        )
    ]
