"""Why a connection failed, in words for the person at the terminal.

The libraries that connect say little ("All connection attempts failed"); what the system said is in the causes of their
exceptions. Used by whatever speaks HTTP: the client, workers, commands. Imports nothing of ours.
"""

import socket
import ssl

DEPTH_MOST = 20
REFUSED = "the connection was refused, so nothing listens there"
UNKNOWN_HOST = "the name of its host is not known"


def reason_of(error: BaseException) -> str:
    """Return why nothing answered: what the system said if it is among the causes, else the library's own words."""
    for cause in _causes(error):
        match cause:
            case ConnectionRefusedError():
                return REFUSED
            case socket.gaierror():
                return UNKNOWN_HOST
            case ssl.SSLCertVerificationError(verify_message=message):
                return f"its certificate is not trusted: {message}"
            case ssl.SSLError():
                return f"it does not speak TLS as it should ({cause.reason or cause}); is it an http:// address?"
            case OSError(strerror=str(message)) if message and not isinstance(cause, TimeoutError):
                return message
    name = type(error).__name__
    if "Timeout" in name:
        return "it took too long to connect" if "Connect" in name else "it took too long"
    return str(error) or name


def _causes(error: BaseException) -> list[BaseException]:
    """The exception, and the ones that led to it; of a group, its members."""
    found: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending and len(found) < DEPTH_MOST:
        cause = pending.pop()
        if cause is None or cause in found:
            continue
        found.append(cause)
        pending += [cause.__context__, cause.__cause__]
        if isinstance(cause, BaseExceptionGroup):
            pending += cause.exceptions
    return found
