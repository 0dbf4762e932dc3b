"""The one version of every distribution in this repository (lockstep)."""

__version__ = "0.5.0"
