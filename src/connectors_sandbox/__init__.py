"""The sandbox: a simulator of the providers, on loopback.

It serves OAuth (consent page, code, PKCE, token, refresh, revoke), REST, webhook registration and signed webhook
delivery as the vendors do, and misbehaves on demand. It imports nothing of the service that it tests: a bug that both
shared would hide itself.

Use it in a test or a demo::

    sandbox = create_sandbox(auto_consent=True)
    with SandboxServer(sandbox) as server:
        server.base_url("github")                       # http://127.0.0.1:PORT/github
        sandbox.github.add_user("octo")                 # worlds are plain Python objects with a lock
        sandbox.deliver_pending()                       # webhooks are sent now, in this thread
        sandbox.clock.advance(timedelta(hours=8))       # no test waits for a token to expire
        sandbox.faults.add(Fault(provider="github", path="/api/v3/*", status=502, html=True, times=1))

or next to your own program: ``python -m connectors_sandbox --port 9100``, then see ``/_sandbox``.

Adding a provider
-----------------
A provider is one package ``connectors_sandbox/<name>/``, served below ``/<name>``. Its ``__init__`` exposes two
functions:

``create_world(core: SandboxCore) -> World``
    The state: users, tokens, items. It fits `core.World`: `describe()` for the index page and `actions()`, the methods
    that ``POST /_sandbox/<name>/<action>`` may call with a JSON object as keyword arguments. Guard state with one
    `threading.RLock`; never hold it while sending HTTP. Take time from ``core.clock.now()``, chance from
    ``core.random`` and ``core.random_string``, own URLs from ``core.base_url("<name>")`` *when rendering* (the port is
    not known before the server runs).

``create_blueprint(world) -> flask.Blueprint``
    The HTTP side; name it like the provider and leave ``url_prefix`` unset. An authorize endpoint accepts GET and POST,
    validates its query as the vendor does, then calls `consent.decide`, which gives either a page to return or the
    user's `Decision`.

Webhooks: build an `Outgoing` (its ``prepare`` signs at the moment of sending, told the attempt's number), give it the
vendor's `RetryPolicy`, and hand it to ``core.deliveries.enqueue``; handshakes whose answer you need go through
``core.deliveries.send_now``. Faults and the log of requests (``core.requests``) need nothing from a provider.

Then add three lines in ``app.py``: the import, the entry in ``PROVIDERS``, and the typed property on `Sandbox`.
"""

from connectors_sandbox.app import Sandbox, create_sandbox
from connectors_sandbox.clock import SandboxClock
from connectors_sandbox.faults import Fault
from connectors_sandbox.server import SandboxServer

__all__ = ["Fault", "Sandbox", "SandboxClock", "SandboxServer", "create_sandbox"]
