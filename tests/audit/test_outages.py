"""A FHIR server that is killed again and again under one and the same client: no event is lost.

The server is a process of its own that writes each AuditEvent to a file before it answers.
"""

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from audit_receivers import Receiver

from pacsbridge.audit.forwarding import Forwarder
from pacsbridge.audit.repository import Repository
from pacsbridge.audit.syslog import Syslog
from pacsbridge.kernel.audit import Event
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.store.audit import AuditLog

pytestmark = pytest.mark.timeout(300)

AT = 1_700_000_000_000_000
PATIENCE = 90.0
"""Seconds for what comes back after pauses of some seconds, on a machine that is busy."""

PROGRAM = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, kept, lives, dies = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
taken = 0

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        print("connection", flush=True)

    def do_POST(self):
        global taken
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        taken += 1
        if taken > lives and dies == "before":
            os._exit(9)
        with open(kept, "a") as file:
            file.write(body["entity"][0]["what"]["identifier"]["value"] + "\\n")
            file.flush()
            os.fsync(file.fileno())
        if taken > lives and dies == "after":
            os._exit(9)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Mortal:
    """A FHIR server that dies at the event after `lives`, `before` or `after` it has kept that one."""

    def __init__(self, port: int, kept: Path, lives: int, dies: str) -> None:
        command = [sys.executable, "-c", PROGRAM, str(port), str(kept), str(lives), dies]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def died(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def end(self) -> int:
        """Kill it where it lives; how many connections it had."""
        self._process.kill()
        said, _ = self._process.communicate(timeout=30)
        return said.count("connection")


def told(numbers: range) -> list[Event]:
    """Events that are told apart by a number each."""
    return [Event("search", query="AAAA", request_id=f"r-{number}") for number in numbers]


@pytest.mark.parametrize(("dies", "twice"), [("before", 0), ("after", 3)])
def test_a_fhir_server_that_is_killed(
    dies: str,
    twice: int,
    log: AuditLog,
    tmp_path: Path,
    free_port: Callable[[], int],
    wait_until: Callable[..., None],
) -> None:
    """Killed three times: each event is there, in order; twice only what was kept and never confirmed."""
    port, kept = free_port(), tmp_path / "kept"
    sink = Repository(ArchiveSettings("audit", f"http://127.0.0.1:{port}/fhir", tries=1))
    running = Forwarder(log, "there", "fhir", sink, wait=lambda _seconds: 0.05)
    running.start()
    for turn in range(3):
        server = Mortal(port, kept, 4, dies)
        log.append(told(range(turn * 10, turn * 10 + 10)), AT)
        running.look()
        wait_until(server.died, PATIENCE)
        assert server.end() >= 1
    log.append(told(range(30, 33)), AT)
    server = Mortal(port, kept, 1_000, "never")
    try:
        wait_until(lambda: log.reached("there") == 33, PATIENCE)
    finally:
        connections = server.end()
        running.stop()
    numbers = kept.read_text().split()
    assert list(dict.fromkeys(numbers)) == [f"r-{number}" for number in range(33)]
    assert len(numbers) == 33 + twice
    assert connections == 1


def test_a_syslog_receiver_that_comes_and_goes(
    log: AuditLog, free_port: Callable[[], int], wait_until: Callable[..., None]
) -> None:
    """Three times away and back under one client: all messages come, those of each time in their order."""
    port = free_port()
    sink = Syslog(f"tcp://127.0.0.1:{port}", "host", settle_seconds=0.05)
    running = Forwarder(log, "there", "syslog", sink, wait=lambda _seconds: 0.05)
    running.start()
    messages: list[bytes] = []
    for turn in range(3):
        log.append(told(range(turn * 10, turn * 10 + 5)), AT)
        running.look()
        receiver = Receiver(port)
        log.append(told(range(turn * 10 + 5, turn * 10 + 10)), AT)
        running.look()
        await_last(wait_until, receiver, turn * 10 + 9)
        wait_until(lambda last=turn * 10 + 10: log.reached("there") == last, PATIENCE)
        receiver.close()
        messages += receiver.messages
    running.stop()
    assert list(dict.fromkeys(numbered(messages))) == list(range(30))


def test_a_syslog_receiver_that_resets_what_it_was_sent(
    log: AuditLog, wait_until: Callable[..., None]
) -> None:
    """A batch that was written to a connection which then broke is sent again: writing is not arriving."""
    listener = socket.create_server(("127.0.0.1", 0))
    messages: list[bytes] = []

    def receive() -> None:
        broken, _ = listener.accept()
        broken.recv(1)
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        broken.close()
        whole, _ = listener.accept()
        with whole, whole.makefile("rb") as stream:
            while len(messages) < 2:
                digits = b"".join(iter(lambda: stream.read(1).strip(), b""))
                messages.append(stream.read(int(digits)))
            whole.sendall(b"heard")  # ends the wait for an end of the connection
            whole.recv(1)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    sink = Syslog(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "host", settle_seconds=PATIENCE)
    running = Forwarder(log, "there", "syslog", sink, wait=lambda _seconds: 0.05)
    running.start()
    log.append(told(range(2)), AT)
    running.look()
    wait_until(lambda: log.reached("there") == 2, PATIENCE)
    running.stop()
    thread.join(PATIENCE)
    listener.close()
    assert numbered(messages) == [0, 1]


def await_last(wait_until: Callable[..., None], receiver: Receiver, number: int) -> None:
    """Wait until the last message that a receiver has is that of an event."""
    wait_until(lambda: numbered(receiver.messages)[-1:] == [number], PATIENCE)


def numbered(messages: list[bytes]) -> list[int]:
    """The numbers of the events of messages."""
    return [int(one.partition(b'ParticipantObjectID="r-')[2].partition(b'"')[0]) for one in messages]
