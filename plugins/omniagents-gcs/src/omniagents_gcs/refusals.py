"""What to tell the person when a request failed for good: what, where, and which grant or setting is the cure."""

from __future__ import annotations

import re
from typing import NamedTuple

from omniagents.errors import StateAccessError, StateConfigurationError, StateError
from omniagents_gcs.answers import Answer

__all__ = ["NO_CREDENTIALS", "Request", "bucket_missing", "refusal"]

NO_CREDENTIALS = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, run "
    "`gcloud auth application-default login`, or run on Google Cloud with a service account attached"
)

# The predefined role with all that is needed and least besides (Cloud Storage, "IAM roles").
_ROLE = "roles/storage.objectUser"
_PERMISSION = re.compile(r"\b(storage\.\w+\.\w+|serviceusage\.services\.use)\b")
_ACCOUNT = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_BILLING = (
    "user project",
    "userproject",
    "billing",
    "requester pays",
    "project id",
    "service_disabled",
    "has not been used in project",
)


class Request(NamedTuple):
    """One call of the store, for retries and for messages.

    Attributes:
        verb: ``read``, ``write``…
        name: The object as the engine names it.
        place: ``gs://bucket/prefix``.
        needs: The permissions it takes.
        size: Bytes it moves, as far as is known before.
    """

    verb: str
    name: str
    place: str
    needs: tuple[str, ...]
    size: int = 0

    def __str__(self) -> str:
        return f"{self.verb} {self.name!r} in {self.place!r}"

    @property
    def bucket(self) -> str:
        return self.place.removeprefix("gs://").partition("/")[0]


def refusal(request: Request, answer: Answer) -> StateError:
    """The error for an answer that no other try would change."""
    said = f"could not {request}: {answer.message}"
    words = f"{answer.message} {' '.join(answer.reasons)}".lower()
    if "retention" in words or "underactivehold" in words:
        return StateConfigurationError(
            f"{said}; this bucket keeps objects from being replaced (a retention policy or a hold), "
            "and sessions need a bucket without one"
        )
    if "serviceusage.services.use" in words:
        return StateAccessError(
            f"{said}; grant roles/serviceusage.serviceUsageConsumer on the project that is billed "
            "(user_project=, or the quota project of the credentials), or name another"
        )
    if answer.status in (400, 403) and any(word in words for word in _BILLING):
        return StateConfigurationError(
            f"{said}; name the project that pays for requests by user_project=, and look at project=, "
            "GOOGLE_CLOUD_PROJECT and the quota project of the credentials"
        )
    if answer.status == 401:
        return StateAccessError(f"{said}; the credentials are not accepted: {NO_CREDENTIALS}")
    if answer.status == 403:
        return _forbidden(request, answer, said)
    return StateError(said if answer.status is None else f"{said} (HTTP {answer.status})")


def bucket_missing(request: Request, answer: Answer) -> StateConfigurationError:
    """The error for a bucket that is not there."""
    bucket = request.bucket
    return StateConfigurationError(
        f"could not {request}: there is no bucket {bucket!r} ({answer.message}); create it with "
        f"`gcloud storage buckets create gs://{bucket}`, or name another by bucket= or BUCKET_OMNIAGENTS"
    )


def _forbidden(request: Request, answer: Answer, said: str) -> StateAccessError:
    missing = list(dict.fromkeys(_PERMISSION.findall(answer.message))) or list(request.needs)
    account = _ACCOUNT.search(answer.message)
    who = account.group() if account else "ACCOUNT"
    kind = "serviceAccount" if who.endswith(".gserviceaccount.com") or not account else "user"
    return StateAccessError(
        f"{said}; the credentials lack {' and '.join(missing)}. Grant {_ROLE}: `gcloud storage buckets "
        f"add-iam-policy-binding gs://{request.bucket} --member={kind}:{who} --role={_ROLE}`"
    )
