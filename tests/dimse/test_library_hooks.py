"""What we use of pynetdicom without being promised it: a change there fails here, by name."""

import inspect

import pynetdicom
import pytest
from pynetdicom import _config, sop_class
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import TRANSITION_TABLE
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from pacsbridge.dimse import provider

HOOKS: list[tuple[type, str, list[str]]] = [
    (AssociationServer, "get_request", ["self"]),
    (AssociationServer, "service_actions", ["self"]),
    (AssociationServer, "server_close", ["self"]),
    (RequestHandler, "handle", ["self"]),
    (RequestHandler, "_create_association", ["self"]),
    (AssociationSocket, "__init__", ["self", "assoc", "client_socket", "address"]),
    (AssociationSocket, "close", ["self"]),
    (AssociationSocket, "send", ["self", "bytestream"]),
    (AssociationSocket, "_shutdown_socket", ["self"]),
    (Association, "__init__", ["self", "ae", "mode"]),
    (DULServiceProvider, "run_reactor", ["self"]),
    (DULServiceProvider, "send_pdu", ["self", "primitive"]),
    (DULServiceProvider, "receive_pdu", ["self", "wait", "timeout"]),
    (DULServiceProvider, "_decode_pdu", ["self", "bytestream"]),
    (DULServiceProvider, "_process_recv_primitive", ["self"]),
    (ACSE, "send_accept", ["self"]),
    (ACSE, "send_reject", ["self", "result", "source", "diagnostic"]),
    (ACSE, "send_release", ["self", "is_response"]),
]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"), HOOKS, ids=lambda value: getattr(value, "__name__", None)
)
def test_hook_has_the_shape_that_we_override_or_call(owner: type, name: str, parameters: list[str]) -> None:
    """A method that we override or call is there with the parameters that we know."""
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters, f"{owner.__name__}.{name}"


def test_the_pinned_version_is_installed() -> None:
    """The hooks are those of pynetdicom 3.0: a newer one is looked at first."""
    assert pynetdicom.__version__.startswith("3.0."), pynetdicom.__version__


def test_provider_has_the_state_that_we_drive() -> None:
    """Queues, flag and back references of the upper layer provider are where we reach for them."""
    assoc = Association(pynetdicom.AE(), "acceptor")
    for name in ("event_queue", "to_provider_queue", "to_user_queue", "_recv_pdu", "_kill_thread", "socket"):
        assert hasattr(assoc.dul, name), name
    for name in ("_accepted_cx", "_rejected_cx", "is_established", "requestor", "acceptor", "acse"):
        assert hasattr(assoc, name), name
    assert assoc.acse.dul is assoc.dul
    assert assoc.dul.state_machine.current_state == "Sta1"


def test_the_event_of_an_accepted_connection_is_queued_by_the_socket() -> None:
    """The state machine starts because the socket's constructor says Evt5."""
    assert 'self.event_queue.put("Evt5")' in inspect.getsource(AssociationSocket.__init__)


def test_state_machine_knows_the_transitions_that_we_raise() -> None:
    """Deadlines, violations and ends of connections have a transition where we raise them."""
    waiting, working, closing = provider.AWAITING_REQUEST, provider.ESTABLISHED, provider.AWAITING_CLOSE
    expected = {
        ("Evt18", waiting): "AA-2",
        ("Evt19", waiting): "AA-1",
        ("Evt17", waiting): "AA-5",
        ("Evt10", waiting): "AA-1",
        ("Evt15", working): "AA-1",
        ("Evt17", working): "AA-4",
        ("Evt12", working): "AR-2",
        ("Evt17", closing): "AR-5",
        ("Evt18", closing): "AA-2",
    }
    assert {key: TRANSITION_TABLE[key] for key in expected} == expected


def test_an_abort_primitive_in_the_queue_decides_what_the_abort_says() -> None:
    """AA-1 sends the source and reason of the primitive that we queue, A-P-ABORT as source 2."""
    source = inspect.getsource(pynetdicom.fsm.AA_1)
    assert "to_provider_queue" in source
    assert "from_primitive" in source
    assert issubclass(A_ABORT, object)
    assert issubclass(A_P_ABORT, object)


def test_tables_of_sop_classes_are_there() -> None:
    """The private tables that tell storage from other services have their names."""
    assert "1.2.840.10008.5.1.4.1.1.2" in sop_class._STORAGE_CLASSES.values()
    assert sop_class._NON_PATIENT_OBJECT_CLASSES
    assert "1.2.840.10008.5.1.4.1.2.2.1" in sop_class._QR_CLASSES.values()


def test_logging_switches_are_there() -> None:
    """What keeps identifiers out of pynetdicom's log has its names and values."""
    assert {"LOG_HANDLER_LEVEL", "LOG_REQUEST_IDENTIFIERS", "LOG_RESPONSE_IDENTIFIERS"} <= set(vars(_config))
    assert 'LOG_HANDLER_LEVEL == "standard"' in inspect.getsource(AssociationServer._bind_defaults)
