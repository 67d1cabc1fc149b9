"""Beyond the watermark of the disk, callers who could only store are turned away; all others work on."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from raw_dimse import CT, IMPLICIT, RawPeer, Wire

from pacsbridge.dimse.operations import Exchange, Steps
from pacsbridge.dimse.receive import Caller
from pacsbridge.dimse.server import DimseServer
from pacsbridge.dimse.settings import OFFERED, DimseSettings, Peer
from pacsbridge.dimse.watch import Watch

ECHO = "1.2.840.10008.1.1"
MR, COMMITMENT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.20.1"
STUDY_FIND, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
WORKLIST = "1.2.840.10008.5.1.4.31"
REJECTED = 3
"""The type of an A-ASSOCIATE-RJ, whose body is 0, result, source, reason (PS3.8 Table 9-21)."""


class House:
    """A listener whose disk is low while `low`; `told` is what is heard of callers turned away."""

    def __init__(self) -> None:
        self.low = True
        self.told: list[tuple[str, str]] = []
        peers = (Peer("READER", services=OFFERED - {"store"}), Peer("CT1"), Peer("RAW"))
        operations = {"find": _nothing, "get": _nothing}
        settings = DimseSettings(port=0)
        self.server = DimseServer(settings, _keep, _no_spool, peers, commit=_keep, operations=operations)
        self.server.heed(lambda: self.low)
        self.server.tell(Watch(rejected=self._hear))
        self.server.start()

    def _hear(self, caller: Caller, reason: str) -> None:
        self.told.append((caller.calling_ae, reason))

    def associate(self, *classes: str, title: str = "CT1", provider: bool = False) -> Association:
        """An association that proposes these classes, of which the caller is the provider perhaps."""
        ae = AE(title)
        for one in classes:
            ae.add_requested_context(one)
        roles: list[Any] = [build_role(MR, scp_role=True)] if provider else []
        return ae.associate("127.0.0.1", self.server.port, ext_neg=roles)

    def answer(self, *classes: str, title: bytes = b"CT1") -> tuple[int, bytes]:
        """Type and body of the PDU that answers a request for these classes."""
        contexts = [(number, one.encode(), (IMPLICIT,)) for number, one in zip((1, 3), classes, strict=False)]
        with RawPeer(self.server.port) as peer:
            return peer.send(Wire.associate(contexts, title)).read()


def _nothing(_exchange: Exchange) -> Steps:
    yield from ()


def _no_spool(*_uids: str) -> Any:
    raise AssertionError


def _keep(*_taken: object) -> None:
    """Nobody asks for it."""


@pytest.fixture
def house() -> Iterator[House]:
    """A running listener."""
    made = House()
    yield made
    made.server.stop(5)


@pytest.mark.parametrize("more", [(), (ECHO,), (WORKLIST,)], ids=["alone", "with echo", "with no service"])
def test_who_could_only_store_is_turned_away(
    house: House, counted: Callable[..., float], wait_until: Callable[..., None], more: tuple[str, ...]
) -> None:
    """Rejected-transient, local limit exceeded, counted and told; served again as soon as there is room."""
    reason = "too little room on the disk"
    assert house.answer(MR, *more) == (REJECTED, bytes((0, 2, 3, 2)))
    wait_until(lambda: house.told == [("CT1", reason)])
    assert counted("pacsbridge_dimse_rejected_total", reason=reason) == 1
    wait_until(lambda: [one.reason for one in house.server.associations().refusals] == [reason])
    house.low = False
    served = house.associate(MR, *more)
    assert served.is_established
    served.release()


@pytest.mark.parametrize(
    ("classes", "provider"),
    [((ECHO,), False), ((STUDY_FIND, MR), False), ((STUDY_GET, MR), True), ((COMMITMENT, MR), False)],
    ids=["echo", "find", "get", "commitment"],
)
def test_who_does_anything_else_comes_in(house: House, classes: tuple[str, ...], provider: bool) -> None:
    """With all contexts: the result of a context cannot say that it is for now."""
    line = house.associate(*classes, provider=provider)
    assert line.is_established
    assert {str(one.abstract_syntax) for one in line.accepted_contexts} == set(classes)
    line.release()


def test_who_may_not_store_gets_the_lasting_answer(house: House) -> None:
    """A peer without that service: to try later would change nothing, and its contexts say so."""
    line = house.associate(MR, ECHO, title="READER")
    assert [str(one.abstract_syntax) for one in line.accepted_contexts] == [ECHO]
    line.release()


def test_strangers_learn_nothing_of_the_disk(house: House) -> None:
    """Whom we do not know is refused for that."""
    assert house.answer(MR, title=b"ROGUE") == (REJECTED, bytes((0, 1, 1, 3)))


def test_who_is_in_goes_on(house: House) -> None:
    """What has begun before is taken."""
    house.low = False
    with RawPeer(house.server.port).associate(contexts=((1, CT, (IMPLICIT,)),)) as peer:
        house.low = True
        assert peer.send(Wire.store()).status() == 0
