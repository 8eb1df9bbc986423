"""Acme, a made-up provider with a minimal version of every ability in the contract. Its vendor is in `vendor.py`."""

import hashlib
import hmac
import json
from datetime import timedelta
from http import HTTPStatus

import attrs

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    ClientRejectedError,
    DeliveryRejectedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, HttpRequest, form_request, json_request, with_query
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.oauth import TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import SignalDraft, SignalKind, Subject
from connectors.domain.model.sync import Interpretation, Observation, SkippedItem, SyncMode, SyncPage
from connectors.domain.model.webhook import DeliveryHints, Ignored, Lifecycle, VerifiedDelivery, WebhookEvent
from connectors.domain.providers.contract import (
    Family,
    Handshake,
    Limits,
    MissedDelivery,
    OAuth,
    Option,
    Provider,
    Scope,
    SigningKeys,
    SubscriptionReceipt,
    Subscriptions,
    SubscriptionScope,
    Sync,
    Webhooks,
    unknown_key,
)
from connectors.domain.providers.toolbox.options import whole_number

SLUG = ProviderSlug("acme")
HOST = "https://acme.test"


# --- OAuth ---------------------------------------------------------------------------------------------------------


def authorize_url(app, params):
    return with_query(
        f"{HOST}/authorize",
        {
            "client_id": app.client_id,
            "redirect_uri": params.redirect_uri,
            "scope": " ".join(params.scopes),
            "state": params.state,
            "code_challenge": params.code_challenge,
            "code_challenge_method": "S256" if params.code_challenge else None,
        },
    )


def token_endpoint(app, about):
    return TokenEndpointCall(url=f"{HOST}/oauth/token")


def read_tokens(response, now, previous):
    if response.status >= 500:
        raise ProviderUnavailableError(f"Acme's token endpoint answered {response.status}.")
    answer = response.json_object()
    match answer.get("error"):
        case None:
            return _read_pair(answer, now, previous)
        case "invalid_grant":
            raise ReauthorizationRequiredError("Acme refused the grant.")
        case "invalid_client":
            raise ClientRejectedError("Acme refused our client.")
    raise UnexpectedResponseError("Acme's token endpoint answered an unknown error.")


def _read_pair(answer, now, previous):
    refresh_token = answer.get("refresh_token")
    expires_in = answer.get("expires_in")
    companions = {name: _read_pair(inner, now, None) for name, inner in answer.get("companions", {}).items()}
    return TokenSet(
        access_token=Secret(answer["access_token"]),
        refresh_token=Secret(refresh_token) if refresh_token else previous and previous.refresh_token,
        scopes=tuple(answer.get("scope", "").split()),
        expires_at=None if expires_in is None else now + timedelta(seconds=expires_in),
        companions=companions,
    )


def identify(app, tokens):
    response = yield HttpRequest(method="GET", url=f"{HOST}/api/accounts")
    return tuple(
        ExternalAccount(id=one["id"], name=one["name"], url=one.get("url"), metadata={"email": one["email"]})
        for one in response.json_list()
    )


def revoke(app, tokens):
    fields = {"token": tokens.access_token.reveal()}
    yield form_request("POST", f"{HOST}/oauth/revoke", fields, authorization=Authorization.CLIENT_BASIC)


OAUTH = OAuth(
    scopes=(Scope("items:read", "Read items."), Scope("admin", "Rule.", default=False)),
    pkce=True,
    authorize_url=authorize_url,
    token_endpoint=token_endpoint,
    read_tokens=read_tokens,
    identify=identify,
    grant_key=lambda accounts: f"acme:{accounts[0].metadata['email']}",
    required_scopes=lambda app, asked: frozenset({"items:read"} & set(asked)),
    revoke=revoke,
)


# --- webhooks ------------------------------------------------------------------------------------------------------


def sign(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def read_hints(request):
    return DeliveryHints(
        delivery_id=request.headers.get("x-acme-delivery"), subscription_external_id=request.headers.get("x-acme-hook")
    )


def verify(request, material):
    if "x-acme-key" in request.headers and material.keys is not None:
        if request.headers["x-acme-key"] not in material.keys.keys:
            raise unknown_key()
        return VerifiedDelivery(request=request, delivery_id=request.headers["x-acme-delivery"], via="app")
    claimed = request.headers.get("x-acme-signature", "").encode(errors="replace")
    expected = [sign(one.reveal(), request.body).encode() for one in material.secrets]
    if sum(hmac.compare_digest(one, claimed) for one in expected) == 0:
        raise DeliveryRejectedError("The signature does not match.")
    delivery_id = request.headers.get("x-acme-delivery") or hashlib.sha256(request.body).hexdigest()
    return VerifiedDelivery(request=request, delivery_id=delivery_id, via=material.via)


def read_event(delivery, context):
    try:
        document = json.loads(delivery.request.body)
    except ValueError as error:
        raise UnexpectedResponseError("The body is not JSON.") from error
    name = document["event"]  # unguarded on purpose: a provider package with a bug
    accounts = tuple(document.get("accounts", ()))
    match name:
        case "item.created":
            return WebhookEvent(event=name, account_ids=accounts, signals=(item_created(document["item"]),))
        case "changed":
            return WebhookEvent(event=name, account_ids=accounts, needs_sync=True, sync_target=document.get("target"))
        case "revoked":
            return WebhookEvent(
                event=name, account_ids=accounts, lifecycle=Lifecycle.REVOKED, at=read_instant(document.get("at"))
            )
        case "renamed":
            return WebhookEvent(event=name, account_ids=accounts, connection_metadata={"name": document["name"]})
    return Ignored(name)


def item_created(item):
    """The draft that webhook, sync and backfill all make of one item."""
    return SignalDraft(
        kind=SignalKind.ISSUE_CREATED,
        occurred_at=read_instant(item["created_at"]),
        title=item["title"],
        url=f"{HOST}/items/{item['id']}",
        subject=Subject("item", item["id"], item["title"]),
        dedupe_key=f"item:{item['id']}:created",
        payload=item,
    )


def read_handshake(request):
    secret = request.headers.get("x-acme-handshake")
    return None if secret is None else Handshake(secret=Secret(secret))


def signing_keys(app):
    response = yield HttpRequest(method="GET", url=f"{HOST}/keys", authorization=Authorization.NONE)
    document = response.json_object()
    return SigningKeys(keys=document["keys"], expires_at=read_instant(document["expires_at"]))


def targets(app, connection):
    response = yield HttpRequest(method="GET", url=f"{HOST}/api/targets")
    return tuple(response.json_list())


def subscribe(app, connection, request):
    document = {
        "url": request.callback_url,
        "secret": request.secret.reveal(),
        "target": request.subscription.target,
        "account": connection.account.id,
    }
    response = yield json_request("POST", f"{HOST}/api/hooks", document)
    answer = response.json_object()
    return SubscriptionReceipt(
        external_id=answer["id"], metadata={"target": answer["target"]}, connection_metadata={"hooked": True}
    )


def unsubscribe(app, connection, subscription):
    url = f"{HOST}/api/hooks/{subscription.external_id}"
    yield HttpRequest(method="DELETE", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))


def subscribe_for_a_time(app, connection, request):
    """Like `subscribe`, at a vendor whose hooks expire."""
    document = {
        "url": request.callback_url,
        "secret": request.secret.reveal(),
        "target": request.subscription.target,
        "account": connection.account.id,
        "expires_at": rfc3339(request.expires_at),
    }
    response = yield json_request("POST", f"{HOST}/api/hooks", document)
    return SubscriptionReceipt(external_id=response.json_object()["id"], expires_at=request.expires_at)


def probe(app, connection, subscription):
    url = f"{HOST}/api/hooks/{subscription.external_id}"
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    return response.status != HTTPStatus.NOT_FOUND


def missed(app, connection, subscription, since):
    response = yield HttpRequest(method="GET", url=with_query(f"{HOST}/api/missed", {"since": rfc3339(since)}))
    return tuple(
        MissedDelivery(delivery_id=one["id"], log_id=one["log_id"], event=one["event"], at=read_instant(one["at"]))
        for one in response.json_list()
    )


def redeliver(app, connection, subscription, delivery):
    yield json_request("POST", f"{HOST}/api/missed/{delivery.log_id}", {})


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.TENANT,
    read_hints=read_hints,
    verify=verify,
    read_event=read_event,
    subscriptions=Subscriptions(targets=targets, subscribe=subscribe, unsubscribe=unsubscribe),
    secret_headers=frozenset({"x-acme-signature"}),
)


# --- reading -------------------------------------------------------------------------------------------------------


def start(context, plan):
    yield HttpRequest(method="GET", url=f"{HOST}/api/accounts")
    if plan.mode is SyncMode.BACKFILL:
        return {"after": 0}
    # Without a cursor this is a baseline: only what comes after the present end.
    return plan.last_cursor or {"after": -1}


def read_page(context, plan, cursor):
    response = yield HttpRequest(method="GET", url=f"{HOST}/api/items?after={cursor['after']}")
    page = response.json_object()
    good = [one for one in page["items"] if "title" in one]
    bad = [one for one in page["items"] if "title" not in one]
    return SyncPage(
        cursor={"after": page["end"]},
        done=not page["more"],
        signals=tuple(item_created(one) for one in good if "state" not in one),
        observations=tuple(Observation(key=one["id"], state=one) for one in good if "state" in one),
        items=len(page["items"]),
        skipped=tuple(SkippedItem(reference=one["id"], reason="no title") for one in bad),
        gap=page.get("gap"),
        connection_metadata={"end": page["end"]},
    )


def interpret(context, plan, observation, known):
    state = observation.state
    if state["state"] == "gone":
        return Interpretation()
    if known is None:
        return Interpretation(signals=(item_created(state),), snapshot={"state": state["state"]})
    if known["state"] == state["state"]:
        return Interpretation(snapshot=known)
    draft = attrs.evolve(
        item_created(state),
        kind=SignalKind.ISSUE_STATUS_CHANGED,
        dedupe_key=f"item:{state['id']}:{state['state']}",
    )
    return Interpretation(signals=(draft,), snapshot={"state": state["state"]})


SYNC = Sync(start=start, read_page=read_page, interpret=interpret)


ITEMS = Family(name="items", kinds=frozenset({SignalKind.ISSUE_CREATED}), events=frozenset({"item.created"}))
STATES = Family(
    name="states",
    kinds=frozenset({SignalKind.ISSUE_STATUS_CHANGED}),
    events=frozenset({"item.changed"}),
    is_read=False,
    is_backfilled=False,
)
"""Only webhooks report them."""


# --- the provider --------------------------------------------------------------------------------------------------


def read_failure(request, response, now):
    match response.status:
        case 401:
            return ReauthorizationRequiredError("Acme refused the token.")
        case 429:
            return RateLimitedError("Acme wants us to wait.", retry_at=now + timedelta(seconds=30))
        case status if status >= 500:
            return ProviderUnavailableError(f"Acme answered {status}.")
    return UnexpectedResponseError(f"Acme answered {response.status}.")


def read_throttle(response, now):
    if response.headers.get("x-acme-left") == "0":
        return RateLimitedError("Only the reserve is left.", retry_at=now + timedelta(seconds=60), scope="reserve")
    return None


ACME = Provider(
    slug=SLUG,
    name="Acme",
    description="Items of a company that makes everything.",
    homepage=HOST,
    kinds=frozenset({SignalKind.ISSUE_CREATED, SignalKind.ISSUE_STATUS_CHANGED}),
    oauth=OAUTH,
    webhooks=WEBHOOKS,
    sync=SYNC,
    limits=Limits(read_failure=read_failure, read_throttle=read_throttle),
    allowed_origins=lambda app: frozenset({HOST}),
    options={"page_size": Option(whole_number(1, 100), default=50, help="Items per page")},
)


def make_acme(*, oauth=(), webhooks=(), subscriptions=(), **changes):
    """Acme with other abilities: a test names only the differences."""
    hooks = attrs.evolve(
        WEBHOOKS, **{"subscriptions": attrs.evolve(WEBHOOKS.subscriptions, **dict(subscriptions)), **dict(webhooks)}
    )
    return attrs.evolve(ACME, **{"oauth": attrs.evolve(OAUTH, **dict(oauth)), "webhooks": hooks, **changes})
