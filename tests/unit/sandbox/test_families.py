"""Token families, caps and codes at every vendor of the sandbox, from one table."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from connectors_sandbox import Sandbox, SandboxClock, create_sandbox
from connectors_sandbox.families import Ending
from connectors_sandbox.github.authorization import ACCESS_LIFETIME as GITHUB_LIFETIME
from connectors_sandbox.google.auth import Code as GoogleCode

BACK = "http://127.0.0.1/callback"


@attrs.frozen
class Pair:
    """What a token endpoint gave."""

    access: str
    refresh: str


class Vendor:
    """One vendor with two users, called as its own token endpoint calls it."""

    name = ""
    window: timedelta | None = None
    """How long a replaced refresh token works; None: it is never replaced."""
    most: int | None = None
    refusals = ("", "", "")
    """The vendor's own errors: of a used code, of a replaced refresh token, and of one that it does not know."""

    def __init__(self) -> None:
        self.sandbox: Sandbox = create_sandbox(SandboxClock(datetime(2026, 11, 28, tzinfo=UTC)), vendors={self.name})
        self.world: Any = self.sandbox.worlds[self.name]
        self.set_up()

    def set_up(self) -> None:
        """The app, and the users `ada` and `bob`."""

    def code(self, user: str) -> str:
        """What the user's consent gives."""
        raise NotImplementedError

    def exchange(self, code: str) -> Pair:
        """The first tokens."""
        raise NotImplementedError

    def refresh(self, token: str) -> Pair:
        """The next ones."""
        raise NotImplementedError

    def works(self, access: str) -> bool:
        """Whether an access token works."""
        raise NotImplementedError

    def revoke(self, pair: Pair) -> None:
        """What a disconnection calls."""
        raise NotImplementedError

    def consent(self, user: str) -> Pair:
        """A whole consent."""
        return self.exchange(self.code(user))

    def refusal(self, call: Callable[[str], Pair], value: str) -> str:
        """The error of a call that is refused."""
        with pytest.raises(Exception) as caught:
            call(value)
        error: Any = caught.value
        found = getattr(error, "code", None) or getattr(error, "error", None) or error.document["error"]
        return str(found)

    def pass_time(self, **span: float) -> None:
        self.sandbox.clock.advance(timedelta(**span))

    @property
    def living(self) -> list[str]:
        """The users of the families that live, oldest first."""
        return [one.user for one in self.sandbox.live_tokens(self.name)]

    @property
    def endings(self) -> list[Ending]:
        return [one.ending for one in self.world.families.all if one.ending is not None]


class GitHub(Vendor):
    name = "github"
    window = timedelta()
    most = 10
    refusals = ("bad_verification_code", "bad_refresh_token", "bad_refresh_token")

    def set_up(self) -> None:
        self.world.add_app("cid", "shh", callback_url=BACK, is_expiring=True)
        self.ids = {name: self.world.add_user(name).id for name in ("ada", "bob")}

    def code(self, user: str) -> str:
        return self.world.auth.grant_code(self.world.auth.apps["cid"], self.ids[user], ("repo",), None, None)

    def exchange(self, code: str) -> Pair:
        return self._pair(self.world.auth.exchange(self.world.auth.apps["cid"], code, None, None))

    def refresh(self, token: str) -> Pair:
        return self._pair(self.world.auth.refresh(self.world.auth.apps["cid"], token))

    def works(self, access: str) -> bool:
        return self.world.auth.find_live(access) is not None

    def revoke(self, pair: Pair) -> None:
        answer = self.delete(pair.access)
        assert answer.status_code == 204

    def delete(self, access: str) -> Any:
        http = self.sandbox.app.test_client()
        url = "/github/api/v3/applications/cid/token"
        return http.delete(url, json={"access_token": access}, auth=("cid", "shh"))

    def _pair(self, token: Any) -> Pair:
        return Pair(token.access, token.refresh)


class Jira(Vendor):
    name = "jira"
    window = timedelta(minutes=10)
    refusals = ("invalid_grant", "unauthorized_client", "invalid_grant")

    def set_up(self) -> None:
        self.world.add_app("cid", "shh", callback_url=BACK)
        self.ids = {name: self.world.add_user(name.title()).account_id for name in ("ada", "bob")}

    def code(self, user: str) -> str:
        scopes = ("read:jira-work", "offline_access")
        return self.world.auth.grant_code(self.world.auth.apps["cid"], self.ids[user], scopes, BACK)

    def exchange(self, code: str) -> Pair:
        return self._pair(self.world.auth.exchange(self.world.auth.apps["cid"], code, BACK))

    def refresh(self, token: str) -> Pair:
        return self._pair(self.world.auth.refresh(self.world.auth.apps["cid"], token))

    def works(self, access: str) -> bool:
        return self.world.auth.find_access(access) is not None

    def _pair(self, pair: Any) -> Pair:
        return Pair(pair.access, pair.refresh)


class Slack(Vendor):
    name = "slack"
    window = timedelta(minutes=5)
    refusals = ("code_already_used", "invalid_refresh_token", "invalid_refresh_token")
    is_rotating = True

    def set_up(self) -> None:
        self.world.add_app("cid", "shh", redirect_urls=[BACK], rotating=self.is_rotating)
        self.world.add_team("acme", team_id="T1")
        for name in ("ada", "bob"):
            self.world.add_user("T1", name, user_id=f"U{name}")

    def code(self, user: str) -> str:
        team = self.world.team("T1")
        return self.world.auth.grant_code(self.world.auth.apps["cid"], team, f"U{user}", ("channels:read",), (), None)

    def exchange(self, code: str) -> Pair:
        return self._pair(self.world.auth.exchange(self.world.auth.apps["cid"], code, None))

    def refresh(self, token: str) -> Pair:
        return self._pair(self.world.auth.refresh(self.world.auth.apps["cid"], token))

    def works(self, access: str) -> bool:
        found = self.world.auth.tokens.get(access)
        return found is not None and not found.is_revoked

    def revoke(self, pair: Pair) -> None:
        answer = self.sandbox.app.test_client().post(
            "/slack/api/apps.uninstall",
            data={"client_id": "cid", "client_secret": "shh"},
            headers={"Authorization": f"Bearer {pair.access}"},
        )
        assert answer.get_json()["ok"]

    def _pair(self, answer: dict[str, Any]) -> Pair:
        return Pair(answer["access_token"], answer.get("refresh_token", ""))


class SteadySlack(Slack):
    is_rotating = False


class Google(Vendor):
    name = "google"
    most = 100
    refusals = ("invalid_grant", "invalid_grant", "invalid_grant")

    def set_up(self) -> None:
        for name in ("ada", "bob"):
            self.world.add_user(f"{name}@x.com")
        self.client = next(iter(self.world.auth.clients.values()))

    def code(self, user: str) -> str:
        return self.world.auth.issue_code(
            GoogleCode(
                client_id=self.client.id,
                email=f"{user}@x.com",
                scopes=("openid",),
                redirect_uri=BACK,
                challenge=None,
                method="plain",
                gives_refresh=True,
                expires_at=self.sandbox.clock.now() + timedelta(minutes=10),
            )
        )

    def exchange(self, code: str) -> Pair:
        return self._pair(*self.world.auth.exchange(self.client, code, BACK, None))

    def refresh(self, token: str) -> Pair:
        return self._pair(*self.world.auth.refresh(self.client, token))

    def works(self, access: str) -> bool:
        return self.world.auth.find_access(access) is not None

    def revoke(self, pair: Pair) -> None:
        assert self.world.auth.revoke(pair.refresh)

    def _pair(self, grant: Any, access: str) -> Pair:
        return Pair(access, grant.refresh)


class Zoho(Vendor):
    name = "zoho"
    most = 20
    refusals = ("invalid_code", "invalid_code", "invalid_code")

    def set_up(self) -> None:
        self.world.add_client("cid", "shh")
        self.users = {name: self.world.add_user(f"{name}@x.com") for name in ("ada", "bob")}
        self.client = self.world.auth.clients["cid"]

    def code(self, user: str) -> str:
        return self.world.auth.issue_code(
            "cid", self.users[user], ("ZohoMail.messages.READ",), BACK, gives_refresh=True
        )

    def exchange(self, code: str) -> Pair:
        return self._pair(*self.world.auth.exchange(self.client, code, BACK, "us"))

    def refresh(self, token: str) -> Pair:
        return self._pair(*self.world.auth.refresh(self.client, token, "us"))

    def works(self, access: str) -> bool:
        return self.world.auth.find_access(access, "us") is not None

    def revoke(self, pair: Pair) -> None:
        assert self.world.auth.revoke(pair.refresh, "us")

    def _pair(self, grant: Any, access: str) -> Pair:
        return Pair(access, grant.refresh)


VENDORS: Sequence[type[Vendor]] = (GitHub, Jira, Slack, Google, Zoho)
ROTATING = [one for one in VENDORS if one.window is not None]
STEADY = [one for one in VENDORS if one.window is None]
CAPPED = [one for one in VENDORS if one.most is not None]
REVOKED_ALONE, REVOKED_TOGETHER = (GitHub, Zoho), (Slack, Google)
"""Vendors whose revocation ends one consent's tokens, and those where it ends the whole account's."""


def each(vendors: Sequence[type[Vendor]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vendor", [pytest.param(one, id=one.name) for one in vendors], indirect=True)


@pytest.fixture
def vendor(request):
    """A vendor of the table, with nothing in it but an app and two users."""
    return request.param()


@each(VENDORS)
def test_a_code_that_is_used_twice_ends_what_it_gave(vendor):
    """The second use is refused in the vendor's words, and neither token of the first works any more."""
    code = vendor.code("ada")
    pair = vendor.exchange(code)
    assert vendor.works(pair.access)
    assert vendor.refusal(vendor.exchange, code) == vendor.refusals[0]
    assert not vendor.works(pair.access)
    vendor.refusal(vendor.refresh, pair.refresh)
    assert (vendor.living, vendor.endings) == ([], [Ending.CODE_REUSED])


@each(VENDORS)
def test_a_second_use_ends_no_other_consent(vendor):
    """What another code gave the same user lives on."""
    code, other = vendor.code("ada"), vendor.consent("ada")
    vendor.exchange(code)
    vendor.refusal(vendor.exchange, code)
    assert vendor.works(other.access)
    assert len(vendor.living) == 1


@each(VENDORS)
def test_an_old_code_gives_nothing(vendor):
    """Codes live for minutes."""
    code = vendor.code("ada")
    vendor.pass_time(minutes=10)
    vendor.refusal(vendor.exchange, code)
    assert vendor.living == []


@each(ROTATING)
def test_a_replaced_refresh_token_works_within_the_window(vendor):
    """Sent again before the window ends, it gives another pair of the same family."""
    first = vendor.consent("ada")
    vendor.refresh(first.refresh)
    if vendor.window:
        vendor.pass_time(seconds=vendor.window.total_seconds() - 1)
        assert vendor.works(vendor.refresh(first.refresh).access)
    assert len(vendor.living) == 1


@each(ROTATING)
def test_a_replaced_refresh_token_that_comes_late_ends_the_family(vendor):
    """The thief or the client, whoever is second: neither has a token that works, and another family is unharmed."""
    first, other = vendor.consent("ada"), vendor.consent("bob")
    second = vendor.refresh(first.refresh)
    vendor.pass_time(seconds=vendor.window.total_seconds())
    assert vendor.refusal(vendor.refresh, first.refresh) == vendor.refusals[1]
    assert vendor.world.families.reused == [first.refresh]
    assert not vendor.works(second.access)
    assert vendor.refusal(vendor.refresh, second.refresh) == vendor.refusals[1]
    assert vendor.endings == [Ending.TOKEN_REUSED]
    assert vendor.works(vendor.refresh(other.refresh).access)


@each(STEADY)
def test_a_refresh_token_that_is_never_replaced_works_again_and_again(vendor):
    """Google and Zoho do not rotate."""
    pair = vendor.consent("ada")
    assert vendor.refresh(pair.refresh).refresh == vendor.refresh(pair.refresh).refresh == pair.refresh
    assert vendor.world.families.reused == []


@each(VENDORS)
def test_an_unknown_refresh_token_is_refused(vendor):
    """In the vendor's own words, and nothing ends."""
    vendor.consent("ada")
    assert vendor.refusal(vendor.refresh, "nobody's") == vendor.refusals[2]
    assert len(vendor.living) == 1


@each(CAPPED)
def test_one_consent_too_many_ends_the_oldest(vendor):
    """Of one user and app; other users are not counted, and a refresh is no new consent."""
    other = vendor.consent("bob")
    pairs = [vendor.consent("ada") for _ in range(vendor.most)]
    pairs[-1] = vendor.refresh(pairs[-1].refresh)
    assert vendor.works(pairs[0].access)
    vendor.consent("ada")
    assert [vendor.works(one.access) for one in pairs] == [False] + [True] * (vendor.most - 1)
    assert vendor.works(other.access)
    assert vendor.endings == [Ending.CROWDED_OUT]


@each([one for one in VENDORS if one.most is None])
def test_some_vendors_have_no_limit(vendor):
    """None that their documentation names."""
    for _ in range(30):
        vendor.consent("ada")
    assert (len(vendor.living), vendor.endings) == (30, [])


@each(REVOKED_ALONE)
def test_a_revocation_ends_one_family(vendor):
    """The user's other consents live on."""
    pair, other = vendor.consent("ada"), vendor.consent("ada")
    vendor.revoke(pair)
    assert (vendor.works(pair.access), vendor.works(other.access)) == (False, True)
    vendor.refusal(vendor.refresh, pair.refresh)
    assert vendor.endings == [Ending.REVOKED]


@each(REVOKED_TOGETHER)
def test_a_revocation_ends_the_whole_account(vendor):
    """Every family of the installation or of the user's grants to the project."""
    pair, other = vendor.consent("ada"), vendor.consent("ada")
    vendor.revoke(pair)
    assert not vendor.works(other.access)
    assert (vendor.living, vendor.endings) == ([], [Ending.REVOKED] * 2)


def test_github_does_not_know_an_access_token_that_has_expired():
    """It answers 404 as for any unknown one, and the family lives on by its refresh token."""
    vendor = GitHub()
    pair = vendor.consent("ada")
    vendor.pass_time(seconds=GITHUB_LIFETIME.total_seconds())
    assert vendor.delete(pair.access).status_code == 404
    assert len(vendor.living) == 1
    fresh = vendor.refresh(pair.refresh)
    assert vendor.delete(pair.access).status_code == 404
    vendor.revoke(fresh)
    assert vendor.living == []


def test_an_installation_of_slack_without_rotation_has_one_token():
    """The next consent gives it again; a code that is used twice does not end it, because it is not that code's alone."""
    vendor = SteadySlack()
    code = vendor.code("ada")
    pair = vendor.exchange(code)
    assert vendor.consent("bob").access == pair.access
    assert vendor.refusal(vendor.exchange, code) == "code_already_used"
    assert vendor.works(pair.access)
    assert len(vendor.living) == 1


def test_a_family_that_nobody_refreshes_ends_by_itself():
    """At Atlassian after ninety idle days, counted from the last refresh."""
    vendor = Jira()
    pair = vendor.consent("ada")
    vendor.pass_time(days=89)
    pair = vendor.refresh(pair.refresh)
    vendor.pass_time(days=89)
    assert len(vendor.living) == 1
    vendor.pass_time(days=1)
    assert vendor.living == []
    assert vendor.refusal(vendor.refresh, pair.refresh) == "unauthorized_client"


def test_a_listener_is_told_of_each_family_that_ends():
    """Once, when its tokens work no more."""
    vendor, told = GitHub(), []
    pair = vendor.consent("ada")
    vendor.world.families.on_end = lambda family: told.append((family.ending, vendor.works(pair.access)))
    vendor.revoke(pair)
    vendor.world.revoke_tokens("ada")
    assert told == [(Ending.REVOKED, False)]
