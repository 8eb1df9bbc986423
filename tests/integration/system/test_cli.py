"""The commands, on a database that a running service fills."""

import hashlib
import hmac
import json
import re
import subprocess
import time
from uuid import UUID, uuid4

import click
import pytest
from sqlalchemy import text

from connectors.adapters.aesgcm import KeyRing
from connectors.adapters.postgres import create_engine
from connectors.entrypoints.cli.app import COMMANDS, cli
from tests.support.command_line import CommandLine, press_ctrl_c, run_process, start_process
from tests.support.service import COMMAND, TOKEN, WEBHOOK_SECRET, Core, Service, clean_environment, github_settings
from tests.support.traffic import Piece, pour

SECRETS = ("s3cr3t-operator", "s3cr3t-client", "s3cr3t-hook", "s3cr3t-password")


@pytest.fixture
def command_line(monkeypatch, capsys, tmp_path):
    """Commands in this process."""
    return CommandLine(monkeypatch, capsys, tmp_path)


@pytest.fixture
def settings(service):
    """The settings of the running service."""
    return {name: value for name, value in service.environment.items() if name.startswith("POBLYSH_")}


@pytest.fixture
def connectors(command_line, settings):
    """Runs a command with the running service's settings."""
    return lambda *arguments, **more: command_line.run(*arguments, environment=settings, **more)


@pytest.fixture
def filled(core):
    """Core, its tenant with one connection, and three deliveries that became three signals."""
    core.connection = core.connect()
    pieces = [Piece(number) for number in (1, 2, 3)]
    assert pour([f"{core.url}/webhooks/github/{core.tenant_id}"], pieces) != []
    return core


def one_line_of(finished, code=1):
    """The only line of an error, which is no traceback."""
    assert finished.code == code, finished
    assert "Traceback" not in finished.err
    assert finished.out == ""
    return finished.err.strip()


def sync_run(command, *path):
    """All commands with their paths, from the root."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from sync_run(command.get_command(context, name), *path, name)


def test_every_command_has_help(command_line):
    """`--help` of each command and subcommand says what it does and what each of its options means."""
    commands = dict(sync_run(cli))
    assert {path[0] for path in commands if path} == set(COMMANDS)
    for path, command in commands.items():
        shown = command_line.run(*path, "--help")
        assert (shown.code, shown.err) == (0, "")
        assert shown.out.startswith(" ".join(["Usage: connectors", *path]))
        silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
        assert silent == [], path


def test_version(command_line):
    """`--version` names the distribution's."""
    assert re.search(r"\d+\.\d+\.\d+", command_line.run("--version").out)


def test_unknown_command_is_named(command_line):
    """A word that is no command is refused with that word."""
    assert "sginals" in one_line_of(command_line.run("sginals"), code=2)


@pytest.mark.parametrize("output", ["table", "json", "jsonl"])
def test_settings_are_masked(command_line, tmp_path, output):
    """`settings` shows every value with its source, and no secret, whether of the environment or of `.env`."""
    (tmp_path / ".env").write_text("POBLYSH_LOG_LEVEL=warning\nPOBLYSH_SLACK_SIGNING_SECRET=s3cr3t-hook\n")
    environment = {
        "POBLYSH_OPERATOR_TOKENS": '["s3cr3t-operator"]',
        "POBLYSH_GITHUB_CLIENT_ID": "my-client",
        "POBLYSH_GITHUB_CLIENT_SECRET": "s3cr3t-client",
        "POBLYSH_GITHUB_WEBHOOK_SECRET": "s3cr3t-hook",
        "POBLYSH_DATABASE_URL": "postgresql://me:s3cr3t-password@db.example.com/poblysh",
    }
    shown = command_line.run("settings", "--output", output, environment=environment)
    assert shown.code == 0
    assert not [one for one in SECRETS if one in shown.out + shown.err]
    assert "my-client" in shown.out
    assert "db.example.com" in shown.out
    if output == "table":
        assert re.search(r"POBLYSH_LOG_LEVEL\s+warning\s+\.env", shown.out)
        return
    rows = json.loads(shown.out) if output == "json" else [json.loads(line) for line in shown.out.splitlines()]
    found = {row["name"]: row for row in rows}
    assert found["POBLYSH_GITHUB_CLIENT_ID"] == {
        "name": "POBLYSH_GITHUB_CLIENT_ID",
        "value": "my-client",
        "source": "environment",
    }
    assert found["POBLYSH_LOG_LEVEL"]["source"] == ".env"
    assert found["POBLYSH_BIND"]["source"] == "default"


def test_unread_variables_are_warned_of(command_line):
    """A misspelt variable is named on standard error with the name that was probably meant."""
    shown = command_line.run("settings", environment={"POBLYSH_WORKRES": "3"})
    assert shown.code == 0
    assert "POBLYSH_WORKRES" in shown.err
    assert "POBLYSH_WORKERS" in shown.err


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("POBLYSH_WORKERS", "many", "whole number"),
        ("POBLYSH_BIND", "nowhere", "host:port"),
        ("POBLYSH_DATABASE_URL", "mysql://me:s3cr3t-password@db/x", "postgresql://"),
        ("POBLYSH_VAULT_KEYS", "k1:s3cr3t-hook", "base64"),
        ("POBLYSH_PUBLIC_URL", "ftp://example.com", "https://"),
        ("POBLYSH_GITHUB_CLIENT_ID", "only-the-id", "POBLYSH_GITHUB_CLIENT_SECRET"),
    ],
)
def test_a_wrong_setting_is_one_line(command_line, name, value, expected):
    """It names the variable and what is expected, without secrets, and the exit code is 1."""
    line = one_line_of(command_line.run("settings", environment={name: value}))
    assert "\n" not in line
    assert name in line
    assert expected in line
    assert not [one for one in SECRETS if one in line]


def test_serve_wants_an_operator_token(command_line, tmp_path):
    """Without one it ends before anything is started, and says which variable to set."""
    environment = {"POBLYSH_DATA_DIR": str(tmp_path / "data")}
    finished = command_line.run("serve", environment=environment)
    assert "POBLYSH_OPERATOR_TOKENS" in one_line_of(finished)
    assert not (tmp_path / "data").exists()


def test_serve_on_a_taken_port(service, settings, tmp_path):
    """A port that somebody else has ends it at once, with one line that names the setting."""
    line = one_line_of(run_process("serve", environment=settings, folder=tmp_path))
    assert line.startswith(f"Error: POBLYSH_BIND is 127.0.0.1:{service.port}")
    assert len(line.splitlines()) == 1


def test_db_on_a_fresh_database(command_line, postgres_engine):
    """`check` fails before `upgrade` and passes after it; a second `upgrade` changes nothing; `serve` says what to do."""
    name = f"fresh_{uuid4().hex}"
    autocommit = postgres_engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = postgres_engine.url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    keys = command_line.run("vault", "keygen").out.strip()
    environment = {"POBLYSH_DATABASE_URL": url, "POBLYSH_VAULT_KEYS": keys, "POBLYSH_OPERATOR_TOKEN": TOKEN}
    try:
        before = command_line.run("db", "check", environment=environment)
        assert "connectors db upgrade" in one_line_of(before)
        early = command_line.run("serve", environment=environment)
        assert "connectors db upgrade" in one_line_of(early)
        assert "Upgraded" in command_line.run("db", "upgrade", environment=environment).out
        assert "Already up to date" in command_line.run("db", "upgrade", environment=environment).out
        after = command_line.run("db", "check", environment=environment)
        assert (after.code, after.out[:10]) == (0, "Up to date")
    finally:
        with autocommit.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_an_unreachable_database_is_one_line(command_line):
    """It says so without the password."""
    environment = {"POBLYSH_DATABASE_URL": "postgresql://me:s3cr3t-password@127.0.0.1:9/x"}
    finished = command_line.run("db", "check", environment=environment)
    assert "s3cr3t" not in one_line_of(finished)
    assert "database" in finished.err


def test_keygen_makes_keys_that_the_vault_takes(command_line):
    """Each key is new, may be given an id, and a bad id is refused."""
    first, second = (command_line.run("vault", "keygen").out.strip() for _ in range(2))
    assert first != second
    named = command_line.run("vault", "keygen", "--id", "2026-03").out.strip()
    assert named.startswith("2026-03:")
    assert len(KeyRing.parse(f"{first},{named}").ids) == 2
    assert command_line.run("vault", "keygen", "--id", "a b").code == 2


BODY = b'{"zen":"Half measures."}'


def signed(body, secret=WEBHOOK_SECRET):
    return "X-Hub-Signature-256: sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.fixture
def verify(command_line, settings, tmp_path):
    """Runs `webhooks verify github` on a body."""

    def run(body, *arguments):
        (tmp_path / "body").write_bytes(body)
        return command_line.run(
            "webhooks", "verify", "github", "--body", tmp_path / "body", *arguments, environment=settings
        )

    return run


def test_verify_a_good_signature(verify, command_line, tmp_path, settings):
    """A delivery signed with the configured secret, or with one that is given, is found good, however it is handed over."""
    good = verify(BODY, "-H", signed(BODY), "-H", "X-GitHub-Delivery: d-1")
    assert good.code == 0
    assert "good" in good.out
    assert "d-1" in good.out
    assert verify(BODY, "-H", signed(BODY, "another"), "--secret", "another").code == 0
    (tmp_path / "whole.http").write_bytes(f"X-GitHub-Event: ping\n{signed(BODY)}\n\n".encode() + BODY)
    piped = command_line.run(
        "webhooks", "verify", "github", "-H", signed(BODY), environment=settings, given=BODY.decode()
    )
    assert piped.code == 0
    whole = command_line.run("webhooks", "verify", "github", "--http", tmp_path / "whole.http", environment=settings)
    assert whole.code == 0


@pytest.mark.parametrize(
    ("body", "headers", "hint"),
    [
        (BODY + b"\n", [signed(BODY)], "line break"),
        (BODY, [signed(BODY, "wrong")], "does not match"),
        (BODY, [], "missing"),
        (BODY, ["X-Hub-Signature: sha1=00"], "SHA-1"),
        (b"a\r\nb", [signed(b"a\nb")], "CRLF"),
    ],
)
def test_verify_says_why_it_fails(verify, body, headers, hint):
    """A bad signature exits 1 with the reason, and never shows the secret or the signature that would be right."""
    refused = verify(body, *(part for header in headers for part in ("-H", header)))
    assert refused.code == 1
    assert hint in refused.out
    assert WEBHOOK_SECRET not in refused.out + refused.err
    assert signed(body).rpartition("=")[2] not in refused.out


def test_verify_refuses_what_is_no_header(verify):
    """A header without a colon is a usage error."""
    assert "Name: value" in one_line_of(verify(BODY, "-H", "nonsense"), code=2)


def test_openapi_is_what_the_service_serves(command_line, core):
    """`openapi` prints valid JSON without any setting, equal to `/openapi.json`."""
    printed = command_line.run("openapi")
    assert printed.code == 0
    assert json.loads(printed.out) == core.get("/openapi.json", headers={})


def test_providers(connectors):
    """`providers list` and `show` say what there is and what is configured."""
    listed = json.loads(connectors("providers", "list", "-o", "json").out)
    assert {one["slug"]: one["configured"] for one in listed}["github"]
    table = connectors("providers", "list").out
    assert re.search(r"github\s+GitHub\s+yes\s+automatic", table)
    assert json.loads(connectors("providers", "show", "github", "-o", "json").out)["slug"] == "github"
    assert "fax" not in (line := one_line_of(connectors("providers", "show", "fax")))
    assert "github" in line


def listing_of(connectors, *arguments):
    """What a list command gives, the same as JSON and as JSON lines; its table is not empty."""
    whole = json.loads(connectors(*arguments, "-o", "json").out)
    lines = [json.loads(line) for line in connectors(*arguments, "-o", "jsonl").out.splitlines()]
    table = connectors(*arguments)
    assert table.code == 0
    assert whole == lines
    assert len(table.out.splitlines()) >= len(whole)
    return whole


def test_signals(filled, connectors):
    """`signals list` and `show` give what `GET /signals` gives, narrowed by the same filters."""
    tenant = ("--tenant", filled.tenant_id)
    listed = listing_of(connectors, "signals", "list", *tenant)
    assert listed == filled.list("signals")
    assert len(listing_of(connectors, "signals", "list", *tenant, "--limit", "2")) == 2
    assert connectors("signals", "list", *tenant, "--kind", "code_pushed").out == "No signals.\n"
    assert connectors("signals", "list", *tenant, "--kind", "code_pushed", "-o", "json").out == "[]\n"
    assert connectors("signals", "list", *tenant, "--kind", "code_pushed", "-o", "jsonl").out == ""
    narrow = ("--provider", "github", "--connection", filled.connection["id"], "--after", "2020-01-01T00:00:00Z")
    assert listing_of(connectors, "signals", "list", *tenant, *narrow) == listed
    assert "payload" in json.loads(connectors("signals", "list", *tenant, "--payload", "-o", "json").out)[0]
    shown = json.loads(connectors("signals", "show", *tenant, listed[0]["id"], "-o", "json").out)
    assert shown["title"] == listed[0]["title"]
    assert shown["payload"]["repository"]["full_name"] == "ada/lamp"
    assert listed[0]["title"] in connectors("signals", "show", *tenant, listed[0]["id"]).out


def test_connections(filled, connectors, sandbox_server):
    """`connections list`, `show`, `refresh` and `delete` do what the API does, and delete asks first."""
    tenant, connection_id = ("--tenant", filled.tenant_id), filled.connection["id"]
    (listed,) = listing_of(connectors, "connections", "list", *tenant)
    assert listed["id"] == connection_id
    assert connectors("connections", "list", *tenant, "--status", "disabled").out.startswith("No connections")
    shown = json.loads(connectors("connections", "show", *tenant, connection_id, "-o", "json").out)
    assert [one["status"] for one in shown["subscriptions"]] == ["active"]
    assert "ada" in connectors("connections", "show", *tenant, connection_id).out
    refreshed = connectors("connections", "refresh", *tenant, connection_id, "-o", "json")
    assert json.loads(refreshed.out)["status"] == "active"
    assert connectors("connections", "delete", *tenant, connection_id, given="n\n").code == 1
    assert filled.get(f"/connections/{connection_id}")["status"] == "active"
    deleted = connectors("connections", "delete", *tenant, connection_id, "--yes")
    assert (deleted.code, deleted.out) == (0, "Ended github connection of ada.\n")
    assert filled.get(f"/connections/{connection_id}")["status"] == "revoked"
    again = connectors("connections", "refresh", *tenant, connection_id)
    assert one_line_of(again).startswith("Error: ")


def test_deliveries(filled, connectors):
    """`deliveries list` and `show` give the inbox, `show` with the very bytes that came."""
    tenant = ("--tenant", filled.tenant_id)
    listed = listing_of(connectors, "deliveries", "list", *tenant, "--status", "processed")
    assert {one["signal_count"] for one in listed} == {1}
    shown = json.loads(connectors("deliveries", "show", *tenant, listed[0]["id"], "-o", "json").out)
    assert hashlib.sha256(shown["body"].encode()).hexdigest() in {
        hashlib.sha256(Piece(number).body).hexdigest() for number in (1, 2, 3)
    }
    assert "x-hub-signature-256" not in shown["headers"]
    assert listed[0]["id"] in connectors("deliveries", "show", *tenant, listed[0]["id"]).out


def test_replay(core, connectors):
    """What came before there was a connection failed, and is a signal after `deliveries replay`, once."""
    assert core.call("PUT", f"/tenants/{core.tenant_id}").status_code == 201
    assert len(pour([f"{core.url}/webhooks/github/{core.tenant_id}"], [Piece(7)])) == 1
    tenant = ("--tenant", core.tenant_id)
    still = connectors("deliveries", "replay", *tenant, "--failed", "-o", "json")
    assert (still.code, [one["error"] for one in json.loads(still.out)]) == (1, ["no connection"])
    core.connect()
    (failed,) = core.list("deliveries", status="failed")
    for _ in range(2):
        done = connectors("deliveries", "replay", *tenant, failed["id"], "-o", "json")
        assert (done.code, json.loads(done.out)[0]["status"]) == (0, "processed")
    assert [one["dedupe_key"] for one in core.list("signals")] == [Piece(7).dedupe_key]
    assert connectors("deliveries", "replay", *tenant, "--failed").out == "Nothing to replay.\n"
    assert connectors("deliveries", "replay", *tenant).code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("connections", "show"),
        ("connections", "refresh"),
        ("connections", "delete", "--yes"),
        ("signals", "show"),
        ("deliveries", "show"),
        ("deliveries", "replay"),
        ("sync", "--now", "--connection"),
    ],
    ids=" ".join,
)
def test_unknown_ids_are_one_line(filled, connectors, arguments):
    """An id that the tenant does not have exits 1 with one line."""
    line = one_line_of(connectors(*arguments, UUID(int=7), "--tenant", filled.tenant_id))
    assert line.startswith("Error: The tenant has no such")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("signals", "list"), ("connections", "list"), ("deliveries", "list")])
def test_an_unknown_tenant_is_one_line(connectors, arguments):
    """A tenant that is not known here exits 1 with one line."""
    line = one_line_of(connectors(*arguments, "--tenant", uuid4()))
    assert line.startswith("Error: There is no such tenant")


def test_backfill_and_sync(filled, connectors, sandbox_server):
    """`backfill` and `sync` read the provider beside the worker that is there, and say how it went."""
    sandbox_server.sandbox.github.open_issue("ada/lamp", "Made before", by="ada")
    arguments = ("--tenant", filled.tenant_id, "--connection", filled.connection["id"])
    for command in (("backfill", "--days", "29"), ("sync",)):
        done = connectors(*command, *arguments, "-o", "json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["status"] == "succeeded"
    assert "Made before" in " ".join(one["title"] for one in filled.list("signals"))


def test_a_reader_that_leaves_is_no_error(filled, settings, tmp_path):
    """`signals list | head -1` prints one line and nothing on standard error."""
    assert len(pour([f"{filled.url}/webhooks/github/{filled.tenant_id}"], [Piece(n) for n in range(10, 90)])) == 80
    for output in ("jsonl", "table"):
        # A payload each, so that it is more than a pipe holds.
        pipeline = f"'{COMMAND}' signals list -t {filled.tenant_id} --limit 500 --payload -o {output} | head -n 1"
        finished = subprocess.run(
            ["bash", "-c", pipeline],
            env=clean_environment(**settings, POBLYSH_LOG_LEVEL="error"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert len(finished.stdout.splitlines()) == 1
        assert finished.stderr == ""


def test_ctrl_c_ends_serve(short_tmp, sandbox_server):
    """SIGINT to the foreground group ends the service with its embedded database, without a traceback."""
    data = short_tmp / "ctrl-c" / "data"
    settings = github_settings(sandbox_server) | {"POBLYSH_DATA_DIR": str(data)}
    with Service(short_tmp / "ctrl-c", workers=2, **settings) as service:
        core = Core(service.url)
        core.connect()
        press_ctrl_c(service.process)
        try:
            code = service.process.wait(15)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there: {service.log[-4000:]}") from None
        assert code == 0
    assert "Traceback" not in service.log
    assert not (data / "postgres" / "postgres" / "postmaster.pid").exists()


def test_ctrl_c_ends_the_sandbox(tmp_path):
    """SIGINT ends `sandbox` with exit code 0."""
    process = start_process("sandbox", "--port", "0", environment={}, folder=tmp_path, stdout=-1, stderr=-1)
    try:
        assert "listens on http://127.0.0.1:" in process.stdout.readline()
        press_ctrl_c(process)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")


def test_the_engine_is_let_go(command_line, settings, own_database):
    """A command leaves no database session behind."""
    environment = settings | {"POBLYSH_DATABASE_URL": own_database}
    asked = command_line.run("signals", "list", "--tenant", uuid4(), environment=environment)
    assert "no such tenant" in asked.err  # so it has looked
    engine = create_engine(own_database)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    try:
        with engine.connect() as connection:
            for _ in range(100):  # the server takes a moment to see that a client has gone
                if not (left := connection.execute(text(others)).scalar()):
                    break
                connection.rollback()
                time.sleep(0.05)
        assert left == 0
    finally:
        engine.dispose()
