"""Every exception Omniagents raises.

OmniagentsError
├── PluginError
│   ├── MissingPluginError (ImportError)       known name, its distribution is not installed
│   ├── BrokenPluginError (ImportError)        installed, but it failed to load
│   ├── UnknownComponentError (LookupError)    nobody registers this name
│   └── DuplicateComponentError                two plugins register one name
├── InvalidProjectIdError (ValueError)
├── BackendError
│   ├── BackendNotStartedError                 start() was not called, or shutdown() was
│   ├── BackendStartError                      the environment could not be made usable
│   ├── BackendUnavailableError                the environment died under a running backend
│   │   └── GuestDiedError                     only the guest died; the next call reconnects
│   └── ProjectInUseError                      another living backend owns the project
├── WorkspaceError
│   ├── PathOutsideWorkspaceError (PermissionError)
│   ├── WriteConflictError                     compare-and-swap: the file is not what was expected
│   └── GuestCallError                         the guest refused a request; carries its code
├── StateError
│   ├── SaveFailedError                        shutdown() could not save; the environment is kept
│   ├── SnapshotNotFoundError (LookupError)
│   ├── StateConflictError                     another writer saved first
│   ├── StateCorruptError                      stored data fails its check
│   ├── StateQuotaError                        the workspace is over a configured limit
│   ├── StateConfigurationError (ValueError)   no such storage, or none was named
│   ├── StateAccessError                       the storage refuses the credentials, or there are none
│   └── StateUnavailableError                  the storage did not answer in time
└── AgentError                              a run ended without an answer; has what was done so far
    ├── StepLimitError                     as many turns of the model as max_steps allows were not enough
    └── ModelError                         the model, its provider or the way there failed

Missing, unreadable or mistyped files are the builtin ``FileNotFoundError``,
``IsADirectoryError``, ``PermissionError``… with the path in ``filename``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagents.agents.records import AgentResult

__all__ = [
    "AgentError",
    "BackendError",
    "BackendNotStartedError",
    "BackendStartError",
    "BackendUnavailableError",
    "BrokenPluginError",
    "DuplicateComponentError",
    "GuestCallError",
    "GuestDiedError",
    "InvalidProjectIdError",
    "MissingPluginError",
    "ModelError",
    "OmniagentsError",
    "PathOutsideWorkspaceError",
    "PluginError",
    "ProjectInUseError",
    "SaveFailedError",
    "SnapshotNotFoundError",
    "StateAccessError",
    "StateConfigurationError",
    "StateConflictError",
    "StateCorruptError",
    "StateError",
    "StateQuotaError",
    "StateUnavailableError",
    "StepLimitError",
    "UnknownComponentError",
    "WorkspaceError",
    "WriteConflictError",
]


class OmniagentsError(Exception):
    """Base of everything this package raises on its own account."""


class PluginError(OmniagentsError):
    """A component could not be found or loaded."""


class MissingPluginError(PluginError, ImportError):
    """A first-party plugin exists for this name but is not installed."""


class BrokenPluginError(PluginError, ImportError):
    """A plugin is installed but raised while loading; ``__cause__`` is what it raised."""


class UnknownComponentError(PluginError, LookupError):
    """No installed plugin registers this name."""


class DuplicateComponentError(PluginError):
    """Two plugins register the same name for the same kind."""


class InvalidProjectIdError(OmniagentsError, ValueError):
    """A project id must be a non-empty string of at most 200 characters."""


class BackendError(OmniagentsError):
    """Something about the environment, not about the work done in it."""


class BackendNotStartedError(BackendError):
    """The backend is not running: call ``start()``, or use it as a context manager."""


class BackendStartError(BackendError):
    """The environment could not be created, or cannot run the guest."""


class BackendUnavailableError(BackendError):
    """The environment of a running backend is gone; only a new ``start()`` makes another."""


class GuestDiedError(BackendUnavailableError):
    """The guest was killed or stopped answering. The effect of the call is unknown; the next call reconnects."""


class ProjectInUseError(BackendError):
    """Another living backend owns this project; the message names the holder."""


class WorkspaceError(OmniagentsError):
    """A request about files or commands was understood and refused."""


class PathOutsideWorkspaceError(WorkspaceError, PermissionError):
    """The path, with every link resolved, is not inside the workspace."""


class WriteConflictError(WorkspaceError):
    """A conditional write found other content than expected; nothing was written."""


class GuestCallError(WorkspaceError):
    """The guest refused a request.

    Attributes:
        code: One of the stable codes of the tools (``INVALID_REGEX``…), or ``INTERNAL``.
        details: What the guest said besides the message; JSON values only.
    """

    def __init__(self, message: str, *, code: str, details: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details or {}


class StateError(OmniagentsError):
    """A snapshot could not be saved, found or read."""


class SaveFailedError(StateError):
    """``shutdown()`` could not save. The environment is kept; the message says how to retry or discard."""


class SnapshotNotFoundError(StateError, LookupError):
    """The project has no snapshot with this id."""


class StateConflictError(StateError):
    """Another writer saved this project first; the message names both snapshots."""


class StateCorruptError(StateError):
    """Stored data is missing or does not match its digest."""


class StateQuotaError(StateError):
    """The workspace is larger than the configured limit."""


class StateConfigurationError(StateError, ValueError):
    """The storage was not named, or does not exist as named; the message says which setting to change."""


class StateAccessError(StateError):
    """The storage refuses these credentials, or there are none; the message names the grant that is missing."""


class StateUnavailableError(StateError):
    """The storage did not answer in time, retries included. A write may or may not have taken effect."""


class AgentError(OmniagentsError):
    """An agent's run ended without an answer. The workspace stays as it is, and is saved like any other.

    Attributes:
        result: What was done so far: tool calls, usage and messages; its output is empty or what the model said last.
    """

    def __init__(self, message: str, *, result: AgentResult) -> None:
        super().__init__(message)
        self.result = result


class StepLimitError(AgentError):
    """The model has had ``max_steps`` turns and wants more; run again to go on in the same workspace."""


class ModelError(AgentError):
    """The model, its provider or the way there failed; ``__cause__`` is what the framework raised."""
