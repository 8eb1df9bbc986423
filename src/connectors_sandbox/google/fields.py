"""Partial responses: the `fields` parameter, as in `nextPageToken,files(id,owners/emailAddress)`."""

from typing import Any

from connectors_sandbox.google.errors import GoogleError

Mask = dict[str, "Mask | None"]
"""Names to keep; None keeps everything below."""


def parse_mask(text: str) -> Mask:
    """The mask.

    Raises:
        GoogleError: 400 `invalidParameter`, for text that is not a mask.
    """
    mask, rest = _parse(text.replace(" ", "").replace("\n", ""))
    if rest or not mask:
        raise GoogleError(400, "invalidParameter", f"Invalid field selection {text}", location="fields")
    return mask


def _parse(text: str) -> tuple[Mask, str]:
    mask: Mask = {}
    while text and text[0] != ")":
        size = next((at for at, char in enumerate(text) if char in ",()/"), len(text))
        name, text = text[:size], text[size:]
        if not name:
            raise GoogleError(400, "invalidParameter", "Invalid field selection", location="fields")
        below: Mask | None = None
        if text.startswith("("):
            below, text = _parse(text[1:])
            if not text.startswith(")"):
                raise GoogleError(400, "invalidParameter", "Invalid field selection", location="fields")
            text = text[1:]
        elif text.startswith("/"):
            size = next((at for at, char in enumerate(text) if char in ",)"), len(text))
            below, text = _parse(text[1:size])[0], text[size:]
        mask[name] = below
        text = text.removeprefix(",")
    return mask, text


def apply_mask(document: Any, mask: Mask | None) -> Any:
    """The part of the document that the mask keeps."""
    if mask is None or "*" in mask:
        return document
    if isinstance(document, list):
        return [apply_mask(item, mask) for item in document]
    if isinstance(document, dict):
        return {name: apply_mask(value, mask[name]) for name, value in document.items() if name in mask}
    return document
