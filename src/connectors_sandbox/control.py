"""The sandbox's own pages at `/_sandbox`: its state, and actions for tests in other processes.

* `GET /_sandbox/` — a page for people; `GET /_sandbox/state` — the same as JSON.
* `POST /_sandbox/<provider>/<action>` — a JSON object becomes the keyword arguments of a world's method.
* `POST /_sandbox/faults` — the fields of a `Fault`; `DELETE` clears them, or those of `?provider=`.
* `POST /_sandbox/clock` — `{"seconds": 3600}` moves the clock.
* `POST /_sandbox/deliver` — sends whatever is due; `POST /_sandbox/disorder` — the fields of a `Disorder`.
* `GET /_sandbox/deliveries` — the log; `POST /_sandbox/deliveries/<id>/redeliver` — sends one again.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import attrs
from flask import Blueprint, jsonify, render_template_string, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound
from werkzeug.wrappers import Response

from connectors_sandbox.core import SandboxCore, World
from connectors_sandbox.delivery import Disorder, Outgoing
from connectors_sandbox.faults import Fault

PAGE_ROWS: Final = 50
"""Rows of deliveries and requests on the index page."""


def create_control_blueprint(core: SandboxCore, worlds: Mapping[str, World]) -> Blueprint:
    """The blueprint of the control pages."""
    blueprint = Blueprint("_sandbox", __name__)
    views = ControlViews(core, worlds)
    blueprint.add_url_rule("/", view_func=views.show_index, endpoint="index")
    blueprint.add_url_rule("/state", view_func=views.show_state, endpoint="state")
    blueprint.add_url_rule("/clock", view_func=views.move_clock, methods=["POST"], endpoint="clock")
    blueprint.add_url_rule("/faults", view_func=views.change_faults, methods=["POST", "DELETE"], endpoint="faults")
    blueprint.add_url_rule("/deliver", view_func=views.deliver, methods=["POST"], endpoint="deliver")
    blueprint.add_url_rule("/disorder", view_func=views.change_disorder, methods=["POST"], endpoint="disorder")
    blueprint.add_url_rule("/deliveries", view_func=views.list_deliveries, endpoint="deliveries")
    blueprint.add_url_rule(
        "/deliveries/<delivery_id>/redeliver", view_func=views.redeliver, methods=["POST"], endpoint="redeliver"
    )
    blueprint.add_url_rule("/<provider>/<action>", view_func=views.act, methods=["POST"], endpoint="act")
    blueprint.register_error_handler(HTTPException, _show_error)
    return blueprint


def _show_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description), error.code or 500


@attrs.frozen
class ControlViews:
    """The views of one sandbox."""

    core: SandboxCore
    worlds: Mapping[str, World]

    def show_index(self) -> str:
        """A page for people."""
        return render_template_string(INDEX_PAGE, state=self._state(), url=self.core.url)

    def show_state(self) -> Response:
        """The contents of the page, as JSON."""
        return jsonify(self._state())

    def move_clock(self) -> Response:
        """Move the clock by `seconds`."""
        seconds = _body().get("seconds")
        if not isinstance(seconds, int | float):
            raise BadRequest("seconds must be a number")
        return jsonify(now=_time(self.core.clock.advance(timedelta(seconds=seconds))))

    def change_faults(self) -> tuple[Response, int]:
        """Add a fault, or clear all faults."""
        if request.method == "DELETE":
            self.core.faults.clear(request.args.get("provider"))
        else:
            fault = _call(Fault, _body())
            self.core.faults.add(fault)
        return jsonify(faults=self._faults()), 200

    def deliver(self) -> Response:
        """Send all due deliveries."""
        return jsonify(deliveries=[_delivery(outgoing) for outgoing in self.core.deliveries.deliver_pending()])

    def change_disorder(self) -> Response:
        """Set how deliveries are disturbed from now on."""
        self.core.deliveries.disorder = _call(Disorder, _body())
        return jsonify(attrs.asdict(self.core.deliveries.disorder))

    def list_deliveries(self) -> Response:
        """The log, newest first; `?provider=` narrows it."""
        wanted = request.args.get("provider")
        log = reversed(tuple(self.core.deliveries.log))
        return jsonify(deliveries=[_delivery(one) for one in log if wanted in (None, one.provider)])

    def redeliver(self, delivery_id: str) -> tuple[Response, int]:
        """Queue a delivery again, with the same id."""
        for outgoing in tuple(self.core.deliveries.log):
            if outgoing.id == delivery_id:
                return jsonify(_delivery(self.core.deliveries.redeliver(outgoing))), 202
        raise NotFound("no such delivery")

    def act(self, provider: str, action: str) -> Response:
        """Call one of a world's actions."""
        world = self.worlds.get(provider)
        method = world.actions().get(action) if world is not None else None
        if method is None:
            raise NotFound("no such provider or action")
        return jsonify(result=_plain(_call(method, _body())))

    def _faults(self) -> list[dict[str, Any]]:
        return [{**attrs.asdict(fault), "kind": fault.kind.value} for fault in self.core.faults.active()]

    def _state(self) -> dict[str, Any]:
        return {
            "now": _time(self.core.clock.now()),
            "auto_consent": self.core.auto_consent,
            "providers": {
                name: {"base_url": self.core.base_url(name), "actions": sorted(world.actions()), **world.describe()}
                for name, world in self.worlds.items()
            },
            "faults": self._faults(),
            "pending": self.core.deliveries.pending(),
            "deliveries": [_delivery(one) for one in islice(reversed(tuple(self.core.deliveries.log)), PAGE_ROWS)],
            "requests": [
                {
                    "at": _time(one.at),
                    "provider": one.provider,
                    "method": one.method,
                    "path": one.path,
                    "status": one.status,
                }
                for one in islice(reversed(tuple(self.core.requests)), PAGE_ROWS)
            ],
        }


def _body() -> dict[str, Any]:
    """The JSON object in the body; an empty one for no body.

    Raises:
        BadRequest: the body is something else.
    """
    body = request.get_json(silent=True) if request.get_data() else {}
    if not isinstance(body, dict):
        raise BadRequest("a JSON object is expected")
    return body


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The result of `function` with these keyword arguments.

    Raises:
        BadRequest: the arguments do not fit, or name something that does not exist.
    """
    try:
        return function(**arguments)
    except (TypeError, ValueError, LookupError) as failure:
        raise BadRequest(f"{type(failure).__name__}: {failure}") from failure


def _time(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def _delivery(outgoing: Outgoing) -> dict[str, Any]:
    """A delivery for the log: without headers and body, which may contain secrets."""
    last = outgoing.last_attempt
    return {
        "id": outgoing.id,
        "provider": outgoing.provider,
        "event": outgoing.event,
        "source": outgoing.source,
        "dropped": outgoing.is_dropped,
        "redelivery": outgoing.is_redelivery,
        "attempts": len(outgoing.attempts),
        "status": last.status if last else None,
        "error": last.error if last else None,
        "duration_ms": round(last.duration / timedelta(milliseconds=1)) if last else None,
        "at": _time(last.at) if last else None,
    }


def _plain(value: Any) -> Any:
    """An action's result as JSON: attrs objects become their fields, unknown objects their text."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return _time(value)
        case Mapping():
            return {str(name): _plain(member) for name, member in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(member) for member in value]
    if attrs.has(type(value)):
        shown = [field.name for field in attrs.fields(type(value)) if field.repr and not field.name.startswith("_")]
        return {name: _plain(getattr(value, name)) for name in shown}
    return str(value)


INDEX_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Connectors sandbox</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; font-size: .9rem; }
  th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
  code, pre { font-size: .85rem; overflow-wrap: anywhere; white-space: pre-wrap; }
  .bad { color: #c0392b; }
</style>
</head>
<body>
<h1>Connectors sandbox</h1>
<p>Now {{ state.now }} on the sandbox's clock · {{ state.pending }} deliveries waiting ·
<a href="{{ url }}/_sandbox/state">as JSON</a></p>
{% for name, provider in state.providers.items() %}
<h2>{{ name }}</h2>
<p>Base URL <code>{{ provider.base_url }}</code></p>
<table>
{% for key, value in provider.items() if key not in ('base_url', 'actions') %}
<tr><th>{{ key }}</th><td><code>{{ value | tojson }}</code></td></tr>
{% endfor %}
<tr><th>actions</th><td><code>POST /_sandbox/{{ name }}/…</code> {{ provider.actions | join(', ') }}</td></tr>
</table>
{% endfor %}
<h2>Active faults</h2>
<pre>{{ state.faults | tojson }}</pre>
<h2>Latest deliveries</h2>
<table><tr><th>at</th><th>provider</th><th>event</th><th>source</th><th>attempts</th><th>outcome</th><th>id</th></tr>
{% for one in state.deliveries %}
<tr><td>{{ one.at or '' }}</td><td>{{ one.provider }}</td><td>{{ one.event }}</td><td>{{ one.source }}</td>
<td>{{ one.attempts }}</td>
<td>{{ 'dropped' if one.dropped else one.status or one.error or 'waiting' }}</td><td><code>{{ one.id }}</code></td></tr>
{% endfor %}
</table>
<h2>Latest requests</h2>
<table><tr><th>at</th><th>provider</th><th>request</th><th>status</th></tr>
{% for one in state.requests %}
<tr><td>{{ one.at }}</td><td>{{ one.provider }}</td><td><code>{{ one.method }} {{ one.path }}</code></td>
<td class="{{ 'bad' if one.status >= 400 or not one.status }}">{{ one.status or 'reset' }}</td></tr>
{% endfor %}
</table>
</body>
</html>
"""
