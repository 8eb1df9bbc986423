"""schemathesis against a running server: no 500, no undocumented answer, no schema violation."""

import os
import subprocess
import sys

from tests.support.api import ONLY_TENANT, ROOT_TOKEN, issue_opened, make_api
from tests.support.running import running

EXAMPLES = 15
"""Per operation in the fuzzing phase; the coverage phase adds about forty of its own."""

CONFIG = """\
color = false

[headers]
Authorization = "Bearer {token}"
X-Tenant-Id = "{tenant}"

[parameters]
"path.connection_id" = "{connection}"
"path.signal_id" = "{signal}"
"path.delivery_id" = "{delivery}"

[[operations]]
include-tag = "webhooks"
parameters = {{ tenant_id = "{tenant}" }}
"""


def test_schemathesis_finds_nothing(tmp_path):
    """Every check of schemathesis but one holds for every operation, on a tenant with data."""
    api = make_api()
    connection = api.connect(ONLY_TENANT)
    api.deliver(f"/webhooks/github/{ONLY_TENANT}", "issues", issue_opened())
    (signal,) = api.get("/signals", tenant=ONLY_TENANT).get_json()["signals"]
    (delivery,) = api.get("/deliveries", tenant=ONLY_TENANT).get_json()["deliveries"]
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        CONFIG.format(
            token=ROOT_TOKEN,
            tenant=ONLY_TENANT,
            connection=connection["id"],
            signal=signal["id"],
            delivery=delivery["id"],
        )
    )
    with running(api.app) as server:
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                str(config),
                "run",
                f"{server.url}/openapi.json",
                "--checks=all",
                # Cursors and states are only valid if we issued them, and redirect URIs if we allow them: no schema can
                # say that.
                "--exclude-checks=positive_data_acceptance",
                "--phases=examples,coverage,fuzzing",
                f"--max-examples={EXAMPLES}",
                "--generation-deterministic",
                "--continue-on-failure",
            ],
            cwd=tmp_path,
            env={**os.environ, "NO_PROXY": "*", "SCHEMATHESIS_HOOKS": ""},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        statuses = {status for _, _, status in server.requests}
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    assert {200, 201, 202, 204, 400, 401, 404} <= statuses
    assert 500 not in statuses
