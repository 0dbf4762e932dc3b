"""The ``bubblewrap`` backend: a project's environment in Linux namespaces of its own, with no engine and no daemon."""
