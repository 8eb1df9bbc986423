"""The parts of the documentation that are made from the code. `python -m tests.support.reference` updates them."""

from pathlib import Path

from connectors.domain.model.kinds import MEANINGS
from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.github import GITHUB
from connectors.domain.providers.github import events as github
from connectors.domain.providers.github.subscriptions import ORGANIZATION_EVENTS, REPOSITORY_EVENTS
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira import events as jira
from connectors.domain.providers.registry import BUILT_IN
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack import events as slack

DOCS = Path(__file__).parents[2] / "docs"
BEGIN = "<!-- made from the code: `python -m tests.support.reference` -->"
END = "<!-- end -->"


def kinds():
    """The table of signal kinds."""
    rows = ["| kind | what happened | from |", "|---|---|---|"]
    for kind in SignalKind:
        names = ", ".join(provider.name for provider in BUILT_IN if kind in provider.kinds)
        rows.append(f"| `{kind}` | {MEANINGS[kind]} | {names or '(none yet)'} |")
    return "\n".join(rows)


def families():
    """The table of each provider's families."""
    rows = [
        "| provider | family | kinds | webhooks report it | a sync finds all of it | a backfill finds all of it |",
        "|---|---|---|---|---|---|",
    ]
    for provider in BUILT_IN:
        for family in provider.families:
            flags = (family.is_pushed, family.is_read, family.is_backfilled)
            shown = " | ".join("yes" if flag else "no" for flag in flags)
            rows.append(f"| {provider.name} | `{family.name}` | {_in_order(family.kinds)} | {shown} |")
    return "\n".join(rows)


def signals():
    """The tables of kinds and families."""
    return f"{kinds()}\n\n{FAMILIES_EXPLAINED}\n\n{families()}"


FAMILIES_EXPLAINED = """\
## Families

`GET /connections/{id}/coverage` has a row for each of these families. A path that does not find all of a family may
find some of it, and proves nothing complete."""


def _in_order(kinds):
    return ", ".join(f"`{kind}`" for kind in SignalKind if kind in kinds)


def provider_settings():
    """A table of settings for each provider."""
    return "\n\n".join(_settings_of(provider) for provider in BUILT_IN)


def _settings_of(provider):
    def variable(name):
        return f"POBLYSH_{provider.slug.upper().replace('-', '_')}_{name.upper()}"

    scopes = " ".join(sorted(scope.name for scope in provider.oauth.scopes if scope.default))
    secret = provider.webhook_secret_option
    rows = [
        ("client_id", "our registration's client id", "not configured"),
        ("client_secret", "our registration's client secret", "not configured"),
        ("scopes", "what to ask consent for, separated by spaces or commas", f"`{scopes}`" if scopes else "none"),
        (secret, "what its webhooks are checked with; commas between two while one replaces the other", "none"),
    ]
    if secret != "webhook_secret":
        rows.append(("webhook_secret", f"the same as `{variable(secret)}`, which wins", "none"))
    rows.append(("base_url", "sends every call elsewhere: a sandbox, a server of your own", "the vendor's hosts"))
    rows += [
        ("sync_interval_seconds", "between two reads of a connection, for this provider alone", "as for all"),
        ("concurrency", "jobs of this provider at once, in all workers together", "as for all"),
    ]
    rows += [
        (name, f"{option.help} ({option.reader.expected})".replace("<", "&lt;"), _default(option.default))
        for name, option in provider.options.items()
    ]
    lines = [f"### {provider.name}", ""]
    if provider.settings_prefixes:
        shared = " and ".join(f"`POBLYSH_{prefix}_…`" for prefix in provider.settings_prefixes)
        lines += [f"Each falls back to {shared}.", ""]
    lines += ["| name | meaning | default |", "|---|---|---|"]
    lines += [f"| `{variable(name)}` | {meaning} | {default} |" for name, meaning, default in rows]
    return "\n".join(lines)


def _default(value):
    return "unset" if value in (None, ()) else f"`{str(value).lower()}`"


def github_events():
    """GitHub's table of events, what hooks subscribe to, and what is ignored on purpose."""
    is_read = {family.name: family.is_read for family in GITHUB.families}
    everywhere = ", ".join(f"`{event}`" for event in REPOSITORY_EVENTS)
    beside = ", ".join(f"`{event}`" for event in ORGANIZATION_EVENTS if event not in REPOSITORY_EVENTS)
    rows = [f"A repository's hook subscribes to {everywhere}; an organization's also to {beside}.", ""]
    rows += ["| event | kind | family | reading shows all of it |", "|---|---|---|---|"]
    for event, rule in github.EVENTS.items():
        seen = "yes" if is_read[rule.family] else "no"
        rows.append(f"| `{event}` | {_in_order(rule.kinds)} | `{rule.family}` | {seen} |")
    rows += ["", "| ignored on purpose | why |", "|---|---|"]
    rows += [f"| `{event}` | {reason} |" for event, reason in github.IGNORED_WITH_REASON.items()]
    return "\n".join(rows)


def jira_events():
    """Jira's table of events, its updates with comments, and what is ignored on purpose."""
    is_read = {family.name: family.is_read for family in JIRA.families}
    rows = [
        "| event | webhook | kind | dedupe key after `{site}:` | family | reading sees it |",
        "|---|---|---|---|---|---|",
    ]
    for event, rule in jira.RULES.items():
        webhook = "ours" if rule.is_dynamic else "an administrator's"
        seen = "yes" if is_read[rule.family] else "no"
        rows.append(f"| `{event}` | {webhook} | {_in_order(rule.kinds)} | `{rule.key}` | {rule.family} | {seen} |")
    rows += ["", f"| `{jira.UPDATED}` with a comment and `issue_event_type_name` | says the same as |", "|---|---|"]
    rows += [f"| `{name}` | `{event}` |" for name, event in jira.COMMENT_UPDATES.items()]
    rows += _ignored(jira.IGNORED_ON_PURPOSE)
    return "\n".join(rows)


def slack_events():
    """Slack's table of events, the bot events for them, and what is ignored on purpose."""
    is_read = {family.name: family.is_read for family in SLACK.families}
    rows = ["| event | kind | family | reading shows all of it |", "|---|---|---|---|"]
    for event, rule in slack.RULES.items():
        found = ", ".join(f"`{kind}`" for kind in SignalKind if kind in rule.kinds)
        rows.append(f"| `{event}` | {found} | `{rule.family}` | {'yes' if is_read[rule.family] else 'no'} |")
    rows += ["", "| bot event to subscribe to | scopes |", "|---|---|"]
    for event in slack.BOT_EVENTS:
        scopes = ", ".join(f"`{scope}`" for scope in slack.EVENT_SCOPES[event])
        rows.append(f"| `{event}` | {scopes or 'none'} |")
    rows += _ignored(slack.IGNORED_ON_PURPOSE)
    return "\n".join(rows)


def _ignored(reasons):
    """The rows of what is ignored on purpose, one per reason."""
    rows = ["", "| ignored on purpose | why |", "|---|---|"]
    for why in dict.fromkeys(reasons.values()):
        names = ", ".join(f"`{event}`" for event, reason in reasons.items() if reason == why)
        rows.append(f"| {names} | {why} |")
    return rows


GENERATED = {
    "signals.md": signals,
    "settings.md": provider_settings,
    "../src/connectors/domain/providers/github/README.md": github_events,
    "../src/connectors/domain/providers/jira/README.md": jira_events,
    "../src/connectors/domain/providers/slack/README.md": slack_events,
}
"""Page, relative to `docs/` → the function that makes its generated part."""


def between_marks(text):
    """What is before the generated part of a page, the part, and what is after it."""
    before, _, rest = text.partition(BEGIN)
    inside, _, after = rest.partition(END)
    return before, inside.strip(), after


def write():
    """Update the pages."""
    for name, make in GENERATED.items():
        page = DOCS / name
        before, _, after = between_marks(page.read_text())
        page.write_text(f"{before}{BEGIN}\n\n{make()}\n\n{END}{after}")


if __name__ == "__main__":
    write()
