"""schemathesis against a running server: no 500, no undocumented answer, no schema violation."""

import os
import subprocess
import sys

from connectors.entrypoints.demo.core import Core
from connectors.entrypoints.demo.run import play
from connectors.entrypoints.demo.scenes import SCENES
from connectors.entrypoints.demo.stage import open_stage
from tests.support.sizes import at_sizes

CONFIG = """\
color = false

[headers]
Authorization = "Bearer {token}"
X-Tenant-Id = "{tenant}"

[parameters]
"path.connection_id" = "{connection}"
"path.signal_id" = "{signal}"
"path.delivery_id" = "{delivery}"
"path.job_id" = "{job}"
"path.stream_key" = "{stream}"

[[operations]]
include-tag = "webhooks"
parameters = {{ tenant_id = "{tenant}" }}
"""


@at_sizes(("examples",), small=(3,), full=(100,))
def test_schemathesis_finds_nothing(tmp_path, examples):
    """Every check of schemathesis but one holds for every operation, on PostgreSQL, with all providers connected.

    The fuzzing phase has so many examples for each operation; the coverage phase adds about forty of its own.
    """
    with open_stage(SCENES, tmp_path / "data") as stage:
        shown = play(stage, SCENES)
        core = Core(stage, shown.tenant_id)
        config = tmp_path / "schemathesis.toml"
        config.write_text(
            CONFIG.format(
                token=stage.operator_token,
                tenant=shown.tenant_id,
                connection=core.connections()[0]["id"],
                signal=shown.signals[0]["id"],
                delivery=core.deliveries()[0]["id"],
                job=core.jobs()[0]["id"],
                stream=core.streams(core.connections()[0])[0]["key"],
            )
        )
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                str(config),
                "run",
                f"{stage.api_url}/openapi.json",
                "--checks=all",
                # Cursors and states are only valid if we issued them, and redirect URIs if we allow them: no schema can
                # say that.
                "--exclude-checks=positive_data_acceptance",
                "--phases=examples,coverage,fuzzing",
                f"--max-examples={examples}",
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
        assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
        # Whatever was sent, the service goes on, and what it had is there.
        assert core.deliveries()
        assert {one["id"] for one in core.signals()} >= {one["id"] for one in shown.signals}
