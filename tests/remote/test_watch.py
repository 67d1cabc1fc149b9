"""Deadlines of answers: each is kept by itself, and all by one thread."""

import socket
import threading
import time

from pacsbridge.remote.watch import Watch


def test_the_earlier_ends_first() -> None:
    """A short deadline that begins after a long one ends in its time; the long one goes on."""
    near, far = socket.socketpair()
    with near, far:
        with Watch(600) as long, Watch(0.1) as short:
            short.on(near)
            near.settimeout(60)
            assert near.recv(1) == b""
        assert (short.expired, long.expired) == (True, False)


def test_a_socket_that_is_shown_late_is_shut_at_once() -> None:
    """The time may be over before there is a connection."""
    near, far = socket.socketpair()
    with near, far, Watch(0) as watch:
        while not watch.expired:
            time.sleep(0.01)
        watch.on(near)
        assert far.recv(1) == b""


def test_what_is_over_is_left_alone() -> None:
    """A connection outlives the watches over its answers."""
    near, far = socket.socketpair()
    with near, far:
        with Watch(0.1) as watch:
            watch.on(near)
        with Watch(0.2) as later:
            while not later.expired:
                time.sleep(0.01)
        far.sendall(b"x")
        assert near.recv(1) == b"x"


def test_one_thread_for_all() -> None:
    """However many there are."""
    with Watch(600):
        before = threading.active_count()
        watches = [Watch(600).__enter__() for _ in range(50)]
        assert threading.active_count() == before
        for watch in reversed(watches):
            watch.__exit__(None, None, None)
