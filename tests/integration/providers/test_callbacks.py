"""At each provider: a repeated callback exchanges its code once, and a consent of another account changes nothing."""

import pytest

from tests.support.acts import ACTS, fresh_name

TOKEN_ENDPOINTS = ("/access_token", "/oauth.v2.access", "/token")


def exchanges(stage):
    """How many requests all token endpoints have had."""
    requests = stage.sandbox.core.requests
    return sum(one.method == "POST" and one.path.endswith(TOKEN_ENDPOINTS) for one in requests)


@pytest.mark.parametrize("slug", ACTS)
def test_a_repeated_callback_exchanges_once(stage, slug):
    """HEAD asks the provider nothing, the callback exchanges the code, and its repeats give the same connections."""
    act, name, core = ACTS[slug], fresh_name(), stage.tenant()
    user = act.prepare(stage.sandbox, name)
    query = core.consent(f"{core.begin(slug, act.options(name))}&sandbox_user={user}")
    path, before = f"/connect/{slug}/callback", exchanges(stage)
    assert core.call("HEAD", path, params=query).status_code == 405
    assert exchanges(stage) == before
    first = core.get(path, params=query)
    assert exchanges(stage) == before + 1
    asked = len(stage.sandbox.core.requests)
    for _ in range(2):
        again = core.get(path, params=query)
        assert [one["id"] for one in again["connections"]] == [one["id"] for one in first["connections"]]
        assert again.keys() == first.keys()
    assert len(stage.sandbox.core.requests) == asked
    assert len(core.list("connections")) == len(first["connections"])


@pytest.mark.parametrize("slug", ACTS)
def test_a_consent_of_another_account_changes_nothing(stage, slug):
    """The answer is a conflict with both names, the connection stays, and the new tokens end: nobody else needs them."""
    act, name, other, core = ACTS[slug], fresh_name(), fresh_name(), stage.tenant()
    connection = core.connect(slug, act.prepare(stage.sandbox, name), act.options(name))
    user, live = act.prepare(stage.sandbox, other), act.tokens(stage.sandbox, name)
    shown = core.show(connection)
    body = {"connection_id": connection["id"], "options": dict(act.options(name)) or None}
    started = core.call("POST", f"/connect/{slug}", json=body).json()["authorize_url"]
    query = core.consent(f"{started}&sandbox_user={user}")
    before = exchanges(stage)
    for _ in range(2):
        answer = core.call("GET", f"/connect/{slug}/callback", params=query)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT"), answer.text
        (detail,) = answer.json()["details"]
        assert detail["connection_account"] == connection["account"]["name"]
        assert detail["connection_account"] not in detail["consent_accounts"]
    assert exchanges(stage) == before + 1
    assert core.show(connection) == shown
    assert act.tokens(stage.sandbox, name) == live
    assert act.tokens(stage.sandbox, other) == 0
