"""What S3 and the network below it say, as domain.errors: once, here, and without a secret.

Only codes, statuses and our own words get into a message: texts of the HTTP client hold presigned
URLs, texts of a store hold the canonical request.
"""

from __future__ import annotations

import re
import ssl

import urllib3.exceptions as http

from cinderbank.domain.errors import (
    AuthRefused,
    CinderbankError,
    Forbidden,
    InvalidSpec,
    Unavailable,
)

_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9]{1,64})\s*</Code>")
_PLAIN_CODE = re.compile(r"[A-Za-z0-9]{0,64}", re.ASCII)
_NOT_IN_TIME = re.compile(rb"Request (?:has|is) (?:expired|not valid yet)", re.IGNORECASE)

CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken",
     "TokenRefreshRequired", "InvalidTokenId"}
)  # fmt: skip
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "AccessDeniedRequestExpired"})
WRONG_PLACE = frozenset(
    {"PermanentRedirect", "Redirect", "TemporaryRedirect", "AuthorizationHeaderMalformed",
     "AuthorizationQueryParametersError", "IllegalLocationConstraintException"}
)  # fmt: skip
SLOW_DOWN = frozenset({"SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests"})
TRY_AGAIN = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "ServiceUnavailable",
     "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "BadDigest",
     "IncompleteBody", "TooManyRequests", "XMinioServerNotInitialized"}
)  # fmt: skip


class S3Problem(Exception):
    """One failed try: S3's code (or ours), the HTTP status (0: no answer), whether to try again."""

    def __init__(self, code: str, status: int, try_again: bool, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.try_again = try_again
        self.text = text or code

    @property
    def asks_for_less(self) -> bool:
        """The store has too much to do: what AWS calls SlowDown, and others 429 or 503."""
        return self.status in (429, 503) or self.code in SLOW_DOWN

    @classmethod
    def of_code(cls, code: str, status: int) -> S3Problem:
        if not _PLAIN_CODE.fullmatch(code):
            code = "NoCode"  # the SDK takes any text of the store's for one
        transient = status in (408, 409, 429) or status >= 500
        # Not a bucket policy's conflict: 409 for a bucket in the making clears up as well.
        again = code in TRY_AGAIN or (transient and code != "NotImplemented")
        return cls(code, status, again, f"{code}, HTTP {status}" if status else code)

    @classmethod
    def retryable(cls, text: str) -> S3Problem:
        """No usable answer; `text` is ours and holds no URL."""
        return cls("NoAnswer", 0, True, text)

    def to_domain(self, verb: str, key: str, where: str) -> CinderbankError:
        """The error for a user: names the bank, the verb and the way out."""
        what = f"bank {where}: {verb} {key or '/'}"
        code, status = self.code, self.status or None
        if code in CREDENTIALS or status == 401:
            return AuthRefused(
                f"{what}: the S3 credentials were refused ({self.text}); mend the bank's Secret",
                reason="BankCredentialsRefused", status_code=status,
            )  # fmt: skip
        if code in SKEWED:
            return Unavailable(
                f"{what}: the clocks of this node and of the S3 server differ by more than the server "
                f"allows ({self.text}); set both by NTP",
                reason="BankUnavailable", status_code=status,
            )  # fmt: skip
        if code == "NoSuchBucket":
            return Unavailable(
                f"{what}: there is no such bucket; create it, or mend endpoint and bucket",
                reason="BucketNotFound", status_code=status,
            )  # fmt: skip
        if code in WRONG_PLACE or status in (301, 307, 308):
            return InvalidSpec(
                f"{what}: the bucket is served elsewhere ({self.text}); mend region, endpoint or "
                "addressing of the bank",
                reason="BankUnavailable", status_code=status,
            )  # fmt: skip
        if status == 403:
            return Forbidden(
                f"{what}: access denied ({self.text}); the bank needs s3:ListBucket, s3:GetObject, and "
                "for ReadWrite s3:PutObject and s3:DeleteObject on its prefix",
                reason="BankAccessDenied", status_code=status,
            )  # fmt: skip
        return Unavailable(f"{what}: {self.text}", reason="BankUnavailable", status_code=status)


def problem_of_answer(status: int, body: bytes) -> S3Problem:
    """The problem that an HTTP answer tells of; a 404 without a code counts as NoSuchKey."""
    found = _CODE.search(body)
    code = found.group(1).decode("ascii") if found else ""
    if status == 404 and not code:
        code = "NoSuchKey"
    if status == 403 and _NOT_IN_TIME.search(body):
        # A presigned request that is "expired" 15 minutes early was signed by a clock that is wrong.
        code = "RequestExpired"
    return S3Problem.of_code(code or "NoCode", status)


def problem_of_exception(error: Exception) -> S3Problem | None:
    """A failure below HTTP; None when the exception is not from there."""
    if not isinstance(error, http.HTTPError | OSError):
        return None
    certificate = _certificate_error(error)
    if certificate is not None:
        return S3Problem(
            "TLS", 0, False,
            f"its TLS certificate is not trusted ({certificate.verify_message}); name a Secret with the "
            "CA in the bank's caSecretRef",
        )  # fmt: skip
    if isinstance(error, http.SSLError | ssl.SSLError):
        return S3Problem("TLS", 0, False, "TLS failed; does the endpoint speak https on this port?")
    if isinstance(error, http.ConnectTimeoutError | http.NewConnectionError):
        return S3Problem.retryable("no connection (refused, unknown host or timed out)")
    if isinstance(error, http.TimeoutError):
        return S3Problem.retryable("no answer in time")
    return S3Problem.retryable(f"the connection broke ({type(error).__name__})")


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The verification error in the chain below; urllib3 keeps it in args or __cause__."""
    for _ in range(8):
        if error is None or isinstance(error, ssl.SSLCertVerificationError):
            return error
        inner = [arg for arg in error.args if isinstance(arg, BaseException)]
        error = inner[0] if inner else (error.__cause__ or error.__context__)
    return None
