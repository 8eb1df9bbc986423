"""One service on PostgreSQL beside one sandbox, for the tests that use tenants of their own."""

import pytest

from tests.integration.conftest import fresh_database
from tests.support.service import Core, Service, database_settings, github_sandbox, github_settings


@pytest.fixture(scope="package")
def sandbox_server():
    """A running sandbox with one GitHub."""
    with github_sandbox() as server:
        yield server


@pytest.fixture(scope="package")
def service_database(postgres_engine):
    """The URL of the running service's database. It has one of its own: its workers take whatever is queued there."""
    with fresh_database(postgres_engine) as url:
        yield url


@pytest.fixture(scope="package")
def service(service_database, short_tmp, sandbox_server):
    """A running service: two worker processes on PostgreSQL."""
    settings = database_settings(service_database) | github_settings(sandbox_server)
    with Service(short_tmp / "service", workers=2, **settings) as running:
        yield running


@pytest.fixture
def core(service):
    """Core, acting for a tenant that nobody knows yet."""
    acting = Core(service.url)
    with acting.session:
        yield acting


@pytest.fixture(autouse=True)
def tidy(sandbox_server):
    """Leave no hook and no undelivered webhook to the next test."""
    yield
    sandbox_server.sandbox.github.hooks.hooks.clear()
    sandbox_server.sandbox.deliver_pending()
