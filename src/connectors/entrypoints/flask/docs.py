"""The API's description: the OpenAPI document for programs, Swagger UI for people."""

from http import HTTPStatus
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, redirect, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from connectors.entrypoints.flask.operations import Call, operation
from connectors.entrypoints.representation.encoding import JSON

DIST = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = frozenset(
    {
        "favicon-16x16.png",
        "favicon-32x32.png",
        "index.css",
        "swagger-ui-bundle.js",
        "swagger-ui-standalone-preset.js",
        "swagger-ui.css",
    }
)
"""The files of Swagger UI that the page needs; no others are served."""
ASSET_LIFETIME = 3600
"""Seconds for which browsers cache them: an upgrade takes effect within the hour."""

# Inline styles are allowed, because Swagger UI writes style attributes; inline scripts are not.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: it connects to this service only."""

# Relative URLs, so that the page works below a proxy's path prefix too.
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Poblysh Connectors API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/index.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui">The page needs JavaScript. The same for machines: <a href="openapi.json">openapi.json</a>.</div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/swagger-ui-standalone-preset.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

# validatorUrl: null, because the badge would ask a server on the internet.
START = """\
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "BaseLayout",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null
});
"""


@operation(
    "GET",
    "/openapi.json",
    tag="service",
    summary="The OpenAPI document",
    query=None,
    answers={HTTPStatus.OK: bytes},
)
def show_openapi(call: Call) -> Response:
    """This document."""
    return Response(call.service.openapi, content_type=JSON)


@operation(
    "GET",
    "/docs",
    tag="service",
    summary="Swagger UI",
    query=None,
    answers={HTTPStatus.OK: bytes},
    media_type="text/html",
)
def show_docs(_call: Call) -> Response:
    """This page."""
    response = Response(PAGE, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response


OPERATIONS = (show_openapi, show_docs)


def assets() -> Blueprint:
    """The routes of the files that the page loads."""
    blueprint = Blueprint("docs_assets", __name__)

    @blueprint.get("/docs/<name>")
    def show_asset(name: str) -> Response:
        if name == "start.js":
            return Response(START, content_type="text/javascript; charset=utf-8")
        if name not in ASSETS:
            raise NotFound
        return send_from_directory(DIST, name, max_age=ASSET_LIFETIME)

    @blueprint.get("/docs/")
    def leave_slash() -> AnyResponse:
        return redirect("../docs", HTTPStatus.PERMANENT_REDIRECT)

    return blueprint
