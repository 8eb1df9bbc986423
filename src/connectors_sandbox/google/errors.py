"""Google's error envelope."""

from typing import Any


class GoogleError(Exception):
    """An API call that ends in an error response."""

    def __init__(
        self, status: int, reason: str, message: str, *, domain: str = "global", location: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.domain = domain
        self.location = location

    def to_json(self) -> dict[str, Any]:
        """The error envelope. An empty reason leaves `errors` out, as some responses do."""
        entry = {"domain": self.domain, "reason": self.reason, "message": self.message}
        if self.location is not None:
            kind = "header" if self.location == "Authorization" else "parameter"
            entry |= {"locationType": kind, "location": self.location}
        error: dict[str, Any] = {"code": self.status, "message": self.message}
        if self.reason:
            error["errors"] = [entry]
        if self.reason == "insufficientPermissions":
            error["status"] = "PERMISSION_DENIED"
            error["details"] = [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                    "domain": "googleapis.com",
                }
            ]
        return {"error": error}


def not_found(what: str = "Requested entity was not found.", location: str | None = None) -> GoogleError:
    """404 `notFound`."""
    return GoogleError(404, "notFound", what, location=location)


def invalid(message: str, location: str | None = None) -> GoogleError:
    """400 `invalid`."""
    return GoogleError(400, "invalid", message, location=location)
