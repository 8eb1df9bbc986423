"""Swagger UI in a real browser."""

from urllib.parse import urlsplit

import pytest

from tests.support.api import ONLY_TENANT, ROOT_TOKEN, issue_opened, make_api
from tests.support.browser import chromium, find_chromium
from tests.support.running import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on the PATH"),
]

# React only notices a value that is set through the element's own setter.
TYPE = """
((selector, text) => {
  const field = document.querySelector(selector);
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, text);
  field.dispatchEvent(new Event("input", {bubbles: true}));
  field.dispatchEvent(new Event("change", {bubbles: true}));
})
"""
CLICK = "((selector) => document.querySelector(selector).click())"
LIST_SIGNALS = "#operations-signals-list_signals"


@pytest.fixture
def api():
    api = make_api()
    api.connect(ONLY_TENANT)
    api.deliver(f"/webhooks/github/{ONLY_TENANT}", "issues", issue_opened())
    return api


def test_the_page_shows_every_operation_and_lets_one_try_it(api, tmp_path):
    """The page lists all operations, calls one with a token and a tenant, and asks nobody but this service."""
    count = sum(len(operations) for operations in api.document["paths"].values())
    with running(api.app) as server, chromium(tmp_path) as page:
        page.open(f"{server.url}/docs")
        page.wait_for(f"document.querySelectorAll('.opblock').length == {count}")

        page.run(f"{CLICK}('.btn.authorize')")
        page.wait_for("document.querySelector('.auth-container input')")
        page.run(f"{TYPE}('.auth-container input', '{ROOT_TOKEN}')")
        page.run(f"{CLICK}('.auth-btn-wrapper .authorize')")
        page.wait_for("document.querySelector('.auth-btn-wrapper .btn-done')")
        page.run(f"{CLICK}('.auth-btn-wrapper .btn-done')")

        page.run(f"{CLICK}('{LIST_SIGNALS} .opblock-summary-control')")
        tenant_field = f'{LIST_SIGNALS} tr[data-param-name="X-Tenant-Id"] input'
        page.wait_for(f"document.querySelector('{tenant_field}')")
        page.run(f"{TYPE}('{tenant_field}', '{ONLY_TENANT}')")
        page.run(f"{CLICK}('{LIST_SIGNALS} .btn.execute')")
        page.wait_for(f"document.querySelector('{LIST_SIGNALS} .live-responses-table .response-col_status')")
        answer = page.run(f"document.querySelector('{LIST_SIGNALS} .live-responses-table').innerText")
        assert answer.split()[answer.split().index("Details") + 1] == "200"
        assert "Issue 42" in answer

        hosts = {urlsplit(url).netloc for url in page.requested if not url.startswith(("data:", "about:", "blob:"))}
        assert hosts == {urlsplit(server.url).netloc}
        assert page.complaints == []
    assert any(path.startswith("/signals") and status == 200 for _, path, status in server.requests)
