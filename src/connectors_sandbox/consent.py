"""The consent page of every provider's authorize endpoint, and ways for scripts to skip it.

A script can follow redirects without a browser by adding one of `approve=1`, `deny=1` or `sandbox_user=<account id>` to
the authorize URL, or by creating the sandbox with `auto_consent=True`. `sandbox_scopes=a b` grants less than was
requested.
"""

from typing import Final, Literal

import attrs
from flask import make_response, render_template_string, request
from werkzeug.wrappers import Response

from connectors_sandbox.core import SandboxCore


@attrs.frozen
class ConsentAccount:
    """A user who can sign in."""

    id: str
    label: str
    detail: str = ""


@attrs.frozen
class ConsentScope:
    """One permission on the consent page."""

    name: str
    description: str = ""
    is_optional: bool = True
    """Whether the user may untick it."""


@attrs.frozen
class ConsentScreen:
    """What the consent page shows."""

    provider: str
    """The vendor's name as it is usually written."""
    app_name: str
    accounts: tuple[ConsentAccount, ...]
    scopes: tuple[ConsentScope, ...]
    preferred_account: str | None = None
    """The account id or label that a login hint names."""
    redirect_host: str = ""


@attrs.frozen
class Decision:
    """What the user chose."""

    is_allowed: bool
    account_id: str
    scopes: tuple[str, ...]
    """In the order in which they were requested."""


def decide(core: SandboxCore, screen: ConsentScreen) -> Decision | Response:
    """The user's decision on the current request, or the page that asks for it.

    Call it in an authorize endpoint that accepts GET and POST: the page posts back to its own URL.
    """
    names = tuple(scope.name for scope in screen.scopes)
    if request.method == "POST":
        return _decision(
            screen,
            names,
            "allow" if request.form.get("decision") == "allow" else "deny",
            request.form.get("account"),
            set(request.form.getlist("scope")),
        )
    asked_for = request.args
    if asked_for.get("deny") == "1":
        return _decision(screen, names, "deny", asked_for.get("sandbox_user"), set(names))
    if core.auto_consent or asked_for.get("approve") == "1" or "sandbox_user" in asked_for:
        granted = set(asked_for["sandbox_scopes"].split()) if "sandbox_scopes" in asked_for else set(names)
        return _decision(screen, names, "allow", asked_for.get("sandbox_user"), granted)
    preferred = _find_account(screen, screen.preferred_account)
    page = make_response(render_template_string(PAGE, screen=screen, preferred=preferred))
    page.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    page.headers["Cache-Control"] = "no-store"
    return page


def _decision(
    screen: ConsentScreen,
    names: tuple[str, ...],
    verdict: Literal["allow", "deny"],
    account: str | None,
    ticked: set[str],
) -> Decision:
    fixed = {scope.name for scope in screen.scopes if not scope.is_optional}
    return Decision(
        is_allowed=verdict == "allow",
        account_id=_find_account(screen, account or screen.preferred_account),
        scopes=tuple(name for name in names if name in ticked or name in fixed),
    )


def _find_account(screen: ConsentScreen, wanted: str | None) -> str:
    """The id of the preselected account: the hinted one, or the first; empty if there are no users."""
    for account in screen.accounts:
        if wanted in (account.id, account.label):
            return account.id
    return screen.accounts[0].id if screen.accounts else ""


PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Authorize {{ screen.app_name }}</title>
<style>
  :root { color-scheme: light dark; --line: #d4d8de; --quiet: #5b6470; --paper: #fff; --ground: #f3f5f7;
          --go: #1a7f4b; }
  @media (prefers-color-scheme: dark) {
    :root { --line: #3a414b; --quiet: #9aa4b1; --paper: #1b2027; --ground: #11151a; --go: #2c9a63; }
  }
  * { box-sizing: border-box; }
  body { margin: 0; background: var(--ground); font: 16px/1.5 system-ui, sans-serif; }
  main { max-width: 30rem; margin: 3rem auto; padding: 2rem; background: var(--paper);
         border: 1px solid var(--line); border-radius: 12px; }
  .mark { font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; color: var(--quiet); margin: 0; }
  h1 { font-size: 1.35rem; line-height: 1.3; margin: .25rem 0 1.5rem; }
  fieldset { border: 1px solid var(--line); border-radius: 8px; margin: 0 0 1rem; padding: .5rem 1rem; }
  legend { padding: 0 .4rem; font-weight: 600; font-size: .9rem; }
  label { display: flex; gap: .75rem; align-items: flex-start; padding: .4rem 0; cursor: pointer; }
  input { margin: .35rem 0 0; accent-color: var(--go); }
  small { display: block; color: var(--quiet); }
  code { font-size: .9rem; overflow-wrap: anywhere; }
  .buttons { display: flex; gap: .75rem; margin-top: 1.5rem; }
  button { flex: 1; font: inherit; font-weight: 600; padding: .65rem; border-radius: 8px; cursor: pointer;
           border: 1px solid var(--line); background: transparent; color: inherit; }
  button.allow { background: var(--go); border-color: var(--go); color: #fff; }
  button:focus-visible, input:focus-visible { outline: 3px solid #6aa7ff; outline-offset: 2px; }
  footer { margin-top: 1.25rem; font-size: .85rem; color: var(--quiet); }
</style>
</head>
<body>
<main>
  <p class="mark">{{ screen.provider }} · sandbox</p>
  <h1><strong>{{ screen.app_name }}</strong> wants to use your {{ screen.provider }} account</h1>
  <form method="post">
    <fieldset><legend>Account</legend>
    {% for account in screen.accounts %}
      <label><input type="radio" name="account" value="{{ account.id }}"
               {{ 'checked' if account.id == preferred }}>
        <span>{{ account.label }}
          {% if account.detail %}<small>{{ account.detail }}</small>{% endif %}</span></label>
    {% else %}
      <p>There are no users yet: add one to the sandbox first.</p>
    {% endfor %}
    </fieldset>
    <fieldset><legend>Permissions</legend>
    {% for scope in screen.scopes %}
      <label><input type="checkbox" name="scope" value="{{ scope.name }}" checked
               {{ 'disabled' if not scope.is_optional }}>
        <span><code>{{ scope.name }}</code>
          {% if scope.description %}<small>{{ scope.description }}</small>{% endif %}</span></label>
    {% else %}
      <p>Public information only.</p>
    {% endfor %}
    </fieldset>
    <div class="buttons">
      <button name="decision" value="deny">Deny</button>
      <button class="allow" name="decision" value="allow" {{ 'disabled' if not screen.accounts }}>Allow</button>
    </div>
  </form>
  <footer>{% if screen.redirect_host %}You will be sent to <code>{{ screen.redirect_host }}</code>. {% endif %}
  This page is served by the connectors sandbox; no real account is involved.</footer>
</main>
</body>
</html>
"""
