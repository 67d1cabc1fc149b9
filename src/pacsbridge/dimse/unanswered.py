"""Why a peer that we call does not associate: the library tells nothing of a TLS handshake."""

import socket
import ssl

from pacsbridge.dimse.settings import Place

_SECONDS = 10.0
_WORD_SECONDS = 1.0
"""By TLS 1.3 it is after its own handshake that a peer refuses our certificate (RFC 8446 4.4.2.4)."""


def unanswered(place: Place) -> str:
    """What the peer at a place does instead of associating, in words that have it for their subject."""
    try:
        with socket.create_connection((place.host, place.port), _SECONDS) as plain:
            return "does not answer" if place.tls is None else _handshake(plain, place.tls, place.host)
    except ssl.SSLCertVerificationError as fault:
        return f"shows a certificate that is not good ({fault.verify_message})"
    except ssl.SSLError as fault:
        return f"does not agree on TLS ({str(fault.reason).replace('_', ' ').lower()})"
    except OSError:
        return "does not answer"


def _handshake(plain: socket.socket, tls: ssl.SSLContext, host: str) -> str:
    with tls.wrap_socket(plain, server_hostname=host) as sock:
        sock.settimeout(_WORD_SECONDS)
        sock.recv(1)
    return "does not answer"
