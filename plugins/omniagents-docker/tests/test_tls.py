"""An engine on TCP with TLS on both sides: whole streams both ways at once, and what a stream does at its end."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from omniagents_docker.backend import DockerBackend
from omniagents_docker.warm_pool import WarmPool

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]


def _signed(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        .sign(by, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and cert.pem with key.pem for both sides, where the docker command looks for them."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(_signed("authority", authority, "authority", authority))
    (folder / "cert.pem").write_bytes(_signed("both", own, "authority", authority))
    (folder / "key.pem").write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.fixture(scope="module")
def tls_address(engine_address: str, certificates: Path) -> Iterator[str]:
    """The engine behind TLS that asks for the client's certificate, as dockerd's --tlsverify does."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    server = socket.create_server(("127.0.0.1", 0))
    door = _Door(server, context, engine_address.removeprefix("unix://"))
    door.start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    door.join()


class _Door(threading.Thread):
    """Takes TLS connections and passes their bytes on to a unix socket: one thread and one selector each."""

    def __init__(self, server: socket.socket, context: ssl.SSLContext, path: str) -> None:
        super().__init__(daemon=True)
        self._server, self._context, self._path = server, context, path

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as engine, connection:
            engine.connect(self._path)
            _relay(self._context, connection, engine)


def _relay(context: ssl.SSLContext, connection: socket.socket, engine: socket.socket) -> None:
    """Both ways, with the TLS of one side kept in memory, where a lock keeps the two threads apart."""
    incoming, outgoing, lock = ssl.MemoryBIO(), ssl.MemoryBIO(), threading.Lock()
    session = context.wrap_bio(incoming, outgoing, server_side=True)

    def flush() -> None:
        connection.sendall(outgoing.read())

    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            flush()
            incoming.write(connection.recv(65536) or b"broken")
    flush()

    def to_client() -> None:
        with contextlib.suppress(OSError):
            while data := engine.recv(65536):
                with lock:
                    session.write(data)
                    flush()
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=to_client, daemon=True)
    back.start()
    with contextlib.suppress(OSError):
        data = b""  # the end of the handshake may have brought the first request with it
        while True:
            plain = b""
            with lock:
                incoming.write(data)
                with contextlib.suppress(ssl.SSLWantReadError):
                    while piece := session.read(65536):
                        plain += piece
            engine.sendall(plain)
            data = connection.recv(65536)
            if not data:
                break
    with contextlib.suppress(OSError):
        engine.shutdown(socket.SHUT_RDWR)
    back.join()


@pytest.fixture(autouse=True)
def _client(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    # As on machines behind a proxy of a company's; the engine's authority is another.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or "/nowhere.pem")


def test_much_goes_both_ways_at_once(new_backend: NewBackend, tls_address: str) -> None:
    backend = new_backend(docker_host=tls_address)
    backend.start()
    data = bytes(range(256)) * 40_000
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(backend.workspace.run(["cat"], input=data).stdout))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for number in range(50):
        assert backend.workspace.run(f"echo {number}").stdout == b"%d\n" % number
    for thread in threads:
        thread.join()
    assert answers == [data] * 4
    backend.shutdown()


def test_an_engine_without_our_certificate_is_refused(
    new_backend: NewBackend, tls_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omniagents.errors import BackendStartError

    monkeypatch.delenv("DOCKER_TLS_VERIFY")
    monkeypatch.delenv("DOCKER_CERT_PATH")
    with pytest.raises(BackendStartError, match="no Docker Engine at tcp://"):
        new_backend(docker_host=tls_address).start()


def test_warm_containers_wait_behind_tls_too(new_backend: NewBackend, tls_address: str, project_id: str) -> None:
    with WarmPool(1, docker_host=tls_address, image="omniagents-test:python") as pool:
        assert pool.wait_until_full(60)
        waiting = pool._ready[0].container.id
        backend = new_backend(docker_host=tls_address, warm_pool=pool)
        backend.start()
        assert backend._container is not None
        assert backend._container.id == waiting
        backend.shutdown()
