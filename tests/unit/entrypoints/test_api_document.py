"""The OpenAPI document and the page that shows it."""

import re

from connectors.entrypoints.flask.app import RESOURCES
from connectors.entrypoints.flask.docs import ASSETS, DIST, PAGE, START
from tests.support.api import make_api

GUIDE_PARAMETERS = {
    "provider",
    "connection_id",
    "kind",
    "occurred_after",
    "occurred_before",
    "limit",
    "cursor",
    "include_payload",
}


def test_the_document_has_every_operation():
    """Each operation is in the document under its method and path, with a description and a unique id."""
    document = make_api().document
    ids = set()
    for group in RESOURCES.values():
        for operation in group:
            described = document["paths"][operation.path][operation.method.lower()]
            assert described["summary"]
            assert described["description"]
            ids.add(described["operationId"])
    assert len(ids) == sum(len(group) for group in RESOURCES.values())


def test_every_route_is_an_operation():
    """Every route is an operation or one of the page's own files."""
    api = make_api()
    routed = {
        (re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("docs_assets.")
    }
    documented = {(path, method) for path, operations in api.document["paths"].items() for method in operations}
    assert routed == documented


def test_signals_take_the_guides_parameters():
    """GET /signals has the guide's query parameters, no more, with its limits."""
    document = make_api().document
    parameters = document["paths"]["/signals"]["get"]["parameters"]
    query = {one["name"]: one["schema"] for one in parameters if one.get("in") == "query"}
    assert query.keys() == GUIDE_PARAMETERS
    assert query["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}
    assert query["occurred_after"] == {"type": "string", "format": "date-time"}
    assert query["include_payload"] == {"type": "boolean", "default": False}


def test_the_tenant_header_can_be_tried_out():
    """Operations for a tenant have X-Tenant-Id as a header parameter and the bearer scheme."""
    document = make_api().document
    operation = document["paths"]["/connections"]["get"]
    assert {"$ref": "#/components/parameters/TenantId"} in operation["parameters"]
    assert operation["security"] == [{"operatorToken": []}]
    assert document["components"]["securitySchemes"]["operatorToken"]["scheme"] == "bearer"


def test_the_page_loads_only_our_own_files():
    """Nothing on the page comes from elsewhere, and its policy would refuse it."""
    api = make_api()
    page = api.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe-eval'" not in policy
    assert "//" not in PAGE.replace("<!DOCTYPE html>", "")
    assert "http" not in START
    for name in (*ASSETS, "start.js"):
        assert api.get(f"/docs/{name}").status_code == 200
        assert name == "start.js" or (DIST / name).is_file()


def test_provider_pages_say_how_webhooks_are_set_up():
    """The webhook URL has placeholders for ids, and is null without a public URL."""
    shown = make_api().get("/providers/github").get_json()
    assert shown["webhook"]["url"] == "https://connectors.invalid/webhooks/github/{tenant_id}"
    assert "issue_created" in shown["signal_kinds"]
    assert {"name", "reason", "default"} == shown["scopes"][0].keys()
    assert make_api(public_url=None).get("/providers/github").get_json()["webhook"]["url"] is None
