"""Codes, tokens, rotation and revocation. The world's lock guards all of it."""

import hmac
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.families import Ending, Family, RefreshRefusedError, Rules, TokenFamilies
from connectors_sandbox.slack.records import Code, Install, Member, Share, SlackApp, Team, Token

CODE_LIFETIME: Final = timedelta(minutes=10)
ACCESS_LIFETIME: Final = timedelta(hours=12)
MOST_LIVE_TOKENS: Final = 2
"""Rotating access tokens at a time; a third one revokes the oldest."""
RULES: Final = Rules(window=timedelta(minutes=5))
"""Slack says that a used refresh token remains valid for a while, but not for how long."""


class SlackError(Exception):
    """An `ok: false`; the message is Slack's error code, `members` are further fields."""

    def __init__(self, code: str, **members: Any) -> None:
        super().__init__(code)
        self.code = code
        self.members = members


class Authorization:
    """The state of OAuth at Slack."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.apps: dict[str, SlackApp] = {}
        self.installs: list[Install] = []
        self.codes: dict[str, Code] = {}
        self.tokens: dict[str, Token] = {}
        self.families = TokenFamilies(core.clock, RULES, self._forget)
        """One for the bot and one for the user of each consent. Without rotation they share the install's token."""
        self.access_lifetime = ACCESS_LIFETIME
        """Of tokens that rotate. Clients are told in each answer: `expires_in`."""

    def client(self, client_id: str, client_secret: str) -> SlackApp:
        """The authenticated app.

        Raises:
            SlackError: unknown id or wrong secret.
        """
        app = self.apps.get(client_id)
        if app is None:
            raise SlackError("invalid_client_id")
        if not hmac.compare_digest(app.client_secret.encode(), client_secret.encode()):
            raise SlackError("bad_client_secret")
        return app

    def grant_code(
        self,
        app: SlackApp,
        team: Team,
        user_id: str,
        bot_scopes: tuple[str, ...],
        user_scopes: tuple[str, ...],
        redirect_uri: str | None,
    ) -> str:
        """A new code for what the user allowed."""
        code = f"{self._digits(12)}.{self._digits(13)}.{self._core.random_string(64, '0123456789abcdef')}"
        expires_at = self._core.clock.now() + CODE_LIFETIME
        self.codes[code] = Code(app, team, user_id, bot_scopes, user_scopes, redirect_uri, expires_at)
        return code

    def exchange(self, app: SlackApp, value: str, redirect_uri: str | None) -> dict[str, Any]:
        """The response to a code. A second use ends what the first gave, but not the token of an install without
        rotation: that belongs to others, too.

        Raises:
            SlackError: not this app's, used, expired, or with another redirect_uri than before.
        """
        code = self.codes.get(value)
        if code is None or code.app is not app:
            raise SlackError("invalid_code")
        if self.families.is_spent(value):
            raise SlackError("code_already_used")
        if code.expires_at <= self._core.clock.now():
            raise SlackError("invalid_code")
        if code.redirect_uri != redirect_uri:
            raise SlackError("bad_redirect_uri")
        install = self._install(code)
        answer = self._head(install)
        authed_user: dict[str, Any] = {"id": code.user_id}
        families = []
        if code.bot_scopes and install.bot_user_id is not None:
            families.append(self._begin(Share(install, "bot", install.bot_user_id)))
            bot = self._issue(families[-1])
            answer |= {**bot, "token_type": "bot", "bot_user_id": install.bot_user_id}
        if code.user_scopes:
            families.append(self._begin(Share(install, "user", code.user_id)))
            authed_user |= {**self._issue(families[-1]), "token_type": "user"}
        self.families.spend(value, *(families if app.is_rotating else ()))
        return {**answer, "authed_user": authed_user}

    def refresh(self, app: SlackApp, value: str) -> dict[str, Any]:
        """The response to a refresh token: the new pair at the top level, of a bot or of a user.

        Raises:
            SlackError: unknown, of another app, or used longer ago than the grace period.
        """
        try:
            family = self.families.renewable(app.client_id, value)
        except RefreshRefusedError as refusal:
            raise SlackError("invalid_refresh_token") from refusal
        share: Share = family.about
        answer = {**self._head(share.install), **self._issue(family), "token_type": share.kind}
        if share.kind == "bot":
            answer |= {"bot_user_id": share.user_id, "authed_user": {"id": share.install.installer}}
        return answer

    def find(self, access: str) -> Token:
        """The live token.

        Raises:
            SlackError: unknown, revoked or expired.
        """
        token = self.tokens.get(access)
        if token is None:
            raise SlackError("invalid_auth")
        if token.is_revoked:
            raise SlackError("token_revoked")
        if token.expires_at is not None and token.expires_at <= self._core.clock.now():
            raise SlackError("token_expired")
        return token

    def live_tokens(self, install: Install) -> list[Token]:
        """The tokens of one install that are not revoked."""
        return [token for token in self.tokens.values() if token.install is install and not token.is_revoked]

    def end_tokens(self, install: Install, ending: Ending, user_id: str | None = None) -> None:
        """End the tokens of one user of an install, or of all."""
        for family in self.families.live():
            if family.about.install is install and user_id in (None, family.about.user_id):
                self.families.end(family, ending)

    def end_install(self, install: Install, ending: Ending) -> None:
        """End an install with all its tokens."""
        self.end_tokens(install, ending)
        self.installs = [one for one in self.installs if one is not install]
        for channel in install.team.channels.values():
            channel.members.discard(install.bot_user_id or "")

    def _install(self, code: Code) -> Install:
        """The app's install in the workspace; scopes only ever grow."""
        install = next((one for one in self.installs if one.app is code.app and one.team is code.team), None)
        if install is None:
            wide = code.app.is_organization_wide and code.team.enterprise_id is not None
            install = Install(code.app, code.team, code.user_id, wide)
            self.installs.append(install)
        if code.bot_scopes and install.bot_user_id is None:
            install.bot_user_id, install.bot_id = "U" + self._capitals(), "B" + self._capitals()
            bot = Member(install.bot_user_id, code.app.name.lower(), code.app.name, is_bot=True)
            code.team.members[bot.id] = bot
        install.bot_scopes = tuple(dict.fromkeys((*install.bot_scopes, *code.bot_scopes)))
        if code.user_scopes:
            before = install.user_scopes.get(code.user_id, ())
            install.user_scopes[code.user_id] = tuple(dict.fromkeys((*before, *code.user_scopes)))
        return install

    def _head(self, install: Install) -> dict[str, Any]:
        team = install.team
        enterprise = {"id": team.enterprise_id, "name": team.enterprise_name} if team.enterprise_id else None
        return {
            "ok": True,
            "app_id": install.app.app_id,
            "team": None if install.is_organization_wide else {"id": team.id, "name": team.name},
            "enterprise": enterprise,
            "is_enterprise_install": install.is_organization_wide,
        }

    def _begin(self, share: Share) -> Family:
        """A new family, or without rotation the one that the install has already."""
        if not share.install.app.is_rotating:
            found = next((one for one in self.families.live() if one.about == share), None)
            if found is not None:
                return found
        return self.families.begin(share.install.app.client_id, share.user_id, share.scopes, about=share)

    def _forget(self, family: Family) -> None:
        for token in self.tokens.values():
            token.is_revoked = token.is_revoked or token.family is family

    def _issue(self, family: Family) -> dict[str, Any]:
        """A token, or a pair if tokens rotate. Without rotation an install keeps its token."""
        share: Share = family.about
        install, kind, user_id, scopes = share.install, share.kind, share.user_id, share.scopes
        own = [token for token in self.live_tokens(install) if (token.kind, token.user_id) == (kind, user_id)]
        letter = "b" if kind == "bot" else "p"
        if not install.app.is_rotating:
            token = (
                own[-1]
                if own
                else Token(
                    f"xox{letter}-{self._digits(12)}-{self._core.random_string(24)}",
                    kind,
                    install,
                    user_id,
                    scopes,
                    None,
                    family,
                )
            )
            token.scopes = scopes
            self.tokens[token.access] = token
            self.families.give(family, token.access, None, None)
            return {"access_token": token.access, "scope": ",".join(scopes)}
        for oldest in own[: max(0, len(own) + 1 - MOST_LIVE_TOKENS)]:
            oldest.is_revoked = True
        expires_at = self._core.clock.now() + self.access_lifetime
        access = f"xoxe.xox{letter}-1-{self._core.random_string(160)}"
        self.tokens[access] = Token(access, kind, install, user_id, scopes, expires_at, family)
        refresh = f"xoxe-1-{self._core.random_string(140)}"
        self.families.give(family, access, refresh, None)
        return {
            "access_token": access,
            "scope": ",".join(scopes),
            "refresh_token": refresh,
            "expires_in": int(self.access_lifetime.total_seconds()),
        }

    def _digits(self, length: int) -> str:
        return self._core.random_string(length, "0123456789")

    def _capitals(self) -> str:
        return "0" + self._core.random_string(9, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789")


def is_registered(redirect_uri: str, app: SlackApp) -> bool:
    """Whether a redirect URI is a registered URL or below one."""
    wanted = urlsplit(redirect_uri)
    if wanted.fragment or "#" in redirect_uri or not wanted.scheme:
        return False
    for url in app.redirect_urls:
        known = urlsplit(url)
        below = known.path.rstrip("/") + "/"
        same_origin = (wanted.scheme, wanted.netloc) == (known.scheme, known.netloc)
        if same_origin and (wanted.path == known.path or wanted.path.startswith(below)):
            return True
    return False
