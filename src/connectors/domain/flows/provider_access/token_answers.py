"""Reads the answers of token endpoints."""

import re

from connectors.domain.model.errors import (
    ConnectorsError,
    ProviderUnavailableError,
    UnexpectedResponseError,
    error_text,
)
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.oauth import TokenSet
from connectors.domain.providers.contract import Provider
from connectors.ports.clock import Clock
from connectors.ports.token_endpoint import TokenReader

_VISIBLE = re.compile(r"[\x20-\x7e]+")


def token_reader(provider: Provider, clock: Clock, previous: TokenSet | None) -> TokenReader:
    """A reader for answers about this token set, None at the exchange of a code.

    It raises what `OAuth.read_tokens` documents. Of a failure that is no refusal the outcome is unknown: the vendor may
    have issued tokens that we cannot read.
    """

    def read(response: HttpResponse) -> TokenSet:
        try:
            return _sendable(provider.oauth.read_tokens(response, clock.now(), previous))
        except (ProviderUnavailableError, UnexpectedResponseError) as error:
            error.outcome_unknown = not response.is_refusal
            raise
        except ConnectorsError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of the package; its text may quote the answer, with secrets
            raise UnexpectedResponseError(error_text(error), outcome_unknown=True) from None

    return read


def _sendable(token_set: TokenSet) -> TokenSet:
    """The token set, if its tokens consist of visible ASCII characters (RFC 6749, appendix A.12 and A.17)."""
    for one in (token_set, *token_set.companions.values()):
        for token in (one.access_token, one.refresh_token):
            if token is not None and not _VISIBLE.fullmatch(token.reveal()):
                raise UnexpectedResponseError("The token endpoint answered with a token that cannot be sent.")
    return token_set
