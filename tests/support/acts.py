"""One act for each provider: who is there, what happens, and what has to come of it. Each is played by people of its
own, named at its beginning, so that acts do not hear each other."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import attrs

from connectors_sandbox.slack.records import Install
from tests.support.stage import CLIQ_SECRET

_numbers = count(1)


@attrs.frozen(kw_only=True)
class Act:
    """One provider's act."""

    slug: str
    prepare: Callable[..., str]
    """People and things, before anybody connects (the sandbox, a fresh name); who consents, as the sandbox calls
    them."""
    play: Callable[..., None]
    """What happens afterwards (the sandbox, the name)."""
    kinds: Mapping[str, int]
    """What it has to show, each once however often it is seen."""
    subscriptions: Callable[..., int]
    """How many standing arrangements the vendor has for that name."""
    tokens: Callable[..., int]
    """How many live token pairs the vendor has of that user."""
    finish: Callable[..., None] = lambda sandbox, name, url: None
    """What a person sets up by hand once connected (the sandbox, the name, the webhook's URL)."""
    options: Callable[[str], Mapping[str, Any]] = lambda name: {}


def fresh_name():
    """A name that nobody has."""
    return f"ada{next(_numbers)}"


# --- GitHub --------------------------------------------------------------------------------------------------------


def _github_prepare(sandbox, name):
    sandbox.github.add_user(name)
    sandbox.github.add_repository(f"{name}/lamp")
    return name


def _github_play(sandbox, name):
    github, repository = sandbox.github, f"{name}/lamp"
    issue = github.open_issue(repository, "It flickers", by=name)
    github.comment(repository, issue.number, "Only at night.", by=name)
    github.close_issue(repository, issue.number, by=name)
    github.push(repository, by=name, messages=["Tighten the bulb"])
    github.star(repository, by=name)


def _github_hooks(sandbox, name):
    repository = sandbox.github.repository(f"{name}/lamp")
    return len(sandbox.github.hooks_on(repository))


def _github_tokens(sandbox, name):
    user = sandbox.github.account(name)
    return sum(token.user_id == user.id for token in sandbox.github.auth.tokens.values())


GITHUB = Act(
    slug="github",
    prepare=_github_prepare,
    play=_github_play,
    kinds=Counter(["issue_created", "issue_commented", "issue_closed", "code_pushed", "repository_starred"]),
    subscriptions=_github_hooks,
    tokens=_github_tokens,
    options=lambda name: {"repositories": [f"{name}/lamp"]},
)

# --- Slack ---------------------------------------------------------------------------------------------------------


def _slack_prepare(sandbox, name):
    slack = sandbox.slack
    team = slack.add_team(name)
    member = slack.add_user(name, "lee")
    slack.add_channel(name, "launch", by="lee")
    return f"{team.id}:{member.id}"


def _slack_finish(sandbox, name, url):
    sandbox.slack.invite_bots(name, "launch", by="lee")


def _slack_play(sandbox, name):
    slack = sandbox.slack
    question = slack.post(name, "launch", "Is it in?", by="lee")
    slack.post(name, "launch", "Since an hour.", by="lee", thread=question)
    slack.add_reaction(name, "launch", question, "rocket", by="lee")
    slack.edit(name, "launch", question, "Is the sensor in?", by="lee")
    slack.add_channel(name, "telemetry", by="lee")


def slack_installs(sandbox, name) -> list[Install]:
    """The apps in the workspace."""
    return sandbox.slack.installs(sandbox.slack.team(name))


def _slack_tokens(sandbox, name):
    team = sandbox.slack.team(name)
    return sum(one.install.team is team and not one.is_revoked for one in sandbox.slack.auth.tokens.values())


SLACK = Act(
    slug="slack",
    prepare=_slack_prepare,
    finish=_slack_finish,
    play=_slack_play,
    kinds=Counter(["message_posted", "message_replied", "reaction_added", "message_edited", "channel_created"]),
    subscriptions=lambda sandbox, name: len(slack_installs(sandbox, name)),
    tokens=_slack_tokens,
)

# --- Jira ----------------------------------------------------------------------------------------------------------


def jira_site(sandbox, name):
    """The site of that name."""
    return next(site for site in sandbox.jira.sites.values() if site.name == name)


def _jira_prepare(sandbox, name):
    jira = sandbox.jira
    user = jira.add_user(name)
    site = jira.add_site(name, [user.account_id])
    jira.add_project(site.id, "ROCK", by=user.account_id)
    return user.account_id


def _jira_play(sandbox, name):
    jira, site, ada = sandbox.jira, jira_site(sandbox, name).id, f"712020:{name}"
    issue = jira.create_issue(site, "ROCK", "Fuel gauge sticks", by=ada)
    jira.assign_issue(site, issue.key, ada, by=ada)
    jira.move_issue(site, issue.key, "In Progress", by=ada)
    jira.comment(site, issue.key, "It was the cold.", by=ada)
    jira.move_issue(site, issue.key, "Done", by=ada)


JIRA = Act(
    slug="jira",
    prepare=_jira_prepare,
    play=_jira_play,
    kinds=Counter(["issue_created", "issue_assigned", "issue_status_changed", "issue_commented", "issue_closed"]),
    subscriptions=lambda sandbox, name: len(jira_site(sandbox, name).hooks),
    # Atlassian has no call that revokes a token.
    tokens=lambda sandbox, name: 0,
)

# --- Google --------------------------------------------------------------------------------------------------------


def google_address(name):
    """The user's address."""
    return f"{name}@acme.example"


def _google_prepare(sandbox, name):
    if google_address(name) not in sandbox.google.users:
        sandbox.google.add_user(google_address(name), name)
    return google_address(name)


def _drive_prepare(sandbox, name):
    _google_prepare(sandbox, name)
    sandbox.google.create_file(f"Plan of {name}", by=google_address(name))
    return google_address(name)


def _drive_play(sandbox, name):
    # Drive shows a file as it is now: what was made and renamed since the last look is only seen as made.
    google, address = sandbox.google, google_address(name)
    plan = next(file for file in google.drive.files.values() if file.name == f"Plan of {name}")
    google.rename_file(plan.id, "Launch plan, final", by=address)
    google.create_file("Checklist", by=address)


def _calendar_play(sandbox, name):
    sandbox.google.create_event("Countdown rehearsal", by=google_address(name))


def _gmail_play(sandbox, name):
    google, mailbox = sandbox.google, google_address(name)
    google.receive_email(mailbox, sender="Lee <lee@acme.example>", subject="Go for launch?")
    google.send_email(mailbox, to="lee@acme.example", subject="Re: Go for launch?")


def _google_channels(sandbox, name):
    return sum(channel.email == google_address(name) for channel in sandbox.google.channels.live())


def google_tokens(sandbox, name):
    """How many grants the user has given."""
    return sum(grant.email == google_address(name) for grant in sandbox.google.auth.grants)


def gmail_watches(sandbox, name):
    """Whether the mailbox is watched, as a number."""
    return int(sandbox.google.mail.get(google_address(name)).watch is not None)


GOOGLE_DRIVE = Act(
    slug="google-drive",
    prepare=_drive_prepare,
    play=_drive_play,
    kinds=Counter(["file_created", "file_updated", "file_renamed"]),  # a new name is a new modifiedTime, too
    subscriptions=_google_channels,
    tokens=google_tokens,
)
GOOGLE_CALENDAR = Act(
    slug="google-calendar",
    prepare=_google_prepare,
    play=_calendar_play,
    kinds=Counter(["calendar_event_created"]),
    subscriptions=_google_channels,
    tokens=google_tokens,
)
GMAIL = Act(
    slug="gmail",
    prepare=_google_prepare,
    play=_gmail_play,
    kinds=Counter(["email_received", "email_sent"]),
    subscriptions=gmail_watches,
    tokens=google_tokens,
)

# --- Zoho ----------------------------------------------------------------------------------------------------------


def zoho_address(name):
    """The user's address."""
    return f"{name}@zylker.example"


def _chat(sandbox, name):
    return next(chat for chat in sandbox.zoho.chats.values() if chat.name == name)


def _cliq_prepare(sandbox, name):
    sandbox.zoho.add_user(zoho_address(name), location="eu")
    sandbox.zoho.add_channel(name, [zoho_address(name)], location="eu")
    return zoho_address(name)


def _cliq_finish(sandbox, name, url):
    bot = sandbox.zoho.add_bot(f"Poblysh {name}", url, kind="deluge", secret=CLIQ_SECRET, location="eu")
    sandbox.zoho.add_bot_to_channel(bot.id, _chat(sandbox, name).id, by=zoho_address(name))


def _cliq_play(sandbox, name):
    chat = _chat(sandbox, name).id
    message = sandbox.zoho.post_message(chat, "Is it in?", by=zoho_address(name))
    sandbox.zoho.edit_message(chat, message.id, "Is the sensor in?")


def _mail_prepare(sandbox, name):
    sandbox.zoho.add_user(zoho_address(name), location="eu")
    return zoho_address(name)


def _mail_finish(sandbox, name, url):
    sandbox.zoho.save_mail_webhook(zoho_address(name), url)


def _mail_play(sandbox, name):
    sandbox.zoho.receive_mail(zoho_address(name), "Go for launch?")
    sandbox.zoho.send_mail(zoho_address(name), "Re: Go for launch?")


def _zoho_tokens(sandbox, name):
    return sum(grant.user.email == zoho_address(name) for grant in sandbox.zoho.auth.grants)


ZOHO_CLIQ = Act(
    slug="zoho-cliq",
    prepare=_cliq_prepare,
    finish=_cliq_finish,
    play=_cliq_play,
    kinds=Counter(["message_posted", "message_edited"]),
    # A bot stays until its owner deletes it.
    subscriptions=lambda sandbox, name: 0,
    tokens=_zoho_tokens,
)
ZOHO_MAIL = Act(
    slug="zoho-mail",
    prepare=_mail_prepare,
    finish=_mail_finish,
    play=_mail_play,
    kinds=Counter(["email_received", "email_sent"]),
    # The URL stays in the mailbox's settings until its owner removes it.
    subscriptions=lambda sandbox, name: 0,
    tokens=_zoho_tokens,
)

ACTS = {act.slug: act for act in (GITHUB, SLACK, JIRA, GOOGLE_DRIVE, GOOGLE_CALENDAR, GMAIL, ZOHO_CLIQ, ZOHO_MAIL)}
"""Every act by its provider's slug."""
