"""The exception tree; adapters map every SDK error into it once, at their edge.

CinderbankError
├─ Retryable             may succeed unchanged: tried again with back-off
│  ├─ Unavailable        connect, timeout, 408, 429, 5xx
│  ├─ Conflict           409, 412, 400 "status must be": observe again
│  ├─ OverQuota          413 of Cinder or Glance: long back-off, visible
│  ├─ AuthRefused        401 after a fresh token
│  └─ OutcomeUnknown     sent, no answer: the intent stays, the settle window applies
├─ Permanent             needs a human or another object
│  ├─ InvalidSpec        a field of the CR, a Secret or the configuration
│  ├─ SourceGone         the volume, the image, the snapshot or the backup is not there (any more)
│  ├─ Forbidden          403
│  ├─ Unsupported        encrypted volume, cloud that cannot do it
│  ├─ ResourceFailed     Cinder or Glance put it into an error status, and again after fresh tries
│  └─ DataCorrupt        a size or a hash differs; never retried silently
└─ BrokenInvariant       our own bug: longest back-off, the object stays untouched

Unknown exceptions count as Retryable; Permanent must be proven.
"""

from __future__ import annotations


class CinderbankError(Exception):
    """An error that a user may read.

    `reason` is CamelCase and stable (it becomes a condition's reason); `message` names the thing
    and the way out, and never holds a secret.
    """

    default_reason = "Error"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.status_code = status_code
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class Retryable(CinderbankError):
    """May succeed unchanged later."""

    default_reason = "TransientError"


class Unavailable(Retryable):
    """No answer, or an answer that says "not now"."""

    default_reason = "Unavailable"


class Conflict(Retryable):
    """Somebody else changed it, or it is busy: observe again."""

    default_reason = "Conflict"


class OverQuota(Retryable):
    """A quota or a limit of the cloud is used up; it can be freed or raised."""

    default_reason = "QuotaExceeded"


class AuthRefused(Retryable):
    """The credentials were refused, also with a fresh token; a Secret can be mended in place."""

    default_reason = "AuthenticationFailed"


class OutcomeUnknown(Retryable):
    """The request was sent and no answer came: it may have happened."""

    default_reason = "OutcomeUnknown"


class Permanent(CinderbankError):
    """Does not succeed until a human changes something."""

    default_reason = "UnrecoverableError"


class InvalidSpec(Permanent):
    """A value in the object or in what it names is wrong; the message names field and value."""

    default_reason = "InvalidConfiguration"


class SourceGone(Permanent):
    """What should be read is not there (any more)."""

    default_reason = "SourceNotFound"


class Forbidden(Permanent):
    """The credentials are good and not enough."""

    default_reason = "Forbidden"


class Unsupported(Permanent):
    """This cannot be done here, and trying again does not change it."""

    default_reason = "Unsupported"


class ResourceFailed(Permanent):
    """The cloud put a resource of ours into an error status, also in fresh tries."""

    default_reason = "ResourceFailed"


class DataCorrupt(Permanent):
    """A size or a hash is not what it must be."""

    default_reason = "DataCorrupt"


class BrokenInvariant(CinderbankError):
    """Our own bug."""

    default_reason = "InternalError"
