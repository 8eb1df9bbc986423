"""Metrics over real processes and a real port."""

import socket
import subprocess
import sys

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from connectors.adapters.postgres import create_engine, postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.adapters.prometheus.exposition import create_registry, start_exporter
from connectors.adapters.prometheus.telemetry import PrometheusTelemetry
from connectors.adapters.system.values import Bind
from connectors.domain.flows.signals.statistics import StatisticsFlow
from connectors.domain.model.errors import InfrastructureError, SettingsError
from tests.support.builders import NOW, make_job, make_tenant

PARENT = '''
import os, subprocess, sys
from pathlib import Path
from connectors.adapters.prometheus.multiprocess import forget_process, share_between_processes

NOTE = """
from datetime import timedelta
from connectors.adapters.prometheus.telemetry import PrometheusTelemetry
from connectors.domain.model.signal import Origin
from connectors.ports.telemetry import RefreshOutcome
telemetry = PrometheusTelemetry()
telemetry.refreshed("github", RefreshOutcome.REFRESHED)
telemetry.signal_visible("github", Origin.WEBHOOK, timedelta(seconds=1))
"""

with share_between_processes(Path(sys.argv[1])) as directory:
    pid = os.fork()
    if not pid:  # a gunicorn worker, which has the parent's memory
        exec(NOTE)
        sys.exit(0)  # through the block's end, as gunicorn does it
    os.waitpid(pid, 0)
    subprocess.run([sys.executable, "-c", NOTE], check=True)  # the background worker
    exec(NOTE)
    from connectors.adapters.prometheus.exposition import render
    from prometheus_client import CollectorRegistry
    registry = CollectorRegistry()
    registry.register(PrometheusTelemetry(shared_in=directory).collector)
    forget_process(directory, pid)  # what the dead have counted stays
    print(render(registry, None)[0].decode())
assert not directory.exists()
assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
try:
    with share_between_processes(Path(sys.argv[1])):
        pass
except RuntimeError:
    print("# too late")
'''


def samples(text):
    families = text_string_to_metric_families(text)
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def test_processes_count_together(tmp_path):
    """A forked child, a spawned one and the parent are seen as one, dead or alive; then nothing is left of it."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = samples(done.stdout)
    assert found["connectors_token_refreshes_total", "github", "refreshed"] == 3
    assert found["connectors_signal_freshness_seconds_count", "github", "webhook"] == 3
    assert found["connectors_signal_freshness_seconds_bucket", "1.0", "github", "webhook"] == 3
    assert done.stdout.endswith("# too late\n")
    assert list(tmp_path.iterdir()) == []


class Now:
    def now(self):
        return NOW


def test_a_worker_shows_its_own(clean_engine):
    """A port of its own answers scrapes with what the process has counted and what PostgreSQL holds."""
    unit_of_work = postgres_unit_of_work(clean_engine, ProcrastinateJobQueue)
    with unit_of_work() as work:
        work.tenants.record(make_tenant())
        work.jobs.enqueue(make_job())
    statistics = StatisticsFlow(unit_of_work=unit_of_work, clock=Now())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        bind = Bind("127.0.0.1", taken.getsockname()[1])
        taken.listen()
        registry = create_registry(PrometheusTelemetry(), statistics.collect, version="1")
        with pytest.raises(SettingsError, match=f"POBLYSH_METRICS_BIND is {bind} "):
            start_exporter(bind, registry)
    stop = start_exporter(bind, registry)
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"http://{bind}/metrics", timeout=10)
    finally:
        stop()
    found = samples(answer.text)
    assert found["connectors_database_up",] == 1
    assert found["connectors_jobs_unfinished", "github", "incremental", "queued"] == 1


def test_a_database_that_refuses_is_away(short_tmp):
    """A measurement of a server that is not there fails as ours do, so that a scrape can say so."""
    engine = create_engine(f"postgresql://ada:secret@/lamp?host={short_tmp}/nowhere")
    statistics = StatisticsFlow(unit_of_work=postgres_unit_of_work(engine, ProcrastinateJobQueue), clock=Now())
    with pytest.raises(InfrastructureError):
        statistics.collect()
    registry = create_registry(PrometheusTelemetry(), statistics.collect, version="1")
    assert registry.get_sample_value("connectors_database_up") == 0
    engine.dispose()
