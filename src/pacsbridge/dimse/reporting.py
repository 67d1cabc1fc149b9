"""N-EVENT-REPORT on an association of our own: storage commitment told to who is gone (PS3.4 J.3.3).

The requestor of an association is a service user unless it says otherwise. Here it is the provider, so it
proposes the role SCP and not SCU for the SOP class (PS3.7 D.3.3.4). A peer that accepts the context without a
word on roles is reported to all the same: many know this service without that negotiation.
"""

import time
from collections.abc import Iterable
from io import BytesIO

from pydicom.uid import UID
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from pacsbridge.bridge.commitment import Report
from pacsbridge.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsbridge.dimse import commitment
from pacsbridge.dimse.library_logs import tame
from pacsbridge.dimse.negotiation import COMMITMENT, READABLE
from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.settings import Peer, Place
from pacsbridge.dimse.unanswered import unanswered
from pacsbridge.errors import Absent, Unavailable

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_PAUSE_SECONDS = 0.0001


class Reporter:
    """Reports to peers; `ae_title` is ours."""

    def __init__(self, ae_title: str, peers: Iterable[Peer], answer_seconds: float = _ANSWER_SECONDS) -> None:
        self._ae_title = ae_title
        self._directory = Directory(peers)
        self._answer_seconds = answer_seconds

    def __call__(self, ae_title: str, report: Report) -> int:
        """See `bridge.commitment.Send`."""
        place = self._directory.place(ae_title)
        if place is None:
            raise Absent("no peer of that AE title has an address")
        tame()
        assoc = self._entity().associate(
            place.host,
            place.port,
            ae_title=ae_title,
            tls_args=place.tls_args,
            ext_neg=[build_role(UID(COMMITMENT), scu_role=False, scp_role=True)],
        )
        where = str(place)
        context = _context(assoc, place)
        try:
            return _told(assoc, context, self._request(report, context), where)
        finally:
            _end(assoc)

    def _entity(self) -> AE:
        entity = AE(self._ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.add_requested_context(COMMITMENT, [*READABLE])
        entity.acse_timeout = entity.connection_timeout = _CONNECT_SECONDS
        entity.dimse_timeout = entity.network_timeout = self._answer_seconds
        return entity

    def _request(self, report: Report, context: PresentationContext) -> N_EVENT_REPORT:
        request = N_EVENT_REPORT()
        request.MessageID = 1
        request.AffectedSOPClassUID = UID(COMMITMENT)
        request.AffectedSOPInstanceUID = UID(commitment.INSTANCE)
        request.EventTypeID = commitment.event_type(report)
        data = commitment.encode(report, str(context.transfer_syntax[0]), self._ae_title)
        request.EventInformation = BytesIO(data)
        return request


def _context(assoc: Association, where: Place) -> PresentationContext:
    """The context to report in. Raises Unavailable, and then the association has ended."""
    if assoc.is_rejected:
        raise Unavailable(f"{where} rejects the association")
    if not assoc.is_established:
        refuses = bool(assoc.rejected_contexts)
        raise Unavailable(f"{where} {'does not accept storage commitment' if refuses else unanswered(where)}")
    role = assoc.acceptor.role_selection.get(UID(COMMITMENT))
    if role is not None and not role.scp_role:
        _end(assoc)
        raise Unavailable(f"{where} does not grant us the role of the provider")
    return assoc.accepted_contexts[0]


def _told(assoc: Association, context: PresentationContext, request: N_EVENT_REPORT, where: str) -> int:
    """The status of the answer. What `send_n_event_report` does, for a data set that is encoded already."""
    assoc._reactor_checkpoint.clear()
    while not assoc._is_paused and assoc.is_established:
        time.sleep(_PAUSE_SECONDS)  # as the library does: its reactor has no event for it
    assoc.dimse.send_msg(request, context.context_id or 0)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    status = getattr(answer, "Status", None) if isinstance(answer, N_EVENT_REPORT) else None
    if status is None:
        assoc.abort()
        raise Unavailable(f"{where} does not answer the report")
    return int(status)


def _end(assoc: Association) -> None:
    if assoc.is_established:
        assoc.release()
