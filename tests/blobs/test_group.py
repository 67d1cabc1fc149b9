"""Who leads, who waits, and what happens when it goes wrong."""

import threading
from collections.abc import Callable, Sequence

import pytest

from pacsbridge.blobs import group as module
from pacsbridge.blobs.group import GroupCommit
from pacsbridge.errors import TooLarge, Unavailable


class Work:
    """A commit that can be held up; remembers each group and the thread that committed it."""

    def __init__(self) -> None:
        self.groups: list[tuple[list[int], threading.Thread]] = []
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.error: BaseException | None = None

    def __call__(self, items: Sequence[int]) -> None:
        self.groups.append((list(items), threading.current_thread()))
        self.begun.release()
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error


class Caller(threading.Thread):
    """Submits one item and keeps what it raised."""

    def __init__(self, group: GroupCommit[int], item: int, size: int = 1) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._submit: Callable[[], None] = lambda: group.submit(item, size)
        self.start()

    def run(self) -> None:
        """Keep what was raised."""
        try:
            self._submit()
        except BaseException as exc:
            self.error = exc


@pytest.fixture
def work() -> Work:
    """A commit that is held up until its gate is set."""
    return Work()


def _queued(group: GroupCommit[int], count: int) -> bool:
    """Wait until so many callers wait."""
    ticks = threading.Event()
    return any(len(group._waiting) == count or ticks.wait(0.005) for _ in range(4000))


def _gathered(work: Work, group: GroupCommit[int], sizes: Sequence[int]) -> list[Caller]:
    """One caller at work on item 0, and behind it one for each size, in order."""
    callers = [Caller(group, 0)]
    assert work.begun.acquire(timeout=20)
    for number, size in enumerate(sizes, start=1):
        callers.append(Caller(group, number, size))
        assert _queued(group, number)
    return callers


def _finish(work: Work, callers: Sequence[Caller]) -> None:
    work.gate.set()
    for caller in callers:
        caller.join(20)
        assert not caller.is_alive()


def test_a_lone_caller_does_its_own_work(work: Work) -> None:
    """No other thread is involved."""
    work.gate.set()
    group = GroupCommit(work, 100)
    group.submit(7, 1)
    group.submit(8, 1)
    me = threading.current_thread()
    assert work.groups == [([7], me), ([8], me)]


def test_those_who_wait_become_one_group(work: Work) -> None:
    """In the order of their arrival, led by the first of them."""
    group = GroupCommit(work, 100)
    callers = _gathered(work, group, [1] * 5)
    _finish(work, callers)
    assert work.groups == [([0], callers[0]), ([1, 2, 3, 4, 5], callers[1])]


def test_groups_are_bounded(work: Work) -> None:
    """What does not fit waits for the next group; a single item may be larger than the bound."""
    group = GroupCommit(work, 100)
    _finish(work, _gathered(work, group, [60, 40, 1, 500, 1]))
    assert [items for items, _ in work.groups] == [[0], [1, 2], [3], [4], [5]]


@pytest.mark.parametrize("error", [Unavailable("disk full"), TooLarge("more than 5")])
def test_everyone_of_a_group_hears_of_its_failure(work: Work, error: Exception) -> None:
    """Each caller gets an exception of its own with the same reason."""
    group = GroupCommit(work, 100)
    callers = _gathered(work, group, [1, 1])
    work.error = error
    _finish(work, callers)
    errors = [caller.error for caller in callers]
    assert [(type(one), str(one)) for one in errors] == [(type(error), str(error))] * 3
    assert errors[1] is not errors[2]


def test_a_foreign_exception_is_unavailable_to_followers(work: Work) -> None:
    """The leader sees what it was, the others that it failed; and the next group goes on."""
    group = GroupCommit(work, 100)
    callers = _gathered(work, group, [1, 1])
    work.error = RuntimeError("broken")
    _finish(work, callers)
    assert [type(caller.error) for caller in callers] == [RuntimeError, RuntimeError, Unavailable]
    work.error = None
    group.submit(9, 1)


class _Interrupted:
    """A gate at which the caller is interrupted: at once, or in the moment when it is given the lead."""

    def __init__(self, at_once: bool) -> None:
        self._opened = threading.Event()
        if at_once:
            self._opened.set()

    def acquire(self) -> bool:
        """Wait, and be interrupted."""
        assert self._opened.wait(20)
        raise KeyboardInterrupt

    def release(self) -> None:
        """The lead is given."""
        self._opened.set()


@pytest.mark.parametrize("at_once", [True, False])
def test_an_interrupted_caller_does_not_take_the_lead_away(
    work: Work, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Ctrl-C in a thread that waits, or was to lead next: the one behind it leads, nobody waits for ever."""

    class Ticket(module._Ticket[int]):
        def __init__(self, item: int, size: int) -> None:
            super().__init__(item, size)
            self.gate = _Interrupted(at_once)  # type: ignore[assignment]

    group = GroupCommit(work, 100)
    first = Caller(group, 0)
    assert work.begun.acquire(timeout=20)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_Ticket", Ticket)
        second = Caller(group, 1)
        if at_once:
            second.join(20)
        assert _queued(group, 0 if at_once else 1)
    third = Caller(group, 2)
    assert _queued(group, 1 if at_once else 2)
    _finish(work, [first, second, third])
    assert isinstance(second.error, KeyboardInterrupt)
    assert [items for items, _ in work.groups] == [[0], [2]]
    assert third.error is None
