"""A tenant that is being erased is found by nobody, though some of it is still known."""

import re
from uuid import uuid4

from connectors.domain.model.http import HttpResponse
from tests.support.api import GitHubStub, make_api

MAKES_IT_AGAIN = {("POST", "/connect/{provider}"), ("PUT", "/tenants/{tenant_id}")}
"""Refused, until nothing of it is left."""


def operations(api):
    """What can be asked about a tenant, as (method, path); the callback is asked for by a state."""
    for path, of_path in api.document["paths"].items():
        for method, operation in of_path.items():
            names = [one.get("name", one.get("$ref")).lower() for one in operation.get("parameters", ())]
            if any("tenant" in name for name in names) and not path.endswith("/callback"):
                yield method.upper(), path


def test_nobody_finds_an_erased_tenant(monkeypatch):
    """While something of it is still ending, whatever is asked about an erased tenant is not found."""
    github = GitHubStub()
    api = make_api(github)
    tenant = api.new_tenant()
    known = {"provider": "github", "tenant_id": tenant, "connection_id": api.connect(tenant)["id"]}
    monkeypatch.setattr(github, "failure", lambda _: HttpResponse(status=502))
    assert api.call("DELETE", f"/tenants/{tenant}").status_code == 204
    asked = list(operations(api))
    assert set(asked) >= MAKES_IT_AGAIN
    assert len(asked) > 20
    for method, path in asked:
        url = re.sub(r"{(\w+)}", lambda found: known.get(found[1], str(uuid4())), path)
        body = {} if method in {"POST", "PATCH"} else None
        status = api.call(method, url, tenant=tenant, json=body, check=False).status_code
        assert (method, path, status) == (method, path, 409 if (method, path) in MAKES_IT_AGAIN else 404)
