"""Prepares a new container from within, as its root, before anything of the user's runs there; standard library only.

Its text is run by ``python3 -I -S`` in the container, with a call of ``prepare`` at its end. So it must run on Python
3.8, and imports little: ``json`` and ``socket`` alone would double its time. It prints what the kernel says of the
container's first process.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import struct

# linux/rtnetlink.h, linux/netlink.h, linux/neighbour.h, linux/fib_rules.h
_NEW_ROUTE, _NEW_NEIGHBOUR, _NEW_RULE = 24, 28, 32
_REQUEST_CREATE = 0x1 | 0x4 | 0x200 | 0x400
_TO_TABLE, _PROHIBIT = 1, 8
_DESTINATION, _PRIORITY, _TABLE, _DEVICE, _PROTOCOL, _PORTS = 1, 6, 15, 17, 22, 24
_MAIN = 254
_GATEWAY = 0x2  # RTF_GATEWAY of linux/route.h
_DEVICE_ADDRESS = 0x8927  # SIOCGIFHWADDR of linux/sockios.h

# A table of ours, and an address that is nobody's (RFC 7600, the dummy address), for what must not arrive.
_NOWHERE_TABLE, _NOWHERE = 199, "192.0.0.8"


def give_workspace(path: str, uid: int, gid: int, is_new: bool, marker: str) -> None:
    """Make a workspace belong to the guest's user; one that was another's changes hands as a whole.

    A new one gets ``marker``, which stays until it is filled: should the host die before, the next start fills it.
    """
    os.makedirs(path, exist_ok=True)
    status = os.lstat(path)
    if (status.st_uid, status.st_gid) == (uid, gid) and not is_new:
        return
    if is_new or not os.listdir(path):
        with open(os.path.join(path, marker), "wb"):
            pass
    for directory, folders, files in os.walk(path):
        for name in folders + files:
            os.lchown(os.path.join(directory, name), uid, gid)
    # Last: a preparation that was interrupted is repeated as a whole.
    os.chown(path, uid, gid)


def routes() -> tuple[list[str], list[str], list[tuple[str, int]]]:
    """Devices, the host's addresses on this network, and the networks of neighbours, from /proc/net/route."""
    devices, hosts, neighbours = set(), set(), set()
    with open("/proc/net/route") as table:
        for line in table.readlines()[1:]:
            device, destination, gateway, flags, _, _, _, mask = line.split()[:8]
            devices.add(device)
            if int(flags, 16) & _GATEWAY:
                hosts.add(_address(gateway))
            else:
                neighbours.add((_address(destination), bin(int(mask, 16)).count("1")))
    return sorted(devices), sorted(hosts), sorted(neighbours)


def name_servers() -> list[str]:
    """The IPv4 name servers the engine gave the container; Podman's is the host's own address."""
    with open("/etc/resolv.conf") as lines:
        words = [line.split() for line in lines if line.startswith("nameserver")]
    return [word[1] for word in words if len(word) > 1 and ":" not in word[1] and not word[1].startswith("127.")]


def _address(hexadecimal: str) -> str:
    return _socket.inet_ntoa(struct.pack("=I", int(hexadecimal, 16)))


def block(networks: tuple[str, ...]) -> None:
    """Refuse what is sent to the host, to neighbours and to ``networks``: at once, as EACCES.

    Names may be asked for: of the name servers the engine gave, and of any that is neither the host nor a neighbour.
    """
    devices, hosts, neighbours = routes()
    protocols = (_socket.IPPROTO_UDP, _socket.IPPROTO_TCP)
    rules = [(_TO_TABLE, server, 32, protocol) for server in name_servers() for protocol in protocols]
    rules += [(_PROHIBIT, host, 32, 0) for host in hosts]
    rules += [(_PROHIBIT, address, bits, 0) for address, bits in neighbours]
    rules += [(_TO_TABLE, "0.0.0.0", 0, protocol) for protocol in protocols]
    for network in networks:
        address, _, bits_text = network.partition("/")
        rules.append((_PROHIBIT, address, int(bits_text or 32), 0))
    kernel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, 0)
    for device in devices:
        _lead_nowhere(kernel, device)
    priority = 100
    for action, address, bits, protocol in rules:
        # To a socket that is bound to a device the kernel forgives a prohibited route: it takes the address for a
        # neighbour (net/ipv4/route.c). It must find a route then, to where nobody is.
        for device in devices if action == _PROHIBIT else ():
            _ask(kernel, _NEW_RULE, _rule(priority, _TO_TABLE, address, bits, 0, device))
            priority += 1
        _ask(kernel, _NEW_RULE, _rule(priority, action, address, bits, protocol))
        priority += 1
    kernel.close()


def _lead_nowhere(kernel: _socket.socket, device: str) -> None:
    """Route our table to a neighbour with this device's own address, which no bridge sends back to it."""
    index = _socket.if_nametoindex(device)
    own = fcntl.ioctl(kernel.fileno(), _DEVICE_ADDRESS, struct.pack("256s", device.encode()))[18:24]
    nowhere = _socket.inet_aton(_NOWHERE)
    permanent = struct.pack("=BBHiHBB", _socket.AF_INET, 0, 0, index, 0x80, 0, 0)
    _ask(kernel, _NEW_NEIGHBOUR, permanent + _attribute(1, nowhere) + _attribute(2, own))
    on_link = struct.pack("=8BI", _socket.AF_INET, 0, 0, 0, _NOWHERE_TABLE, 4, 0, 1, 4)
    _ask(kernel, _NEW_ROUTE, on_link + _attribute(5, nowhere) + _attribute(4, struct.pack("=i", index)))


def _rule(priority: int, action: int, address: str, bits: int, protocol: int, device: str = "") -> bytes:
    table = _NOWHERE_TABLE if device else _MAIN if protocol else 0
    attributes = _attribute(_PRIORITY, struct.pack("=I", priority))
    if bits:
        attributes += _attribute(_DESTINATION, _socket.inet_aton(address))
    if table:
        attributes += _attribute(_TABLE, struct.pack("=I", table))
    if device:
        attributes += _attribute(_DEVICE, device.encode() + b"\0")
    if protocol:
        attributes += _attribute(_PROTOCOL, struct.pack("=B", protocol))
        attributes += _attribute(_PORTS, struct.pack("=HH", 53, 53))
    return struct.pack("=8BI", _socket.AF_INET, bits, 0, 0, table, 0, 0, action, 0) + attributes


def _ask(kernel: _socket.socket, kind: int, body: bytes) -> None:
    kernel.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_CREATE, 1, 0) + body)
    code = -struct.unpack_from("=i", kernel.recv(4096), 16)[0]
    if code and code != errno.EEXIST:
        raise OSError(code, f"the network cannot be closed, request {kind}: {os.strerror(code)}")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def prepare(
    workspace: str, home: str, is_new: bool, marker: str, uid: int, gid: int, blocked: tuple[str, ...] | None
) -> None:
    """Do all of it.

    Args:
        is_new: So is the workspace; see ``give_workspace`` for ``marker``.
        blocked: IPv4 networks that nothing may be sent to; None for a container without a network.
    """
    if blocked is not None:
        block(blocked)
    os.chown(home, uid, gid)
    give_workspace(workspace, uid, gid, is_new, marker)
    with open("/proc/1/status") as status:
        print(status.read())
