"""What code in a container can and cannot do."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from omniagents.errors import BackendStartError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.naming import container_name

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def running(backend_factory: Callable[..., DockerBackend]) -> object:
    with backend_factory(project_id=f"docker hardening {uuid.uuid4()}") as backend:
        yield backend


def printed(backend: DockerBackend, command: str) -> str:
    return backend.workspace.run(command, merge_streams=True).stdout_text


def test_no_process_has_a_capability_or_can_gain_one(running: DockerBackend) -> None:
    status = printed(running, "grep -hE '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/1/status /proc/self/status")
    assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}
    assert status.count("NoNewPrivs:\t1") == 2
    assert status.count("Seccomp:\t2") == 2


def test_only_workspace_home_and_temporary_directories_are_writable(running: DockerBackend) -> None:
    for place in ("/workspace", "~", "/tmp", "/var/tmp", "/dev/shm"):
        assert printed(running, f"touch {place}/x && echo written") == "written\n"
    for place in ("/", "/etc", "/usr/bin", "/var", "/run"):
        assert "Read-only file system" in printed(running, f"touch {place}/x") or "denied" in printed(
            running, f"touch {place}/x"
        )


def test_commands_run_as_a_user_without_rights(running: DockerBackend) -> None:
    assert printed(running, "id -u; id -g; id -G; echo $HOME") == "1000\n1000\n1000\n/home/agent\n"


def test_neither_mounts_nor_namespaces_nor_raw_sockets(running: DockerBackend) -> None:
    mount = "import ctypes; print(ctypes.CDLL(None, use_errno=True).mount(b'none', b'/tmp', b'tmpfs', 0, None))"
    assert printed(running, f'python3 -c "{mount}"') == "-1\n"
    assert "not permitted" in printed(running, "unshare --user true")
    raw = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"
    assert "PermissionError" in printed(running, f"python3 -c '{raw}'")


def test_limits_are_what_the_profile_says(new_backend: NewBackend, engine: Engine, project_id: str) -> None:
    backend = new_backend(hardening=HardeningProfile(pids=77, open_files=1234, memory_bytes=300 << 20, cpus=0.5))
    backend.start()
    found = engine.inspect(container_name(project_id))
    assert found is not None
    host = found["HostConfig"]
    assert (host["PidsLimit"], host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (
        77,
        300 << 20,
        300 << 20,
        500_000_000,
    )
    assert printed(backend, "ulimit -n; ulimit -c") == "1234\n0\n"


@pytest.mark.parametrize("address", ["169.254.169.254 80", "100.100.100.200 80", "10.0.0.1 443", "192.168.1.1 80"])
def test_metadata_services_and_private_networks_are_refused_at_once(running: DockerBackend, address: str) -> None:
    result = running.workspace.run(["python3", "-c", _CONNECT, *address.split()])
    assert result.stdout == b"PermissionError\n"


@pytest.mark.parametrize("port", ["22", "53", "2375"])
def test_the_hosts_gateway_address_is_refused_on_every_port(running: DockerBackend, engine: Engine, port: str) -> None:
    found = engine.inspect(container_name(running.project_id))
    assert found is not None
    gateway = found["NetworkSettings"]["Networks"]["omniagents"]["Gateway"]
    assert running.workspace.run(["python3", "-c", _CONNECT, gateway, port]).stdout == b"PermissionError\n"


def test_containers_do_not_reach_each_other(running: DockerBackend, new_backend: NewBackend, engine: Engine) -> None:
    other = new_backend(hardening=HardeningProfile(blocked_networks=()))
    other.start()
    server = "import socket,time;s=socket.create_server(('0.0.0.0',8000));print('up',flush=True);time.sleep(300)"
    running.workspace.run(f'python3 -c "{server}" > /tmp/up & until grep -q up /tmp/up; do :; done')
    found = engine.inspect(container_name(running.project_id))
    assert found is not None
    address = found["NetworkSettings"]["Networks"]["omniagents"]["IPAddress"]
    assert other.workspace.run(["python3", "-c", _CONNECT, address, "8000"]).stdout == b"PermissionError\n"
    assert running.workspace.run(["python3", "-c", _CONNECT, "127.0.0.1", "8000"]).stdout == b"connected\n"


def test_without_a_network_there_is_the_loopback_interface_only(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(network="none"))
    backend.start()
    assert printed(backend, "ls /sys/class/net") == "lo\n"


def test_the_rules_of_the_network_cannot_be_removed_from_inside(running: DockerBackend) -> None:
    delete = "import socket;s=socket.socket(socket.AF_NETLINK,socket.SOCK_RAW,0);s.send(bytes(28))"
    printed(running, f"python3 -c '{delete}'")
    result = running.workspace.run(["python3", "-c", _CONNECT, "169.254.169.254", "80"])
    assert result.stdout == b"PermissionError\n"


def test_a_runtime_the_engine_does_not_know_is_an_error_at_start(new_backend: NewBackend) -> None:
    with pytest.raises(BackendStartError, match="runsc-not-here"):
        new_backend(hardening=HardeningProfile(oci_runtime="runsc-not-here")).start()


def test_another_seccomp_profile_is_passed_on(new_backend: NewBackend) -> None:
    profile = '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getpriority"],"action":"SCMP_ACT_ERRNO"}]}'
    backend = new_backend(hardening=HardeningProfile(seccomp=profile))
    backend.start()
    assert "PermissionError" in printed(backend, "python3 -c 'import os; os.getpriority(0, 0)'")


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match='network is "bridge" or "none"'):
        HardeningProfile(network="host")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seccomp"):
        HardeningProfile(seccomp="unconfined")
    with pytest.raises(ValueError, match="pids"):
        HardeningProfile(pids=0)


def test_every_field_of_the_profile_is_documented() -> None:
    assert HardeningProfile.__doc__ is not None
    missing = [name for name in HardeningProfile().as_values() if f"        {name}: " not in HardeningProfile.__doc__]
    assert missing == []


def test_an_image_with_an_old_python_of_another_release_works(new_backend: NewBackend) -> None:
    backend = new_backend(image="omniagents-test:python3.9")
    backend.start()
    assert printed(backend, "python3 -c 'import sys; print(sys.version_info[:2])'") == "(3, 9)\n"


def test_a_user_that_is_root_has_no_capability_either(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(uid=0, gid=0))
    backend.start()
    assert printed(backend, "id -u; grep CapEff /proc/self/status") == "0\nCapEff:\t" + "0" * 16 + "\n"
    backend.workspace.write_bytes("a.txt", b"x")


def test_network_and_runtime_are_arguments_of_the_backend_too() -> None:
    profile = HardeningProfile(memory_bytes=1 << 30, network="bridge")
    backend = DockerBackend("a project", hardening=profile, network="none", oci_runtime="runsc")
    assert (backend.hardening.network, backend.hardening.oci_runtime) == ("none", "runsc")
    assert backend.hardening.memory_bytes == 1 << 30
    assert DockerBackend("a project", hardening=profile).hardening == profile
