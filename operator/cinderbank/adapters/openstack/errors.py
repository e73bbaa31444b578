"""Maps what OpenStack and its SDK say to domain.errors, once, at this edge.

Two doors: `mapped` for exceptions, `refusal` for an answer that is not the expected one (the SDK's
proxies do not raise on 4xx and 5xx: openstack.proxy.Proxy.request has raise_exc=False).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3.exceptions
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cinderbank.adapters.openstack.answers import request_id, retry_after_seconds, said, tidy
from cinderbank.domain.errors import (
    AuthRefused,
    CinderbankError,
    Conflict,
    Forbidden,
    InvalidSpec,
    OutcomeUnknown,
    OverQuota,
    Retryable,
    SourceGone,
    Unavailable,
    Unsupported,
)
from cinderbank.domain.transport import IMAGE_FORMAT_REFUSED

UNEXPECTED_ANSWER = "UnexpectedAnswer"
TLS_NOT_TRUSTED = "TLSNotTrusted"

_STATE_TEXTS = re.compile(
    r"status must be|status to be|must be available|must be (in|one of)|current(ly)? (status|state)"
    r"|is not active|in error status|is busy|in use|in-use|has snapshots|have snapshots|has dependent"
    r"|is attached|already (attached|in progress)|being (deleted|uploaded|used)|not (yet )?available",
    re.IGNORECASE,
)
"""A 400 of Cinder is as often about the moment as about the request; these are about the moment."""

_VALUE_TEXTS = re.compile(
    r"invalid input|availability zone|volume type|minDisk|cannot be smaller|smaller than|too small"
    r"|malformed|is not valid|is invalid|not a valid|expecting to find|additional properties"
    r"|does not match|unsupported (disk|container)|must be an? (integer|string)|is too long",
    re.IGNORECASE,
)
_FORMAT_TEXTS = re.compile(
    r"disk.?format|does not match schema 'image'|is not one of|conversion", re.IGNORECASE
)
"""A 400 that is about the disk_format: Glance's own words, which Cinder passes on."""
_IMAGE_GONE_TEXTS = re.compile(
    r"invalid image identifier|unable to access requested image", re.IGNORECASE
)
_TYPE_GONE_TEXTS = re.compile(
    r"volume type .*could not be found|volume type .*not found", re.IGNORECASE
)

_NEVER_SENT = (
    requests.exceptions.ConnectTimeout,
    requests.exceptions.ProxyError,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)


EXCEPTIONS = (
    sdk.SDKException,
    keystone.ClientException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
)
"""All that a call through the SDK raises because of the world, and not because of a bug."""


@dataclass(frozen=True, slots=True)
class Call:
    """What was being done, and what a refusal of it means.

    `makes`: it is not idempotent, so an answer that got lost is OutcomeUnknown.
    `bad_request`: what a 400 is when its text says nothing; None leaves it Retryable, because
    Permanent must be proven. `not_found`: what a 404 is. `disk_format`: of the image that is asked for.
    """

    verb: str
    resource: str
    makes: bool = False
    bad_request: type[CinderbankError] | None = None
    not_found: type[CinderbankError] = SourceGone
    disk_format: str = "raw"

    def __str__(self) -> str:
        return f"cannot {self.verb} {self.resource[:160]}"  # names come from users


@contextmanager
def mapped(
    verb: str,
    resource: str,
    *,
    makes: bool = False,
    bad_request: type[CinderbankError] | None = None,
    not_found: type[CinderbankError] = SourceGone,
) -> Iterator[None]:
    """Turn every exception of openstacksdk, keystoneauth and requests into one of domain.errors.

    Also good around reading a streamed body, where the SDK lets exceptions of requests through.
    Never lets a token, a password or an endless text into a message.
    """
    call = Call(verb, resource, makes, bad_request, not_found)
    try:
        yield
    except EXCEPTIONS as exc:
        raise translated(exc, call) from exc


def translated(exc: Exception, call: Call) -> CinderbankError:
    """The most specific error of ours for an exception of the SDK's or of what it stands on."""
    response = getattr(exc, "response", None)
    if isinstance(response, requests.Response):
        return refusal(response, call)
    match exc:
        case keystone.MissingAuthMethods():
            return InvalidSpec(
                f"{call}: these credentials need more than one factor: use an application credential"
            )
        case keystone.Unauthorized() | keystone.AuthorizationFailure():
            return AuthRefused(f"{call}: {tidy(str(exc))}", status_code=401)
        case keystone.EndpointNotFound() | sdk.ServiceDisabledException():
            return InvalidSpec(f"{call}: the cloud's catalogue does not have it: {tidy(str(exc))}")
        case keystone.AuthPluginException() | sdk.ConfigException():
            return InvalidSpec(f"{call}: {tidy(str(exc))}")
        case sdk.NotSupported():
            return Unsupported(f"{call}: {tidy(str(exc))}")
        case keystone.HttpError() | sdk.HttpException():
            return Unavailable(f"{call}: {tidy(str(exc))}")
    return _unanswered(exc, call)


def _unanswered(exc: Exception, call: Call) -> CinderbankError:
    """No answer: nothing was sent, or it was sent and nobody knows.

    keystoneauth calls a read time-out ConnectTimeout and a reset after the request ConnectFailure,
    so its own class says nothing; the exception below it does.
    """
    chain = list(_chain(exc))
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
        return Unavailable(
            f"{call}: its certificate is not trusted; put the CA beside clouds.yaml as `cacert`: {tidy(str(exc))}",
            reason=TLS_NOT_TRUSTED,
        )
    if call.makes and not any(isinstance(link, _NEVER_SENT) for link in chain):
        return OutcomeUnknown(f"{call}: it was sent and no answer came: {tidy(str(exc))}")
    return Unavailable(f"{call}: {tidy(str(exc))}")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and all below it: causes, contexts, and those that urllib3 keeps inside."""
    todo: list[object] = [exc]
    seen: set[int] = set()
    while todo and len(seen) < 50:
        link = todo.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]


def refusal(response: requests.Response, call: Call, *, quotes_us: bool = False) -> CinderbankError:
    """What an answer means that is not the expected one. With `quotes_us` its words are left out of it."""
    status = response.status_code
    text = said(response)
    error, reason = _kind(status, text, call, from_service=request_id(response) is not None)
    if quotes_us:
        text = ""
    return error(
        f"{call}: HTTP {status}: {text}" if text else f"{call}: HTTP {status}",
        reason=reason,
        status_code=status,
        request_id=request_id(response),
        retry_after_seconds=retry_after_seconds(response),
    )


def _kind(
    status: int, text: str, call: Call, *, from_service: bool
) -> tuple[type[CinderbankError], str | None]:
    match status:
        case 400:
            return _kind_of_bad_request(text, call)
        case 401:
            return AuthRefused, None
        case 403:
            return Forbidden, None
        case 404 if not from_service:
            # A proxy without a back end says 404 as well: that a resource is gone must be proven.
            return Unavailable, UNEXPECTED_ANSWER
        case 404:
            return (InvalidSpec if _TYPE_GONE_TEXTS.search(text) else call.not_found), None
        case 415 if call.disk_format != "raw":
            return Unsupported, IMAGE_FORMAT_REFUSED
        case 405 | 406 | 415 | 501:
            return Unsupported, None
        case 409 | 412:
            return Conflict, None
        case 413:
            return OverQuota, None
        case 408 | 429 | 503:
            return Unavailable, None
    if status >= 500:
        # Cinder may fail after it has written the row, a gateway may give up before Cinder does.
        return (OutcomeUnknown if call.makes else Unavailable), None
    return (OutcomeUnknown if call.makes and status < 300 else Retryable), UNEXPECTED_ANSWER


def _kind_of_bad_request(text: str, call: Call) -> tuple[type[CinderbankError], str | None]:
    if _IMAGE_GONE_TEXTS.search(text):
        return SourceGone, None
    if call.bad_request is not None:
        return call.bad_request, None
    if _STATE_TEXTS.search(text):
        return Conflict, None
    if call.disk_format != "raw" and _FORMAT_TEXTS.search(text):
        return Unsupported, IMAGE_FORMAT_REFUSED
    if _VALUE_TEXTS.search(text):
        return InvalidSpec, None
    return Retryable, "RequestRefused"
