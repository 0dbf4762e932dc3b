"""The ``docker`` backend: one hardened container for each project, on Docker Engine or Podman."""
