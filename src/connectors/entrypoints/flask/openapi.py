"""The OpenAPI 3.1 document, derived from the operations and from the classes that their handlers take and return."""

import inspect
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import msgspec

from connectors.domain.model.streams import LONGEST_KEY
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.flask.operations import Auth, Operation
from connectors.entrypoints.flask.request_models import NoQuery
from connectors.entrypoints.flask.request_parsing import header_name
from connectors.entrypoints.representation.connect_options import ConnectOptions
from connectors.entrypoints.representation.problem import CONTENT_TYPE, STATUS, Problem
from connectors.entrypoints.request_ids import PATH_PARAMETERS

DESCRIPTION = """\
Connects tenants' accounts at GitHub, Slack, Jira, Google and Zoho, receives their webhooks, and turns what happened
into signals.

Press **Authorize** and enter an operator token; most operations need the header `X-Tenant-Id` too. Every error is a
problem document (RFC 9457): branch on its `code`. Lists are newest first, and streams by key; `next_cursor` goes into
`cursor`, with the same filters. Times are RFC 3339 in UTC.
"""
TAGS = {
    "providers": "The catalog",
    "connect": "Connecting accounts",
    "connections": "Connected accounts",
    "jobs": "Reading the providers' APIs",
    "signals": "What happened",
    "deliveries": "Webhook deliveries",
    "webhooks": "Where providers deliver webhooks",
    "tenants": "The tenants that exist here",
    "service": "The service itself",
}
EXAMPLE_TENANT = "123e4567-e89b-12d3-a456-426614174000"
SECURITY_SCHEME = "operatorToken"

_REF = "#/components/schemas/{name}"
_UUID = {"type": "string", "format": "uuid"}


def build_document(operations: Sequence[Operation], providers: ProviderRegistry, *, version: str) -> dict[str, Any]:
    """The document, as JSON values.

    Args:
        operations: all of them, in the order of the document.
        providers: their slugs are the values of the path parameter.
        version: the service's own.
    """
    slugs = list(providers.slugs())
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas, slugs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Poblysh Connectors",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": {"TenantId": _tenant_header(required=True)},
            "headers": {
                "X-Trace-Id": {"description": "Names this request in our logs.", "schema": {"type": "string"}},
                "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
            },
            "securitySchemes": {
                SECURITY_SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of `POBLYSH_OPERATOR_TOKENS`.",
                }
            },
        },
    }


class _Schemas:
    """Component schemas, and schemas that refer to them."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        types: list[Any] = [Problem]
        for operation in operations:
            views = [view for view in operation.answers.values() if view not in {None, bytes}]
            fields = [*attrs.fields(operation.query or NoQuery), *attrs.fields(operation.headers)]
            types += [*views, *(field.type for field in fields)]
            types += [] if operation.body is None else [operation.body]
        self._types = list(dict.fromkeys(types))
        schemas, components = msgspec.json.schema_components(self._types, ref_template=_REF)
        self._schemas = dict(zip(self._types, schemas, strict=True))
        self.components = {name: _tidy(schema) for name, schema in sorted(components.items())}
        for closed in {ConnectOptions, *(operation.body for operation in operations if operation.body is not None)}:
            # `request_parsing` refuses unknown members, which msgspec cannot know.
            if closed.__name__ in self.components:
                self.components[closed.__name__]["additionalProperties"] = False

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type that an operation uses."""
        schema: dict[str, Any] = dict(self._schemas[kind])
        return schema


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """A component without titles that repeat its name, and without defaults that only mean "absent"."""
    tidied = {name: value for name, value in schema.items() if name != "title"}
    if "enum" in tidied:
        tidied = {"type": "string", **tidied}
    properties = tidied.get("properties")
    if properties is not None:
        tidied["properties"] = {
            name: {key: value for key, value in member.items() if not (key == "default" and value is None)}
            for name, member in properties.items()
        }
    return tidied


def _operation(operation: Operation, schemas: _Schemas, slugs: Sequence[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _description(operation),
        "parameters": [
            *(_path_parameter(name, slugs) for name in operation.parameters),
            *_tenant_parameters(operation),
            *_parameters(operation.headers, "header", schemas),
            *_parameters(operation.query or NoQuery, "query", schemas),
        ],
        "responses": {**_successes(operation, schemas), **_failures(operation)},
        "security": _security(operation),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schemas.of(operation.body)}}
        is_required = any(field.default is attrs.NOTHING for field in attrs.fields(operation.body))
        document["requestBody"] = {"required": is_required, "content": content}
    elif operation.auth is Auth.SENDER:
        document["requestBody"] = {
            "description": "What the provider sends, byte by byte.",
            "required": False,
            "content": {"*/*": {}},
        }
    return document


def _description(operation: Operation) -> str:
    text = inspect.getdoc(operation.handler) or operation.summary
    return text if operation.permission is None else f"{text}\n\nNeeds the permission `{operation.permission}`."


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.auth in {Auth.OPERATOR, Auth.TENANT}:
        return [{SECURITY_SCHEME: []}]
    return [{}, {SECURITY_SCHEME: []}] if _takes_relays(operation) else []


def _takes_relays(operation: Operation) -> bool:
    return operation.auth is Auth.SENDER and "TENANT_HEADER_REQUIRED" in operation.errors


# --- parameters ----------------------------------------------------------------------------------------------------


def _path_parameter(name: str, slugs: Sequence[str]) -> dict[str, Any]:
    parameter = PATH_PARAMETERS[name]
    schema: dict[str, Any] = dict(_UUID)
    if parameter.is_text:
        limits = {"enum": list(slugs)} if parameter.missing is None else {"minLength": 1, "maxLength": LONGEST_KEY}
        schema = {"type": "string", **limits}
    return {"name": name, "in": "path", "required": True, "description": parameter.description, "schema": schema}


def _tenant_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.auth is Auth.TENANT:
        return [{"$ref": "#/components/parameters/TenantId"}]
    return [_tenant_header(required=False)] if _takes_relays(operation) else []


def _tenant_header(*, required: bool) -> dict[str, Any]:
    return {
        "name": "X-Tenant-Id",
        "in": "header",
        "required": required,
        "description": "The tenant of the request." if required else "The tenant of a relayed delivery.",
        "schema": _UUID,
        "example": EXAMPLE_TENANT,
    }


def _parameters(kind: type, location: str, schemas: _Schemas) -> list[dict[str, Any]]:
    parameters = []
    for field in attrs.fields(kind):
        schema = _without_null(schemas.of(field.type))
        name = header_name(field.name) if location == "header" else field.name
        parameter: dict[str, Any] = {"name": name, "in": location, "required": field.default is attrs.NOTHING}
        description = schema.pop("description", None) or _note(field.type)
        if description is not None:
            parameter["description"] = description
        if field.default not in {attrs.NOTHING, None}:
            schema["default"] = field.default
        parameters.append({**parameter, "schema": schema})
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter, which may be absent but is never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return dict(choices[0]) if len(choices) == 1 else schema


def _note(kind: Any) -> str | None:
    """The description in the annotation of a type that became a reference."""
    if get_origin(kind) in {Union, UnionType}:
        return next((note for part in get_args(kind) if part is not NoneType and (note := _note(part))), None)
    for note in getattr(kind, "__metadata__", ()):
        if isinstance(note, msgspec.Meta) and note.description:
            return note.description
    return None


# --- responses -----------------------------------------------------------------------------------------------------


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _successes(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, view in operation.answers.items():
        response: dict[str, Any] = {"description": status.phrase, "headers": _headers("X-Trace-Id")}
        if view is bytes:
            types = [operation.media_type] if operation.auth is not Auth.SENDER else ["application/json", "text/plain"]
            response["content"] = {media_type: {} for media_type in types}
        elif view is not None:
            response["content"] = {operation.media_type: {"schema": schemas.of(view)}}
        responses[str(status.value)] = response
    return responses


def _failures(operation: Operation) -> Mapping[str, Any]:
    def status(code: str) -> int:
        return STATUS[code].value

    responses = {}
    for value, group in groupby(sorted(operation.codes(), key=lambda code: (status(code), code)), key=status):
        codes = list(group)
        waits = value in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
        responses[str(value)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "headers": _headers("X-Trace-Id", *(["Retry-After"] if waits else [])),
            "content": {
                CONTENT_TYPE: {
                    "schema": {
                        "allOf": [{"$ref": _REF.format(name="Problem")}],
                        "properties": {"code": {"enum": codes}, "status": {"const": value}},
                    }
                }
            },
        }
    return responses
