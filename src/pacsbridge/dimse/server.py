"""The DIMSE listener: start it, ask for its port, stop it."""

import errno
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import structlog
from pynetdicom import AE, build_context
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, RequestHandler

from pacsbridge.blobs.spool import Spool
from pacsbridge.bridge.association_log import Associations
from pacsbridge.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsbridge.dimse.library_logs import tame
from pacsbridge.dimse.negotiation import VERIFICATION, Held
from pacsbridge.dimse.operations import Operation
from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.provider import Provider
from pacsbridge.dimse.receive import Commit, Outlet, Refusals, Stored
from pacsbridge.dimse.register import Register
from pacsbridge.dimse.settings import DimseSettings, Peer
from pacsbridge.dimse.transport import Connection
from pacsbridge.dimse.watch import Watch

log = structlog.get_logger("pacsbridge.dimse")

_ACCEPT_POLL_SECONDS = 0.05
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class Handler(RequestHandler):
    """Gives the accepted socket a thread of its own; the accept loop never waits for a peer."""

    server: "Listener"

    def handle(self) -> None:
        """Starts the provider's thread."""
        register = self.server.register
        assoc = self._create_association()
        assoc.dul = provider = Provider(assoc, register)
        provider.attach(Connection(assoc, self.request, register.settings))
        register.enter(provider)
        try:
            provider.start()
        except RuntimeError:  # no more threads to be had
            provider.give_back()
            raise

    def _create_association(self) -> Association:
        """The association's two ends as pynetdicom wants them, without its deep copies and handlers."""
        assoc = Association(self.ae, MODE_ACCEPTOR)
        assoc.acceptor.maximum_length = self.server.register.settings.max_pdu
        assoc.acceptor.ae_title = self.server.ae_title
        assoc.acceptor.address_info = self.local
        assoc.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        assoc.acceptor.implementation_version_name = self.ae.implementation_version_name
        assoc.requestor.address_info = self.remote
        return assoc


class Listener(AssociationServer):
    """pynetdicom's server without its handshake in the accept loop, its collections, its prints."""

    request_queue_size = 256

    def __init__(self, *args: Any, register: Register, **kwargs: Any) -> None:
        self.register = register
        super().__init__(*args, **kwargs)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts one connection; out of descriptors, waits a moment instead of spinning."""
        try:
            return super().get_request()
        except OSError as fault:
            if fault.errno in _NO_DESCRIPTORS:
                log.error("out of file descriptors")
                time.sleep(_ACCEPT_POLL_SECONDS)
            raise

    def service_actions(self) -> None:
        """Nothing: our connections leave no cycles worth a full collection."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that could not be set up, out of threads perhaps."""
        request.close()
        log.error("connection not set up", address=str(client_address[0]))

    def shutdown(self) -> None:
        """Ends `serve_forever` and closes the socket."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()


class DimseServer:
    """C-ECHO, C-STORE, queries, retrievals and Storage Commitment on one address.

    `adopt` takes an instance, and returns once it is durable or raises one of `errors`. `spool` opens a file
    for a large instance, given its SOP Class, SOP Instance and Transfer Syntax UID. `refused` hears of an
    instance that never came as far as `adopt`: too large, disk full, no UIDs. `commit` takes a request for
    storage commitment, and returns once it is durable. `operations` answer the requests of other services;
    `syntaxes` tells in which transfer syntaxes instances of SOP classes can be sent by C-GET.
    A service that nothing is given for does not exist. All are called from the threads of the connections.
    """

    def __init__(
        self,
        settings: DimseSettings,
        adopt: Callable[[Stored], object],
        spool: Callable[[str, str, str], Spool],
        peers: Iterable[Peer] = (),
        refused: Refusals | None = None,
        commit: Commit | None = None,
        operations: Mapping[str, Operation] | None = None,
        syntaxes: Callable[[Sequence[str]], Held] | None = None,
    ) -> None:
        there = {*("echo", "store"), *(operations or ()), *(("commitment",) if commit else ())}
        self._settings = settings = replace(settings, services=settings.services & there)
        outlet = Outlet(adopt, spool, refused, commit, settings.ae_title, operations or {}, syntaxes)
        self._register = Register(settings, Directory(peers), outlet)
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on: the one bound where the settings say 0."""
        return int(self._listener.server_address[1]) if self._listener else self._settings.port

    def associations(self) -> Associations:
        """Who is and was associated; any thread may ask."""
        return self._register.associations()

    def tell(self, watch: Watch) -> None:
        """Who is told of associations from now on."""
        self._register.watch = watch

    def heed(self, is_low: Callable[[], bool]) -> None:
        """What says from now on whether too little room is left for callers who could only store."""
        self._register.is_low = is_low

    def start(self) -> None:
        """Binds and listens; OSError if the address is taken."""
        tame()
        self._listener = listener = self._listen()
        self._thread = threading.Thread(
            target=listener.serve_forever, args=(_ACCEPT_POLL_SECONDS,), name="dimse-listener", daemon=True
        )
        self._thread.start()
        log.info("dimse listens", host=self._settings.host, port=self.port, called_ae=self._settings.ae_title)

    def _listen(self) -> Listener:
        """Our listener by pynetdicom's hook for a server class of one's own."""
        entity = AE(self._settings.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        server = entity.make_server(
            (self._settings.host, self._settings.port),
            contexts=[build_context(VERIFICATION)],
            server_class=Listener,
            request_handler=Handler,
            register=self._register,
        )
        return cast(Listener, server)

    def stop(self, timeout: float = 30.0) -> None:
        """Accepts no more, lets requests finish for `timeout` seconds, aborts idle and late ones."""
        if self._listener is None or self._thread is None:
            return
        self._listener.shutdown()
        self._thread.join()
        if not self._register.close(timeout):
            log.error("dimse threads left behind", threads=len(self._register.members()))
        self._listener = self._thread = None
        log.info("dimse stopped")
