"""Receivers of audit events on loopback: by syslog and by FHIR."""

import json
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback_http import LoopbackHttp


class Receiver:
    """A syslog receiver on loopback that counts octets (RFC 6587 3.4.1, RFC 5425 4.3)."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._context = context
        self.port = self._listener.getsockname()[1]
        self.messages: list[bytes] = []
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._read, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _read(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while digits := b"".join(iter(lambda: stream.read(1).strip(), b"")):
                    self.messages.append(stream.read(int(digits)))
        except OSError:
            return

    def close(self) -> None:
        """Hang up, and listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


class Server(LoopbackHttp):
    """A FHIR server that takes AuditEvents; `status` is what it answers with.

    `reads`: path → type and status of what is read; `page`: what is said to who creates, for people to read.
    """

    def __init__(self) -> None:
        self.status = 201
        self.page = b""
        self.resources: list[dict[str, Any]] = []
        self.heads: list[tuple[str, str, str | None]] = []
        self.reads = {"/fhir/metadata": ("CapabilityStatement", 200), "/fhir/AuditEvent": ("Bundle", 200)}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, status = server.reads.get(self.path.partition("?")[0], ("", 404))
                body = json.dumps({"resourceType": kind}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind, login = self.headers["Content-Type"], self.headers.get("Authorization")
                server.heads.append((self.path, kind, login))
                if server.status == 201:
                    server.resources.append(json.loads(body))
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.page)))
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(server.page)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(Handler, "/fhir")
