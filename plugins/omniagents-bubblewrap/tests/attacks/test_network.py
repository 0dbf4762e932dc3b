"""Reaching anything: the host's loopback, cloud metadata, the engine's socket, the local network."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def host_port() -> Iterator[int]:
    """A server on the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# Databases, debuggers, browsers' and editors' servers listen on loopback without a password.
def test_the_hosts_loopback_is_out_of_reach(sandbox, attack, host_port: int) -> None:
    assert attack(sandbox, f"tell(attempt(socket.create_connection, ('127.0.0.1', {host_port}), 5))") == "ECONNREFUSED"


# CVE-2020-15257: abstract UNIX sockets belong to the network namespace; containerd's shim listened on one.
def test_abstract_sockets_of_the_host_are_out_of_reach(sandbox, attack) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0omniagents attack")
        server.listen()
        told = attack(sandbox, "tell(attempt(socket.socket(socket.AF_UNIX).connect, '\\0omniagents attack'))")
    assert told == "ECONNREFUSED"


# The metadata address gives a cloud machine's credentials to whoever asks (Capital One, 2019); others are its
# neighbours.
@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "10.0.0.1", "192.168.1.1", "172.17.0.1", "1.1.1.1"]
)
def test_no_address_is_reachable(sandbox, attack, address: str) -> None:
    assert attack(sandbox, f"tell(attempt(socket.create_connection, ('{address}', 80), 5))") == "ENETUNREACH"


# DNS as a way out, when TCP is closed.
def test_no_name_is_resolved(sandbox) -> None:
    assert sandbox.workspace.run(["getent", "hosts", "example.com"]).exit_code != 0


# Raw and packet sockets: forging and listening; vsock: the hypervisor; netlink: the firewall; AF_ALG: kernel crypto
# (CVE-2019-8912).
def test_only_harmless_kinds_of_sockets(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
kinds = [(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_PACKET, socket.SOCK_RAW, 0), (40, socket.SOCK_STREAM, 0),
         (socket.AF_NETLINK, socket.SOCK_RAW, 12), (38, socket.SOCK_SEQPACKET, 0)]
tell([attempt(socket.socket, *kind) for kind in kinds])
""",
    )
    assert told == ["EPERM", "EAFNOSUPPORT", "EAFNOSUPPORT", "EPROTONOSUPPORT", "EAFNOSUPPORT"]


# The new namespace's own interface is up: programs may talk to themselves.
def test_its_own_loopback_works(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
server = socket.create_server(("127.0.0.1", 0))
tell(attempt(socket.create_connection, server.getsockname(), 5))
""",
    )
    assert told == "worked"


# Documented, and asked for by name: network="host" is the host's network, its loopback included.
def test_a_documented_limit_the_hosts_network_includes_its_loopback(make, attack, host_port: int) -> None:
    with make(network="host") as backend:
        assert attack(backend, f"tell(attempt(socket.create_connection, ('127.0.0.1', {host_port}), 5))") == "worked"
