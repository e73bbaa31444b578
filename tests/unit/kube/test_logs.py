"""No log line holds a secret, whatever a library says."""

from __future__ import annotations

import json
import logging

import pytest

from cinderbank.adapters.logs import JsonFormatter, TextFormatter, logging_about, redact

SECRET = "s3cr3t-Value+/=42"

TEXTS = [
    f"password={SECRET}",
    f"password: {SECRET}",
    f'{{"password": "{SECRET}"}}',
    f"{{'auth': {{'application_credential_secret': '{SECRET}'}}}}",
    f"OS_PASSWORD={SECRET} openstack token issue",
    f"secret_key='{SECRET}'",
    f"aws_secret_access_key = {SECRET}",
    f"secret-access-key: {SECRET}",
    f"X-Auth-Token: {SECRET}",
    f"-H 'X-Subject-Token: {SECRET}'",
    f"Authorization: Bearer {SECRET}",
    f"authorization=Basic {SECRET}",
    f"GET https://s3/bank/k?X-Amz-Signature={SECRET}&X-Amz-Date=1",
    f"https://user:{SECRET.replace(chr(47), chr(45))}@keystone/v3",
    f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    "token gAAAAABm" + "Zx9_" * 20 + SECRET,
]


@pytest.mark.parametrize("text", TEXTS)
def test_secrets_are_put_out_of_sight(text: str) -> None:
    assert SECRET not in redact(text)
    assert "s3cr3t" not in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "snapshot cinderbank-01JD5 of volume 0f6c is available",
        "Secret team/openstack has no key clouds.yaml; put the file there under that key",
        "PUT https://s3.example.org:9000/bank/sites/paris/chunks/01 -> 200",
        "moved 41 % of 1073741824 bytes, 212 MiB/s",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("cinderbank.x", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


def test_json_lines_say_what_they_are_about() -> None:
    with logging_about(kind="VolumeBackup", namespace="team", name="nightly", uid="u-1"):
        text = JsonFormatter().format(record("CreateSnapshot", fields={"step": "CreateSnapshot"}))
    line = json.loads(text)
    assert line["message"] == "CreateSnapshot"
    assert (line["kind"], line["name"], line["step"]) == (
        "VolumeBackup",
        "nightly",
        "CreateSnapshot",
    )
    assert "kind" not in json.loads(JsonFormatter().format(record("later")))


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_arguments_fields_and_tracebacks_are_redacted(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(f"password={SECRET}")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    made = record("token=%s", SECRET, fields={"hint": f"secret_key={SECRET}"}, exc_info=info)
    text = formatter.format(made)
    assert SECRET not in text
    assert "Traceback" in text
    assert "\n" not in text or isinstance(formatter, TextFormatter)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_what_somebody_says_can_not_forge_a_line(formatter: logging.Formatter) -> None:
    forged = "gone\n2026-01-01T00:00:00.000Z INFO all is well\r\x1b[2K\u2028x"
    first, *more = formatter.format(record("%s", forged, fields={"phase": forged})).splitlines()
    assert "gone" in first
    assert all(line.startswith("    ") for line in more)
    assert "\x1b" not in "".join([first, *more])


@pytest.mark.parametrize(
    "piece", ["a-", "a.", "-", "secret", "password ", "token=", "://a:", "-----BEGIN ", "bearer "]
)
def test_a_long_text_takes_no_time_that_grows_with_its_square(piece: str) -> None:
    redact(piece * (200_000 // len(piece)))  # minutes, and no other thread of ours runs meanwhile
