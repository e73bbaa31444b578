"""Requests to the Kubernetes API: plain dictionaries in and out, every error mapped once.

One ApiClient for the whole process (one per call leaks its pool) and no typed models: they cost
more time and memory than the rest of a tick.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
from kubernetes import config as kube_config
from kubernetes.client import ApiClient, ApiException, Configuration

from cinderbank.domain.errors import (
    AuthRefused,
    BrokenInvariant,
    CinderbankError,
    Conflict,
    Forbidden,
    InvalidSpec,
    SourceGone,
    Unavailable,
)

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

LIST_CHUNK = 500


class KubeApi:
    """Reads and writes of whole objects by path; thread-safe.

    Every method MAY raise Unavailable (no answer, 408, 429, 5xx), AuthRefused (401), Forbidden (403).
    """

    def __init__(
        self, client: ApiClient, connect_timeout_seconds: float, read_timeout_seconds: float
    ) -> None:
        self._client = client
        # the client has no timeout of its own: a lost answer would hold the thread for ever
        self._timeout = (connect_timeout_seconds, read_timeout_seconds)

    def get(self, path: str) -> dict[str, Any] | None:
        """The object, or None (404)."""
        try:
            return self._request("GET", path)
        except SourceGone:
            return None

    def list_all(self, path: str, label_selector: str = "") -> Iterator[dict[str, Any]]:
        """All objects of a collection, or those with these labels, fetched in chunks.

        Also raises SourceGone when it takes so long that the server has forgotten its beginning.
        """
        whole = [("limit", str(LIST_CHUNK))]
        if label_selector:
            whole.append(("labelSelector", label_selector))
        query = whole
        while True:
            page = self._request("GET", path, query=query)
            yield from page.get("items", ())
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query = [*whole, ("continue", token)]

    def has_any(self, path: str, label_selector: str) -> bool:
        """Whether a collection has any object with these labels."""
        query = [("limit", "1"), ("labelSelector", label_selector)]
        return bool(self._request("GET", path, query=query).get("items"))

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Not idempotent. Also raises Conflict (exists already), SourceGone (no such namespace)."""
        return self._request("POST", path, body=dict(body), content_type=JSON)

    def apply(self, path: str, body: Mapping[str, Any], field_manager: str) -> dict[str, Any]:
        """Server-side apply, taking fields over from other managers.

        With metadata.resourceVersion in `body` it raises Conflict when the object has changed; a
        metadata.uid would not be compared. SourceGone when there is none, IF `path` is a subresource:
        on a main resource an apply creates.
        """
        query = [("fieldManager", field_manager), ("force", "true")]
        return self._request("PATCH", path, query=query, body=dict(body), content_type=APPLY_PATCH)

    def json_patch(
        self, path: str, operations: Sequence[Mapping[str, Any]], field_manager: str
    ) -> dict[str, Any]:
        """RFC 6902. Raises Conflict when a `test` fails, SourceGone when there is no object."""
        query, body = [("fieldManager", field_manager)], [dict(each) for each in operations]
        try:
            # the content type is explicit: the client sends lists as merge patches on some paths
            return self._request("PATCH", path, query=query, body=body, content_type=JSON_PATCH)
        except InvalidSpec as error:  # a failed `test` is a 422, like any other refusal
            raise Conflict(error.message, status_code=error.status_code) from error

    def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """RFC 7386. Raises SourceGone when there is no object."""
        return self._request("PATCH", path, body=dict(body), content_type=MERGE_PATCH)

    def delete(self, path: str, uid: str, resource_version: str | None = None) -> None:
        """Ask for the deletion of the object of this uid; none of the name is fine. Raises Conflict
        when it is another one by now, or no more in `resource_version`. Gone when a later read says
        so."""
        preconditions = {"uid": uid}
        if resource_version is not None:
            preconditions["resourceVersion"] = resource_version
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        with suppress(SourceGone):
            self._request("DELETE", path, body=options, content_type=JSON)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Any = None,
        content_type: str | None = None,
    ) -> dict[str, Any]:
        headers = {"Accept": JSON}
        if content_type is not None:
            headers["Content-Type"] = content_type
        with _mapped(method, path):
            request = self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(*request, _request_timeout=self._timeout)
            data: bytes = response.response.data
        if response.status >= 400:
            raise error_of(response.status, data, method, path)
        parsed: dict[str, Any] = json.loads(data)
        return parsed


def connect(connect_timeout_seconds: float, read_timeout_seconds: float, pool_size: int) -> KubeApi:
    """In a Pod its ServiceAccount (whose token is read again as it rotates), else KUBECONFIG.

    Raises InvalidSpec when neither is there.
    """
    configuration = Configuration()
    try:
        kube_config.load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration
        )
    except kube_config.ConfigException:
        try:
            kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                # its own default is what KUBECONFIG said when it was imported
                config_file=os.environ.get("KUBECONFIG"),
                client_configuration=configuration,
            )
        except kube_config.ConfigException as error:
            raise InvalidSpec(
                f"no way to the Kubernetes API: this is not a Pod with a ServiceAccount token, and "
                f"{error}. Set KUBECONFIG."
            ) from error
    configuration.connection_pool_maxsize = pool_size
    # the queue retries; three tries of the client's own would hide an outage and hold the thread
    configuration.retries = urllib3.Retry(total=1, redirect=0)
    return KubeApi(ApiClient(configuration), connect_timeout_seconds, read_timeout_seconds)


def error_of(status_code: int, data: bytes, method: str, path: str) -> CinderbankError:
    """The one table of HTTP answers."""
    try:
        told = json.loads(data).get("message") or ""
    except (ValueError, AttributeError):
        told = data[:200].decode(errors="replace")
    message = f"Kubernetes API: {method} {path}: {status_code} {told}"[:1000]
    match status_code:
        case 401:
            return AuthRefused(message, status_code=status_code)
        case 403:
            return Forbidden(message, status_code=status_code)
        case 404 | 410:
            return SourceGone(message, status_code=status_code)
        case 409 | 412:
            return Conflict(message, status_code=status_code)
        case 400 | 422:
            return InvalidSpec(message, status_code=status_code)
        case 405 | 406 | 413 | 415:
            return BrokenInvariant(message, status_code=status_code)
        case _:
            return Unavailable(message, status_code=status_code)


@contextmanager
def _mapped(method: str, path: str) -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
        raise Unavailable(
            f"Kubernetes API: {method} {path}: no answer ({type(error).__name__})",
            reason="KubernetesUnavailable",
        ) from error
