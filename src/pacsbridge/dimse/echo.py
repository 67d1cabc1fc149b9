"""C-ECHO as a user of the service: whether another application entity answers (PS3.4 A)."""

from pynetdicom import AE

from pacsbridge.dimse.library_logs import hushed
from pacsbridge.dimse.negotiation import VERIFICATION
from pacsbridge.dimse.settings import Place
from pacsbridge.dimse.unanswered import unanswered
from pacsbridge.errors import Unavailable

_SECONDS = 10


@hushed()
def echo(calling_ae: str, called_ae: str, place: Place) -> str:
    """What the peer's answer was, in words. Raises Unavailable when there is none."""
    entity = AE(calling_ae)
    entity.add_requested_context(VERIFICATION)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    entity.connection_timeout = _SECONDS
    assoc = entity.associate(place.host, place.port, ae_title=called_ae, tls_args=place.tls_args)
    if not assoc.is_established:
        raise Unavailable(f"{place} {'rejects the association' if assoc.is_rejected else unanswered(place)}")
    try:
        status = assoc.send_c_echo()
    finally:
        assoc.release()
    if not status or status.Status != 0:
        raise Unavailable(f"{place} does not answer C-ECHO")
    return f"{place} answers C-ECHO"
