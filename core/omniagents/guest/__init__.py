"""The program that runs inside every environment: files, search and processes.

Standard library only, Python 3.8 or newer, and delivered over the byte stream
that the backend opens (see ``loader``): nothing is installed or written. The
modules import each other relatively, because inside the environment the package
goes by another name. The host imports only ``protocol`` (both sides speak it)
and, in its own tests, the pure parts.
"""
