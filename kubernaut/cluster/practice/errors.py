"""The refusals of the practice cluster, in the shapes of a real API server.

Why it exists: a client decides by `code`, `reason` and `details` of a `Status` object, so each refusal is built in one
place, with the texts that kube-apiserver uses. Raised by every other module of the practice cluster, turned into an
HTTP answer by `http_api`. It does not decide when something is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubernaut.cluster.practice.resources import ResourceType


@dataclass(frozen=True)
class FieldError:
    """One cause of a 422: the field's path, Kubernetes' reason code and its text."""

    field: str
    reason: str
    message: str

    @classmethod
    def invalid(cls, field: str, value: object, detail: str) -> FieldError:
        return cls(field, "FieldValueInvalid", f"Invalid value: {_go_value(value)}: {detail}")

    @classmethod
    def required(cls, field: str, detail: str = "") -> FieldError:
        return cls(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))

    @classmethod
    def unsupported(cls, field: str, value: object, supported: list[str]) -> FieldError:
        listed = ", ".join(f'"{item}"' for item in supported)
        return cls(
            field, "FieldValueNotSupported", f"Unsupported value: {_go_value(value)}: supported values: {listed}"
        )

    @classmethod
    def forbidden(cls, field: str, detail: str) -> FieldError:
        return cls(field, "FieldValueForbidden", f"Forbidden: {detail}")

    @classmethod
    def duplicate(cls, field: str, value: object) -> FieldError:
        return cls(field, "FieldValueDuplicate", f"Duplicate value: {_go_value(value)}")

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(Exception):
    """A request that the API refuses. `status` is the body that a client gets."""

    def __init__(
        self, code: int, reason: str, message: str, details: dict[str, Any] | None = None, *, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.retry_after = retry_after
        if retry_after:
            self.details["retryAfterSeconds"] = retry_after

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        body["details"] = self.details
        if not self.details and self.reason in _WITHOUT_DETAILS:
            del body["details"]
        body["code"] = self.code
        return body


_WITHOUT_DETAILS = {"BadRequest", "Unauthorized", "UnsupportedMediaType", "NotAcceptable", "Expired"}


def not_found(resource: ResourceType, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', resource.details(name))


def already_exists(resource: ResourceType, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', resource.details(name))


def conflict(resource: ResourceType, name: str, why: str = "") -> ApiError:
    text = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {text}'
    return ApiError(409, "Conflict", message, resource.details(name))


def precondition_failed(resource: ResourceType, name: str, why: str) -> ApiError:
    """A `DeleteOptions` precondition that does not hold. kube-apiserver names the kind here, not the resource."""
    details = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    message = f'Operation cannot be fulfilled on {resource.kind_qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details)


def invalid(resource: ResourceType | None, name: str, errors: list[FieldError]) -> ApiError:
    listed = str(errors[0]) if len(errors) == 1 else "[" + ", ".join(str(error) for error in errors) + "]"
    kind = resource.kind_qualified if resource else ""
    details: dict[str, Any] = {"name": name} if name else {}
    if resource and resource.group:
        details["group"] = resource.group
    if resource:
        details["kind"] = resource.kind
    details["causes"] = [{"reason": e.reason, "message": e.message, "field": e.field} for e in errors]
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {listed}', details)


def patch_rejected() -> ApiError:
    """A JSON patch that cannot be applied, a failed `test` included: the API server does not say which operation."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def namespace_terminating(resource: ResourceType, name: str, namespace: str) -> ApiError:
    text = f"unable to create new content in namespace {namespace} because it is being terminated"
    details = resource.details(name)
    details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return ApiError(403, "Forbidden", f'{resource.qualified} "{name}" is forbidden: {text}', details)


def forbidden(resource: ResourceType, name: str, why: str) -> ApiError:
    return ApiError(403, "Forbidden", f'{resource.qualified} "{name}" is forbidden: {why}', resource.details(name))


def unsupported_media_type(accepted: list[str]) -> ApiError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", message)


def method_not_allowed(action: str, resource: ResourceType) -> ApiError:
    details = {"kind": resource.plural} | ({"group": resource.group} if resource.group else {})
    message = f'{action} is not supported on resources of kind "{resource.qualified}"'
    return ApiError(405, "MethodNotAllowed", message, details)


def not_implemented(what: str) -> ApiError:
    """What a real cluster can do and this one cannot. Never answered with something plausible instead."""
    return ApiError(501, "NotImplemented", f"the practice cluster does not model {what}; use a real cluster for it")


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def too_large_resource_version(wanted: int, current: int) -> ApiError:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": causes}, retry_after=1)


def _go_value(value: object) -> str:
    """A value as Go's field errors print it: strings quoted, objects as JSON."""
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
