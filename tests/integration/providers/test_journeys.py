"""Each provider's whole journey over HTTP: consent, baseline, signed events, reading, redelivery, and the end."""

import json
from collections import Counter

import pytest

from connectors.domain.providers.registry import installed_providers
from tests.support.acts import ACTS, fresh_name

SLUGS = [provider.slug for provider in installed_providers()]


def kinds_of(signals):
    """How many of each kind."""
    return Counter(signal["kind"] for signal in signals)


def keys_of(signals):
    """What makes each signal one."""
    return sorted(signal["dedupe_key"] for signal in signals)


@pytest.fixture
def sync_now(stage, command_line):
    """`connectors sync --now`, as an operator runs it."""

    def run(core, connection):
        arguments = ("--tenant", core.tenant_id, "--connection", connection["id"], "--now", "--output", "json")
        finished = command_line.run("sync", *arguments, environment=stage.environment)
        assert finished.code == 0, finished.err
        done = json.loads(finished.out)
        assert done["status"] == "succeeded"
        stage.connectors.run_pending()  # the command ends with its own job; others (the first backfill) may still wait
        return done

    return run


@pytest.mark.parametrize("slug", SLUGS)
def test_from_consent_to_the_end(stage, slug, sync_now):
    """Everything that happens becomes its signals, once; and after the end nothing is left at the vendor or here."""
    act, sandbox, name, core = ACTS[slug], stage.sandbox, fresh_name(), stage.tenant()
    connection = core.connect(slug, act.prepare(sandbox, name), act.options(name))
    act.finish(sandbox, name, core.webhook_url(connection))
    stage.deliver()
    sync_now(core, connection)
    before = core.signals()

    act.play(sandbox, name)
    sent = stage.deliver()
    assert sent != []
    sync_now(core, connection)
    after = core.signals()
    assert kinds_of(after) - kinds_of(before) == act.kinds
    assert set(kinds_of(after)) <= set(core.get(f"/providers/{slug}")["signal_kinds"])
    assert {(one["provider"], one["connection_id"]) for one in after} == {(slug, connection["id"])}
    assert {one["status"] for one in core.inbox()} <= {"processed", "ignored"}

    inbox = len(core.inbox())
    stage.redeliver(sent)
    assert sync_now(core, connection)["signals"] == 0
    assert keys_of(core.signals()) == keys_of(after)
    assert len(core.inbox()) == inbox

    core.disconnect(connection)
    stage.sandbox.deliver_pending()
    assert core.show(connection)["status"] == "revoked"
    assert core.show(connection)["last_error"] is None
    assert (act.subscriptions(sandbox, name), act.tokens(sandbox, name)) == (0, 0)
    assert_nothing_secret(stage, core.tenant_id)
    assert keys_of(core.signals()) == keys_of(after)

    # What arrives afterwards is nobody's.
    sandbox.deliveries.redeliver(sent[-1])
    sandbox.deliver_pending()
    assert keys_of(core.signals()) == keys_of(after)


def assert_nothing_secret(stage, tenant_id):
    """No row of the tenant holds a token, a verifier or a webhook's secret."""
    found = stage.rows(
        """SELECT (SELECT count(*) FROM grants WHERE tenant_id = :tenant
                      AND (state <> 'ended' OR token_set_ciphertext IS NOT NULL OR token_set_nonce IS NOT NULL)),
                  (SELECT count(*) FROM authorization_requests WHERE tenant_id = :tenant
                      AND (code_verifier_ciphertext IS NOT NULL OR code_verifier_nonce IS NOT NULL)),
                  (SELECT count(*) FROM subscriptions WHERE tenant_id = :tenant
                      AND (status <> 'ended' OR secret_ciphertext IS NOT NULL OR secret_nonce IS NOT NULL))""",
        tenant=tenant_id,
    )
    assert found == [(0, 0, 0)]


def test_every_provider_has_an_act():
    """A provider that is registered is played."""
    assert set(SLUGS) - {"acme"} <= set(ACTS)
