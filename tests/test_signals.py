"""Signals reach `serve` whichever thread of the process the system gives them to."""

import subprocess
import sys

PROGRAM = """
import signal, threading, time
from pacsbridge.commands import serving

class Running:
    def start(self): pass
    def reload(self): print("reloaded", flush=True)
    def stop(self): print("stopped", flush=True)

def send():
    for one in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), one)

signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
running = Running()
serving._until_signal(running, {then}, running.reload)
"""


def run(then: str) -> str:
    """What a process prints that waits for signals, until it ends by itself."""
    program = PROGRAM.replace("{then}", then)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_signals_that_another_thread_gets() -> None:
    """As when the main thread is traced: SIGHUP reloads, SIGTERM ends, any other changes nothing."""
    assert run("lambda: threading.Thread(target=send, daemon=True).start()") == "reloaded\nstopped\n"


def test_signals_before_anybody_waits() -> None:
    """What came during the start is heard after it."""
    assert run("send") == "reloaded\nstopped\n"
