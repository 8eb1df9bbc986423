"""The catalog of providers."""

from http import HTTPStatus

from connectors.domain.providers.contract import Provider
from connectors.entrypoints.flask.operations import Answer, Call, operation
from connectors.entrypoints.representation.providers import ProviderList, ProviderView, show_provider


def _show(call: Call, provider: Provider) -> ProviderView:
    connectors = call.service.connectors
    return show_provider(provider, configured=provider.slug in connectors.apps, public_url=connectors.public_url)


@operation("GET", "/providers", tag="providers", summary="List providers", answers={HTTPStatus.OK: ProviderList})
def list_providers(call: Call) -> Answer:
    """Every provider that this service knows, configured here or not."""
    return Answer(ProviderList(providers=[_show(call, provider) for provider in call.service.connectors.providers]))


@operation(
    "GET",
    "/providers/{provider}",
    tag="providers",
    summary="Show a provider",
    answers={HTTPStatus.OK: ProviderView},
)
def show_one_provider(call: Call) -> Answer:
    """One provider: its scopes and their reasons, its signal kinds, and how its webhooks are set up."""
    return Answer(_show(call, call.service.connectors.providers.get(call.path["provider"])))


OPERATIONS = (list_providers, show_one_provider)
