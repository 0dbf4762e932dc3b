"""What a person reads when Cloud Storage refuses: which grant or which setting is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents.errors import StateAccessError, StateConfigurationError, StateError
from omniagents_gcs.store import GCSStore

pytestmark = pytest.mark.service

CURE = (
    "Grant roles/storage.objectUser: `gcloud storage buckets add-iam-policy-binding gs://sessions "
    "--member={who} --role=roles/storage.objectUser`"
)
CREDENTIALS = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, run "
    "`gcloud auth application-default login`, or run on Google Cloud with a service account attached"
)


def said_of(store: GCSStore, call: Callable[[GCSStore], object], kind: type[StateError]) -> str:
    """The message of the error that ``call`` ends with."""
    with pytest.raises(StateError) as caught:
        call(store)
    assert type(caught.value) is kind
    return str(caught.value)


FORBIDDEN: dict[str, tuple[Callable[[GCSStore], object], str, str]] = {
    "get": (lambda store: store.get("p/x"), "read 'p/x'", "get"),
    "head": (lambda store: store.head("p/x"), "read 'p/x'", "get"),
    "list": (lambda store: list(store.list("p/")), "list 'p/'", "list"),
    "put_new": (lambda store: store.put_new("p/x", b""), "write 'p/x'", "create"),
    "cas, new": (lambda store: store.cas("p/x", b"", None), "replace 'p/x'", "create"),
    "cas": (lambda store: store.cas("p/x", b"", "5"), "replace 'p/x'", "create and storage.objects.delete"),
    "delete": (lambda store: store.delete("p/x"), "delete 'p/x'", "delete"),
    "copy": (lambda store: store.copy_new("p/x", "p/y"), "copy 'p/x'", "get and storage.objects.create"),
}


@pytest.mark.parametrize(("call", "what", "lacking"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_a_call_that_is_forbidden_says_which_permissions_it_takes(
    store: GCSStore,
    server: FaultServer,
    pauses: list[float],
    call: Callable[[GCSStore], object],
    what: str,
    lacking: str,
) -> None:
    server.faults.add(Fault("status", status=403, reason="forbidden", message="no"))
    assert said_of(store, call, StateAccessError) == (
        f"could not {what} in 'gs://sessions/prefix': no; the credentials lack storage.objects.{lacking}. "
        + CURE.format(who="serviceAccount:ACCOUNT")
    )
    assert pauses == []


@pytest.mark.parametrize(
    ("account", "member"),
    [
        ("bot@proj.iam.gserviceaccount.com", "serviceAccount:bot@proj.iam.gserviceaccount.com"),
        ("alice@example.com", "user:alice@example.com"),
    ],
)
def test_the_permission_and_the_account_are_those_that_the_server_names(
    store: GCSStore, server: FaultServer, account: str, member: str
) -> None:
    message = (
        f"{account} does not have storage.objects.delete access to the Google Cloud Storage object. Permission "
        "'storage.objects.delete' denied on resource (or it may not exist)."
    )
    server.faults.add(Fault("status", status=403, reason="forbidden", message=message))
    assert said_of(store, lambda store: store.cas("p/HEAD", b"", "5"), StateAccessError) == (
        f"could not replace 'p/HEAD' in 'gs://sessions/prefix': {message}; the credentials lack "
        f"storage.objects.delete. {CURE.format(who=member)}"
    )


def test_credentials_that_are_not_accepted(store: GCSStore, server: FaultServer) -> None:
    server.faults.add(Fault("status", status=401, reason="authError", message="Invalid Credentials", times=5))
    said = said_of(store, lambda store: store.head("p/x"), StateAccessError)
    assert said.endswith(f"the credentials are not accepted: {CREDENTIALS}")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("p/x"),
        lambda store: store.read_versioned("p/x"),
        lambda store: store.head("p/x"),
        lambda store: list(store.list("p/")),
        lambda store: store.put_new("p/x", b""),
        lambda store: store.put_new("p/x", bytes(9 << 20)),
        lambda store: store.cas("p/x", b"", None),
        lambda store: store.cas("p/x", b"", "5"),
        lambda store: store.delete("p/x"),
        lambda store: store.copy_new("p/x", "p/y"),
    ],
    ids=["get", "read_versioned", "head", "list", "put_new", "a pack", "cas, new", "cas", "delete", "copy"],
)
@pytest.mark.parametrize("where", ["emulator", "server"])
def test_a_bucket_that_is_not_there(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    call: Callable[[GCSStore], object],
) -> None:
    found = request.getfixturevalue(where)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", found.url if isinstance(found, FaultServer) else found)
    said = said_of(GCSStore("no-such-bucket"), call, StateConfigurationError)
    assert " in 'gs://no-such-bucket': there is no bucket 'no-such-bucket' (" in said
    assert said.endswith(
        "; create it with `gcloud storage buckets create gs://no-such-bucket`, "
        "or name another by bucket= or BUCKET_OMNIAGENTS"
    )


def test_a_bucket_that_is_deleted_under_a_store_is_not_an_empty_one(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"")
    server.buckets.objects.clear()
    said_of(store, lambda store: store.read_versioned("p/HEAD"), StateConfigurationError)


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (400, "required", "Bucket is a requester pays bucket but no user project provided."),
        (400, "invalid", "User project specified in the request is invalid."),
        (403, "accountDisabled", "The billing account for the owning project is disabled in state absent"),
        (403, "SERVICE_DISABLED", "Cloud Storage API has not been used in project 7 before or it is disabled."),
    ],
)
def test_a_wrong_project(store: GCSStore, server: FaultServer, status: int, reason: str, message: str) -> None:
    server.faults.add(Fault("status", status=status, reason=reason, message=message))
    assert said_of(store, lambda store: store.head("p/x"), StateConfigurationError) == (
        f"could not read 'p/x' in 'gs://sessions/prefix': {message}; name the project that pays for requests by "
        "user_project=, and look at project=, GOOGLE_CLOUD_PROJECT and the quota project of the credentials"
    )


def test_a_project_that_may_not_be_billed(store: GCSStore, server: FaultServer) -> None:
    message = "alice@example.com does not have serviceusage.services.use access to the Google Cloud project."
    server.faults.add(Fault("status", status=403, reason="forbidden", message=message))
    assert said_of(store, lambda store: store.head("p/x"), StateAccessError) == (
        f"could not read 'p/x' in 'gs://sessions/prefix': {message}; grant roles/serviceusage.serviceUsageConsumer on "
        "the project that is billed (user_project=, or the quota project of the credentials), or name another"
    )


def test_a_bucket_whose_objects_may_not_be_replaced(store: GCSStore, server: FaultServer) -> None:
    message = "Object 'HEAD' is subject to bucket's retention policy and cannot be deleted until 2030."
    server.faults.add(Fault("status", status=403, reason="retentionPolicyNotMet", message=message))
    assert said_of(store, lambda store: store.cas("p/HEAD", b"", "5"), StateConfigurationError) == (
        f"could not replace 'p/HEAD' in 'gs://sessions/prefix': {message}; this bucket keeps objects from being "
        "replaced (a retention policy or a hold), and sessions need a bucket without one"
    )


def test_a_policy_that_answers_like_a_lost_swap_is_not_taken_for_one(store: GCSStore, server: FaultServer) -> None:
    message = "Operation denied by org policy: constraints/gcp.restrictNonCmekServices"
    server.faults.add(Fault("status", status=412, reason="orgPolicyConstraintFailed", message=message, times=2))
    words = f"in 'gs://sessions/prefix': {message} (HTTP 412)"
    assert (
        said_of(store, lambda store: store.cas("p/HEAD", b"", None), StateError)
        == f"could not replace 'p/HEAD' {words}"
    )
    assert said_of(store, lambda store: store.put_new("p/x", b""), StateError) == f"could not write 'p/x' {words}"


def test_too_many_requests_of_a_project_are_waited_for(
    store: GCSStore, server: FaultServer, pauses: list[float]
) -> None:
    server.faults.add(Fault("status", ("list",), status=403, reason="userRateLimitExceeded", message="Slow down."))
    server.faults.add(Fault("status", ("list",), status=429, reason="rateLimitExceeded", message="Slow down."))
    assert list(store.list("p/")) == []
    assert len(pauses) == 2


def test_what_a_proxy_answers_is_cut_to_a_readable_length(store: GCSStore, server: FaultServer) -> None:
    server.faults.add(Fault("status", status=413, message="<html>" + "very long " * 1000))
    said = said_of(store, lambda store: store.get("p/x"), StateError)
    assert len(said) < 800
    assert said.endswith("… (HTTP 413)")


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    said = said_of(GCSStore("sessions"), lambda store: store.head("p/x"), StateAccessError)
    assert said.startswith("no credentials for Google Cloud Storage: ")
    assert said.endswith(f"; {CREDENTIALS}")


def test_a_key_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    said = said_of(GCSStore("sessions"), lambda store: store.head("p/x"), StateAccessError)
    assert str(tmp_path / "key.json") in said


def test_an_emulators_address_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "localhost:4443")
    assert said_of(GCSStore("sessions"), lambda store: store.head("p/x"), StateConfigurationError) == (
        "STORAGE_EMULATOR_HOST is 'localhost:4443'; it must begin with http:// or https://"
    )


@pytest.mark.parametrize("bucket", ["", "gs://sessions", "sessions/prefix"])
def test_what_is_not_the_name_of_a_bucket(bucket: str) -> None:
    with pytest.raises(StateConfigurationError) as caught:
        GCSStore(bucket)
    assert str(caught.value) == (
        f"bucket={bucket!r} is not the name of a bucket: leave out gs://, and put what follows it into prefix="
    )
