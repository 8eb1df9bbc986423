"""Every error is a problem document; hostile input never becomes a 500."""

import json
import logging
from datetime import timedelta
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import ConnectorsError, InfrastructureError, RateLimitedError
from connectors.domain.model.http import HttpResponse
from connectors.entrypoints.container import Readiness
from connectors.entrypoints.flask.app import RESOURCES
from connectors.entrypoints.representation.problem import STATUS
from tests.support.api import GitHubStub, issue_opened, make_api, problem


@pytest.fixture(scope="module")
def api():
    return make_api()


@pytest.fixture(scope="module")
def tenant(api):
    return api.new_tenant()


def faults(answer):
    assert problem(answer) == (400, "VALIDATION_ERROR")
    return {detail["field"]: detail["message"] for detail in answer.get_json().get("details", ())}


# --- shape ---------------------------------------------------------------------------------------------------------


def subclasses(kind):
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def test_every_error_code_has_a_status():
    """The table knows the code of each error class, and the operations name no other."""
    assert {kind.code for kind in subclasses(ConnectorsError)} <= STATUS.keys()
    for group in RESOURCES.values():
        for operation in group:
            assert operation.codes() <= STATUS.keys()


@pytest.mark.parametrize("path", ["/nowhere", "/signals/", "/providers/", "/docs/../secret", "/docs/swagger-ui.js"])
def test_an_unknown_path_is_a_problem(api, path):
    """An unknown path is NOT_FOUND, without a redirect."""
    assert problem(api.get(path)) == (404, "NOT_FOUND")


def test_a_method_that_a_path_does_not_take(api):
    """405 lists the allowed methods in Allow."""
    answer = api.call("PATCH", "/signals")
    assert problem(answer) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_head_and_options_are_answered(api):
    """HEAD is GET without a body, OPTIONS lists the allowed methods."""
    head = api.client.head("/providers")
    assert (head.status_code, head.get_data()) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    assert "DELETE" in api.client.options(f"/connections/{uuid4()}").headers["Allow"]


def test_tenants_data_is_not_cached(api, tenant):
    """No answer with a tenant's data may be cached."""
    assert api.get("/connections", tenant=tenant).headers["Cache-Control"] == "no-store"
    assert api.post("/connect/github", tenant=tenant).headers["Cache-Control"] == "no-store"
    assert "max-age" in api.get("/docs/swagger-ui.css").headers["Cache-Control"]


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", True),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("\xff", False),
    ],
)
def test_the_callers_trace_is_continued(api, traceparent, kept):
    """A valid traceparent gives the trace id; otherwise the request gets one of its own."""
    answer = api.get("/signals", token=None, headers={"traceparent": traceparent})
    problem(answer)
    assert (answer.headers["X-Trace-Id"] == "4bf92f3577b34da6a3ce929d0e0e4736") is kept


def test_a_crash_is_logged_and_shows_nothing(monkeypatch, caplog):
    """A bug of ours is a 500 with a trace id; its message goes to the log only."""
    api = make_api()

    def crash():
        raise RuntimeError("inner workings")

    monkeypatch.setitem(api.app.view_functions, "providers.list_providers", crash)
    answer = api.get("/providers", check=False)
    assert problem(answer) == (500, "INTERNAL_ERROR")
    assert "inner" not in answer.get_data(as_text=True)
    assert "inner workings" in caplog.text


def test_the_request_log_has_no_query(api, caplog):
    """A request's log line names the route, never the query."""
    with caplog.at_level(logging.INFO):
        api.get("/connect/github/callback?code=s3cret&state=s3cret")
    (record,) = [record for record in caplog.records if record.message == "http_request"]
    assert record.route == "/connect/<provider>/callback"
    assert "s3cret" not in caplog.text


# --- what providers and parts do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (lambda request: HttpResponse(status=502, body=b"<html>"), (502, "PROVIDER_ERROR")),
        (lambda request: HttpResponse(status=200, body=b"{"), (502, "PROVIDER_ERROR")),
        (
            lambda request: HttpResponse(status=200, body=b'{"error":"bad_refresh_token"}'),
            (409, "REAUTHORIZATION_REQUIRED"),
        ),
        (
            lambda request: HttpResponse(status=200, body=b'{"error":"incorrect_client_credentials"}'),
            (502, "PROVIDER_ERROR"),
        ),
    ],
)
def test_a_providers_failure_is_not_ours(failure, expected):
    """A provider's error is 502, what its user has to fix is 409; neither is a 500."""
    github = GitHubStub()
    api = make_api(github)
    tenant = str(uuid4())
    connection = api.connect(tenant)
    github.failure = failure
    assert problem(api.post(f"/connections/{connection['id']}/refresh", tenant=tenant)) == expected


def test_a_provider_that_wants_us_to_wait():
    """A provider's limit is a 503 with the time to wait."""
    github = GitHubStub()
    api = make_api(github)
    tenant = str(uuid4())
    connection = api.connect(tenant)

    def limited(request):
        raise RateLimitedError("GitHub wants us to wait.", retry_at=api.connectors.clock.now() + timedelta(seconds=90))

    github.failure = limited
    answer = api.post(f"/connections/{connection['id']}/refresh", tenant=tenant)
    assert problem(answer) == (503, "PROVIDER_RATE_LIMITED")
    assert 80 < int(answer.headers["Retry-After"]) <= 90


def test_a_provider_that_is_not_configured():
    """Connecting a provider without a client id is a conflict that says what to set."""
    api = make_api(apps={})
    answer = api.post("/connect/github", tenant=uuid4())
    assert problem(answer) == (409, "PROVIDER_NOT_CONFIGURED")
    assert "POBLYSH_GITHUB_CLIENT_ID" in answer.get_json()["detail"]
    assert api.get("/providers/github").get_json()["configured"] is False


def test_readiness_names_what_fails():
    """A failing part makes readyz a 503 that names it, while healthz stays 200."""
    api = make_api()
    object.__setattr__(api.connectors, "check_readiness", lambda: Readiness({"database": "refused", "vault": "ok"}))
    answer = api.get("/readyz")
    assert problem(answer) == (503, "SERVICE_UNAVAILABLE")
    assert answer.get_json()["details"] == [{"part": "database", "message": "refused"}]
    assert api.get("/healthz").status_code == 200


def test_a_database_that_is_down():
    """A webhook that could not be stored is a 503, so that the vendor sends it again."""
    api = make_api()
    tenant = api.new_tenant()

    def down():
        raise InfrastructureError("The database cannot be reached.")

    object.__setattr__(api.connectors.ingest, "unit_of_work", down)
    answer = api.deliver(f"/webhooks/github/{tenant}", "ping", {})
    assert problem(answer) == (503, "SERVICE_UNAVAILABLE")
    assert "Retry-After" in answer.headers


# --- queries -------------------------------------------------------------------------------------------------------


def test_every_fault_of_a_query_is_named(api, tenant):
    """Unknown, malformed and out-of-range parameters are all in details, each by name."""
    query = {
        "limit": "101",
        "kind": "issue_exploded",
        "connection_id": "{123e4567-e89b-12d3-a456-426614174000}",
        "occurred_after": "2026-03-01T08:00:00",
        "occurred_before": "2026-02-30T08:00:00Z",
        "include_payload": "1",
        "cursor": "",
        "page": "2",
    }
    assert faults(api.get("/signals", tenant=tenant, query_string=query)).keys() == query.keys()


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1.0", "1e1", "٣", " 1", "0x1", "9" * 5000, ""])
def test_a_limit_is_an_integer_from_1_to_100(api, tenant, limit):
    """Any other limit is refused."""
    assert faults(api.get("/signals", tenant=tenant, query_string={"limit": limit})).keys() == {"limit"}


def test_a_parameter_given_twice_is_refused(api, tenant):
    """A parameter that is given twice is refused: it is unclear which one counts."""
    assert faults(api.get("/signals?limit=1&limit=2", tenant=tenant)).keys() == {"limit"}


def test_an_unknown_provider_in_a_filter_is_not_supported(api, tenant):
    """Filtering by a slug that no provider has is PROVIDER_NOT_SUPPORTED."""
    for path in ("/signals", "/connections", "/deliveries"):
        answer = api.get(path, tenant=tenant, query_string={"provider": "nowhere"})
        assert problem(answer) == (404, "PROVIDER_NOT_SUPPORTED")


@pytest.mark.parametrize("query", ["limit=%00", "%00=1", "cursor=%FF", "%C3%28=1", "cursor=a%00b", "kind=%ED%A0%80"])
def test_nul_and_broken_utf8_are_refused(api, tenant, query):
    """NUL characters and invalid UTF-8 in a query are VALIDATION_ERROR."""
    assert problem(api.get(f"/signals?{query}", tenant=tenant)) == (400, "VALIDATION_ERROR")


def test_a_cursor_works_only_in_its_own_list():
    """A cursor with other filters, of another tenant, or cut in half is refused."""
    api = make_api()
    tenant, other = str(uuid4()), api.new_tenant()
    api.connect(tenant)
    for number in (1, 2):
        api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened(number))
    cursor = api.get("/signals", tenant=tenant, query_string={"limit": 1}).get_json()["next_cursor"]
    assert api.get("/signals", tenant=tenant, query_string={"limit": 5, "cursor": cursor}).status_code == 200

    def refused(path="/signals", tenant=tenant, **query):
        return faults(api.get(path, tenant=tenant, query_string=query)).keys() == {"cursor"}

    assert refused(cursor=cursor, kind="issue_created")
    assert refused(cursor=cursor, tenant=other)
    assert refused(cursor=cursor, path="/deliveries")
    assert refused(cursor=cursor[: len(cursor) // 2])


hostile = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
names_ = st.sampled_from(
    ["provider", "connection_id", "kind", "occurred_after", "occurred_before", "limit", "cursor", "include_payload"]
)


@given(query=st.dictionaries(st.one_of(names_, hostile), hostile, max_size=4))
def test_no_query_is_a_500(api, tenant, query):
    """Any query gets a documented answer."""
    api.get("/signals?" + urlencode(query), tenant=tenant)


@given(raw=st.binary(max_size=60))
def test_no_bytes_in_a_query_or_path_are_a_500(api, tenant, raw):
    """Bytes of any kind, escaped or not, get a documented answer."""
    api.get("/signals", tenant=tenant, query_string=raw.decode("latin-1"))
    answer = api.get(f"/signals/x{quote(raw, safe='')}", tenant=tenant, check=False)
    assert answer.status_code == 404


@given(value=st.text(alphabet=st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
def test_no_header_is_a_500(api, value):
    """Any value of the headers that we read gets a documented answer."""
    for headers in ({"X-Tenant-Id": value}, {"Authorization": value}, {"traceparent": value}):
        token = None if "Authorization" in headers else "root-token"
        api.get("/signals", token=token, headers=headers)


# --- bodies --------------------------------------------------------------------------------------------------------


def test_every_fault_of_a_body_is_named(api, tenant):
    """Unknown members and wrong types are named by their path in the body."""
    body = {"redirect_uri": 1, "scopes": ["a", 2], "options": {"repositories": "a/b", "colour": 1}, "nonsense": None}
    assert faults(api.post("/connect/github", tenant=tenant, json=body)).keys() == {
        "redirect_uri",
        "scopes[1]",
        "options.repositories",
        "options.colour",
        "nonsense",
    }


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"\xff", b'{"scopes":["\\u0000"]}', b"[" * 100_000])
def test_a_body_that_is_no_json_object(api, tenant, body):
    """Anything but a JSON object is VALIDATION_ERROR."""
    answer = api.post("/connect/github", tenant=tenant, data=body, content_type="application/json")
    assert problem(answer) == (400, "VALIDATION_ERROR")


def test_a_body_of_another_type_is_415(api, tenant):
    """Only JSON is accepted; without a body no content type is needed."""
    answer = api.post("/connect/github", tenant=tenant, data=b"a=b", content_type="application/x-www-form-urlencoded")
    assert problem(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert api.post("/connect/github", tenant=tenant).status_code == 200


def test_a_redirect_uri_that_is_not_allowed(api, tenant):
    """A redirect URI that is not allowed is refused, naming the field."""
    answer = api.post("/connect/github", tenant=tenant, json={"redirect_uri": "https://evil.example/"})
    assert faults(answer).keys() == {"redirect_uri"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=8,
)


@given(body=st.dictionaries(st.sampled_from(["redirect_uri", "scopes", "options"]), json_values))
def test_no_body_is_a_500(api, tenant, body):
    """Any body gets a documented answer."""
    api.post("/connect/github", tenant=tenant, data=json.dumps(body), content_type="application/json")


def test_odd_payloads_are_read_back(api):
    """Payloads with huge numbers, NUL characters and deep nesting are accepted and listed."""
    tenant = str(uuid4())
    api.connect(tenant)
    deep = "[" * 300 + "]" * 300
    odd = '{"big": 1' + "0" * 400 + ', "nul": "\\u0000", "deep": ' + deep + "}"
    document = json.dumps(issue_opened()).replace('"sender"', f'"odd": {odd}, "sender"', 1).encode()
    assert api.deliver(f"/webhooks/github/{tenant}", "issues", document).status_code == 202
    answer = api.get("/signals", tenant=tenant, query_string={"include_payload": "true"})
    assert [signal["subject"]["name"] for signal in answer.get_json()["signals"]] == ["Issue 42"]
