"""The token endpoint in memory sends what the real one sends."""

from itertools import product

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.memory.provider_api import MemoryTokenEndpoint
from connectors.adapters.requests.provider_api import RequestsProviderApi
from connectors.adapters.requests.token_endpoint import RequestsTokenEndpoint
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.oauth import (
    BodyFormat,
    ClientAuthentication,
    CodeExchange,
    ProviderApp,
    TokenEndpointCall,
    TokenSet,
)
from connectors.domain.model.secret import Secret

CALLS = [
    TokenEndpointCall(
        url="https://vendor.example/oauth/token?version=2",
        client_authentication=client,
        body_format=body,
        headers=headers,
    )
    for client, body, headers in product(
        ClientAuthentication, BodyFormat, ({}, {"Accept": "text/plain", "Content-Type": "text/x", "X-Vendor": "1"})
    )
]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
"""No surrogates: they have no bytes."""


class Wire:
    """A transport that records what would be sent, as bytes, and answers with an empty object."""

    def __init__(self):
        self.sent = []

    def exchange(self, request):
        ready = request.prepare()
        headers = sorted((name.lower(), str(value)) for name, value in ready.headers.items())
        body = ready.body.encode() if isinstance(ready.body, str) else ready.body
        self.sent.append((ready.method, ready.url, headers, body))
        return HttpResponse(status=200, body=b"{}")


@pytest.mark.parametrize("call", CALLS)
@given(client=st.tuples(TEXTS, TEXTS), code=TEXTS, redirect_uri=TEXTS, verifier=st.none() | TEXTS, refresh_token=TEXTS)
def test_both_send_the_same_bytes(call, client, code, redirect_uri, verifier, refresh_token):
    """Method, URL, headers and body are equal for any client, code and token, and both pass on what was read."""
    app = ProviderApp(provider="vendor", client_id=client[0], client_secret=Secret(client[1]))
    exchange = CodeExchange(
        code=Secret(code), redirect_uri=redirect_uri, code_verifier=None if verifier is None else Secret(verifier)
    )
    wire, tokens = Wire(), TokenSet(access_token=Secret("t"))
    answers = []

    def read(response):
        answers.append(response.body)
        return tokens

    for endpoint in (RequestsTokenEndpoint(wire), MemoryTokenEndpoint(RequestsProviderApi(wire).send)):
        assert endpoint.exchange_code(app, call, exchange, read) is tokens
        assert endpoint.refresh(app, call, Secret(refresh_token), read) is tokens
    assert wire.sent[:2] == wire.sent[2:]
    assert answers == [b"{}"] * 4


def test_the_client_is_authenticated_one_way_only():
    """The secret is in the body or in the Basic header, never in both."""
    app = ProviderApp(provider="vendor", client_id="us:er", client_secret=Secret("pä ss"))
    seen = []

    def respond(request):
        seen.append((request.headers.get("authorization"), b"client_secret" in request.body))
        return HttpResponse(status=200)

    for client in ClientAuthentication:
        call = attrs.evolve(CALLS[0], client_authentication=client)
        MemoryTokenEndpoint(respond).refresh(app, call, Secret("r"), lambda response: None)
    assert dict(zip(ClientAuthentication, seen, strict=True)) == {
        ClientAuthentication.BODY: (None, True),
        ClientAuthentication.BASIC: ("Basic dXM6ZXI6cMOkIHNz", False),
    }
