"""A small client for OpenStack's REST services, with the standard library only."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from typing import Any

# A proxy of the machine must not see calls to loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RestError(Exception):
    """A service answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def status_of(url: str) -> int | None:
    """The HTTP status of a GET; None when nobody answers."""
    try:
        with _OPENER.open(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


class Cloud:
    """One user's calls to one site. Keeps its token, and gets a new one when it is refused."""

    def __init__(self, auth_url: str, user: str, password: str, project: str) -> None:
        self._auth_url = auth_url
        self._identity = {
            "methods": ["password"],
            "password": {
                "user": {"name": user, "domain": {"name": "Default"}, "password": password}
            },
        }
        self._scope = {"project": {"name": project, "domain": {"name": "Default"}}}
        self._token: str | None = None
        self._lock = threading.Lock()

    def identity(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A call to Keystone; `path` begins after /v3."""
        return self.call(method, self._auth_url + path, body)

    def call(
        self, method: str, url: str, body: dict[str, Any] | None = None, microversion: str = ""
    ) -> Any:
        """The decoded answer, None for an empty one; RestError for an error."""
        try:
            return self._send(method, url, body, self._valid_token(), microversion)[0]
        except RestError as error:
            if error.status != 401:
                raise
            self._token = None
            return self._send(method, url, body, self._valid_token(), microversion)[0]

    def _valid_token(self) -> str:
        with self._lock:
            if self._token is None:
                body = {"auth": {"identity": self._identity, "scope": self._scope}}
                _, headers = self._send("POST", f"{self._auth_url}/auth/tokens", body, None)
                self._token = headers["X-Subject-Token"]
            return str(self._token)

    def _send(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None,
        token: str | None,
        microversion: str = "",
    ) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["X-Auth-Token"] = token
        if microversion:
            headers["OpenStack-API-Version"] = f"volume {microversion}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with _OPENER.open(request, timeout=240) as answer:
                text = answer.read()
                return (json.loads(text) if text else None), answer.headers
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise RestError(error.code, f"{method} {url}: {error.code} {said[:500]}") from None
