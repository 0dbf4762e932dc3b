"""Reaching anything: the host's loopback, cloud metadata, other tenants, the local network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

_SERVE = """
import socket, sys
server = socket.create_server(("0.0.0.0", 8000))
print("up", flush=True)
while True: server.accept()[0].close()
"""


@pytest.fixture
def host_port() -> Iterator[int]:
    """A server on the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def open_port() -> Iterator[int]:
    """A server on every address of the host's."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


def reached(attack: Any, backend: Any, address: str, port: int) -> Any:
    return attack(backend, f"tell(attempt(socket.create_connection, ('{address}', {port}), 5))")


# Databases, debuggers, browsers' and editors' servers listen on loopback without a password.
def test_the_hosts_loopback_is_out_of_reach(sandbox, attack, host_port: int) -> None:
    assert reached(attack, sandbox, "127.0.0.1", host_port) == "ECONNREFUSED"


# Names under which container tools offer their host, and the address that some kernels route to it (0.0.0.0).
@pytest.mark.parametrize("name", ["host.docker.internal", "gateway.docker.internal", "host.containers.internal"])
def test_the_host_has_no_name(sandbox, name: str) -> None:
    assert sandbox.workspace.run(["getent", "hosts", name]).exit_code != 0


def test_the_address_0_is_its_own(sandbox, attack, open_port: int) -> None:
    assert reached(attack, sandbox, "0.0.0.0", open_port) == "ECONNREFUSED"


# What listens on all of the host's addresses is on the bridge's too: the engine's own API (2375), for one.
@pytest.mark.only("docker")
def test_the_hosts_address_on_the_bridge_is_refused(arena, sandbox, attack, open_port: int) -> None:
    gateway = arena.container(sandbox)["NetworkSettings"]["Networks"]["omniagents"]["Gateway"]
    with socket.create_connection((gateway, open_port)):  # from here it works
        assert [reached(attack, sandbox, gateway, port) for port in (open_port, 2375, 53)] == ["EACCES"] * 3


# Documented: an address of the host's in no private range is reachable like any other, unless it is named.
@pytest.mark.only("docker")
def test_an_address_of_the_hosts_that_is_named_is_refused(make, attack, open_port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: tells which of our addresses leads outside
        own = probe.getsockname()[0]
    with make(blocked_networks=(f"{own}/32",)) as backend:
        assert reached(attack, backend, own, open_port) == "EACCES"


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
    "address",
    ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "10.0.0.1",
     "192.168.1.1", "172.17.0.1", "172.18.0.1", "198.18.0.1"],
)  # fmt: skip
def test_neither_metadata_nor_the_local_network_is_reachable(arena, sandbox, attack, address: str) -> None:
    told = reached(attack, sandbox, address, 80)
    assert told in {"bubblewrap": ("ENETUNREACH",), "docker": ("EACCES", "EADDRNOTAVAIL", "ENETUNREACH")}[arena.name]


# The rules that refuse are in the container's own network namespace: whoever may change them, opens it.
@pytest.mark.only("docker")
def test_the_rules_of_the_network_cannot_be_changed(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
answers = []
for kind, flags in ((33, 0), (32, 0x600), (25, 0)):  # RTM_DELRULE, RTM_NEWRULE, RTM_DELROUTE
    body = struct.pack("=8BI", socket.AF_INET, 0, 0, 0, 254, 0, 0, 1, 0)
    kernel.send(struct.pack("=IHHII", 16 + len(body), kind, 0x5 | flags, 1, 0) + body)
    answers.append(errno.errorcode[-struct.unpack_from("=i", kernel.recv(4096), 16)[0]])
tell(answers + [attempt(socket.create_connection, ("169.254.169.254", 80), 5)])
""",
    )
    assert told == ["EPERM", "EPERM", "EPERM", "EACCES"]


# Binding to a device, marking or source-routing packets are ways around rules of routing: to an address that a rule
# prohibits, Linux sends from a bound socket as if it were a neighbour's, and the host answers for all of its addresses.
@pytest.mark.only("docker")
def test_no_socket_option_leads_around_the_rules(arena, sandbox, attack, open_port: int) -> None:
    gateway = arena.container(sandbox)["NetworkSettings"]["Networks"]["omniagents"]["Gateway"]
    told = attack(
        sandbox,
        f"gateway, port = {gateway!r}, {open_port}"
        """
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); own.connect(("1.1.1.1", 9)); address = own.getsockname()[0]
index = struct.pack("i", socket.if_nametoindex("eth0"))
route = bytes([131, 11, 4]) + socket.inet_aton("1.1.1.1") + socket.inet_aton(gateway) + bytes(1)
options = [(socket.SOL_SOCKET, 25, b"eth0" + bytes(1)), (socket.SOL_SOCKET, 62, index), (socket.SOL_SOCKET, 36, 1),
           (socket.SOL_SOCKET, 5, 1), (0, socket.IP_TOS, 0x10), (0, 50, struct.pack("!i", 2)), (0, 4, route)]
def connect(option, target):
    with socket.socket() as one:
        try:
            one.setsockopt(*option)
        except OSError as error:
            return errno.errorcode[error.errno]
        one.settimeout(1)
        return attempt(one.connect, target)
def from_own(port):
    return attempt(socket.create_connection, (gateway, port), 1, (address, port))
tell([connect(option, target) for option in options for target in ((gateway, port), ("169.254.169.254", 80))]
     + [from_own(0), from_own(53)])
""",
    )
    assert "worked" not in told
    assert "ECONNREFUSED" not in told


# The same for one datagram, by the device that it names for itself (IP_PKTINFO).
@pytest.mark.only("docker")
def test_no_datagram_leads_around_the_rules(arena, sandbox, attack) -> None:
    gateway = arena.container(sandbox)["NetworkSettings"]["Networks"]["omniagents"]["Gateway"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("0.0.0.0", 0))
        listener.setblocking(False)
        attack(
            sandbox,
            f"target = ({gateway!r}, {listener.getsockname()[1]})"
            """
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
info = struct.pack("i", socket.if_nametoindex("eth0")) + bytes(8)
tell(attempt(one.sendmsg, [b"hello"], [(0, 8, info)], 0, target))
""",
        )
        assert attack(sandbox, "import time; time.sleep(0.2); tell(1)") == 1
        with pytest.raises(BlockingIOError):
            listener.recv(10)


# Other tenants' servers: a debugger, a database, a notebook without a password.
def test_a_server_of_another_tenant_is_out_of_reach(arena, make, attack) -> None:
    with make("alice attacks") as alice, make("bob serves") as bob:
        up = "until grep -q up /tmp/up; do :; done"
        bob.workspace.run(f"python3 -c '{_SERVE}' > /tmp/up & {up}")
        assert reached(attack, bob, "127.0.0.1", 8000) == "worked"
        assert reached(attack, alice, "127.0.0.1", 8000) == "ECONNREFUSED"
        if arena.name == "docker":
            network = arena.container(bob)["NetworkSettings"]["Networks"]["omniagents"]
            assert reached(attack, alice, network["IPAddress"], 8000) == "EACCES"
            assert reached(attack, alice, network["IPAddress"], 53) == "EACCES"


# Documented: the engine's name server tells who knows another container's id that it runs, and its address.
@pytest.mark.only("docker")
def test_a_documented_limit_names_of_containers_resolve_and_lead_nowhere(arena, make, attack) -> None:
    with make("alice attacks") as alice, make("bob serves") as bob:
        found = arena.container(bob)
        said = alice.workspace.run(["getent", "hosts", found["Id"][:12]]).stdout_text.split()
        assert said[0] == found["NetworkSettings"]["Networks"]["omniagents"]["IPAddress"]
        assert reached(attack, alice, said[0], 8000) == "EACCES"


# Without a network there is none, public or not.
@pytest.mark.parametrize("address", ["1.1.1.1", "169.254.169.254", "10.0.0.1", "172.17.0.1", "2606:4700::1111"])
def test_without_a_network_no_address_is_reachable(cut_off, attack, address: str) -> None:
    assert reached(attack, cut_off, address, 80) in ("ENETUNREACH", "EADDRNOTAVAIL")


# DNS as a way out, when TCP is closed.
def test_without_a_network_no_name_is_resolved(cut_off) -> None:
    assert cut_off.workspace.run(["getent", "hosts", "example.com"], timeout_seconds=30).exit_code != 0


# Raw and packet sockets: forging and listening to what belongs to others (ARP spoofing on the bridge).
def test_no_raw_and_no_packet_sockets(sandbox, attack) -> None:
    kinds = "(socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_INET6, socket.SOCK_RAW, 58), (socket.AF_PACKET, 3, 3)"
    told = attack(sandbox, f"tell([attempt(socket.socket, *kind) for kind in ({kinds})])")
    assert set(told) <= {"EPERM", "EAFNOSUPPORT"}


# vsock: the hypervisor; netlink: the firewall; AF_ALG: kernel crypto (CVE-2019-8912). Docker's own filter decides
# there, by its version: documented.
@pytest.mark.only("bubblewrap")
def test_only_harmless_kinds_of_sockets(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
kinds = [(40, socket.SOCK_STREAM, 0), (socket.AF_NETLINK, socket.SOCK_RAW, 12), (38, socket.SOCK_SEQPACKET, 0)]
tell([attempt(socket.socket, *kind) for kind in kinds])
""",
    )
    assert told == ["EAFNOSUPPORT", "EPROTONOSUPPORT", "EAFNOSUPPORT"]


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
@pytest.mark.only("bubblewrap")
def test_a_documented_limit_the_hosts_network_includes_its_loopback(make, attack, host_port: int) -> None:
    with make(network="host") as backend:
        assert reached(attack, backend, "127.0.0.1", host_port) == "worked"
