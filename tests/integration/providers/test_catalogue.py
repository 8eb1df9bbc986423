"""The catalogue says what to set up by hand, ready to be copied: over HTTP and on the command line."""

import json

import pytest

from connectors.domain.providers.registry import installed_providers

PROVIDERS = {provider.slug: provider for provider in installed_providers()}
BY_HAND = {slug for slug, one in PROVIDERS.items() if one.webhooks.manual_setup is not None}
PATHS = {
    "app": "/webhooks/{slug}",
    "tenant": "/webhooks/{slug}/{{tenant_id}}",
    "connection": "/webhooks/{slug}/{{tenant_id}}/{{connection_id}}",
}


def expected_url(stage, slug):
    """The URL that a person has to enter, with the placeholders that only they can fill."""
    return stage.url + PATHS[PROVIDERS[slug].webhooks.url_scope].format(slug=slug)


def test_all_are_listed(stage):
    """Everybody may see every provider, each configured here, with its scopes and kinds."""
    listed = stage.tenant().get("/providers", headers={})["providers"]
    assert [one["slug"] for one in listed] == list(PROVIDERS)
    for one in listed:
        provider = PROVIDERS[one["slug"]]
        assert one["configured"] is True
        assert {scope["name"] for scope in one["scopes"]} == {scope.name for scope in provider.oauth.scopes}
        assert all(scope["reason"] for scope in one["scopes"])
        assert set(one["signal_kinds"]) == provider.kinds
        assert ("automatic_webhooks" in one["capabilities"]) == (provider.webhooks.subscriptions is not None)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_over_http(stage, slug):
    """The webhook's URL is complete, and stands in the instructions wherever there are any."""
    webhook = stage.tenant().get(f"/providers/{slug}", headers={})["webhook"]
    assert webhook["url"] == expected_url(stage, slug)
    assert webhook["automatic"] == (PROVIDERS[slug].webhooks.subscriptions is not None)
    check_instructions(stage, slug, webhook["manual_setup"])


@pytest.mark.parametrize("slug", sorted(BY_HAND))
def test_on_the_command_line(stage, slug, command_line):
    """`connectors providers show` says the same, as JSON and for people."""
    finished = command_line.run("providers", "show", slug, "--output", "json", environment=stage.environment)
    assert finished.code == 0, finished.err
    shown = json.loads(finished.out)["webhook"]
    assert shown == stage.tenant().get(f"/providers/{slug}", headers={})["webhook"]
    check_instructions(stage, slug, shown["manual_setup"])
    for_people = command_line.run("providers", "show", slug, environment=stage.environment)
    assert for_people.code == 0, for_people.err
    assert expected_url(stage, slug) in for_people.out
    for line in shown["manual_setup"].splitlines():
        assert line.strip()[:40] in for_people.out


def check_instructions(stage, slug, text):
    """There are instructions where a person has to act, with the URL filled in, and what they name exists here."""
    assert (text is not None) == (slug in BY_HAND)
    if text is None:
        return
    assert expected_url(stage, slug) in text
    assert "{webhook_url}" not in text


@pytest.mark.parametrize("slug", sorted(BY_HAND))
def test_settings_that_are_named_exist(slug, command_line):
    """Every variable that instructions tell people to set is one that we read."""
    finished = command_line.run("settings", "--output", "json", environment={"POBLYSH_OPERATOR_TOKEN": "t" * 32})
    assert finished.code == 0, finished.err
    known = {row["name"] for row in json.loads(finished.out)}
    named = {word.strip(".,;:()") for word in PROVIDERS[slug].webhooks.manual_setup.split() if "POBLYSH_" in word}
    assert {name for name in named if name.startswith("POBLYSH_")} <= known


@pytest.mark.parametrize("slug", sorted(BY_HAND))
def test_without_a_public_url(slug, command_line):
    """Where we do not know our own URL, a placeholder is shown, not a wrong one."""
    finished = command_line.run(
        "providers", "show", slug, "--output", "json", environment={"POBLYSH_OPERATOR_TOKEN": "t" * 32}
    )
    shown = json.loads(finished.out)["webhook"]
    assert (shown["url"], "{webhook_url}" in shown["manual_setup"]) == (None, True)
