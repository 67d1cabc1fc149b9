"""Signals as they come, whichever thread the system gives them to.

Python's handlers run in the main thread, which a signal that went to another thread does not wake: so it was
lost where the main thread was stopped by a debugger when it came. What a signal writes to a socket wakes it.
"""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def arriving(*numbers: signal.Signals) -> Iterator[Callable[[], int]]:
    """What waits for the next of these signals and gives its number; they do nothing else meanwhile.

    For the main thread. One that came before anybody waited is not missed.
    """
    ours, told = socket.socketpair()
    with ours, told:
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        for one in numbers:
            signal.signal(one, lambda _number, _frame: None)
        try:
            yield lambda: next(number for number in iter(lambda: ours.recv(1)[0], None) if number in numbers)
        finally:
            signal.set_wakeup_fd(before)
