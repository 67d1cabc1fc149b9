"""A good conversation by DIMSE, step by step, for tests that spoil it."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.sender import uid
from pushing import encoded
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from raw_dimse import CT, ECHO, EXPLICIT, IMPLICIT, RawPeer, Wire

CALLER, BRIDGE = "RAW", "PACSBRIDGE"
FIND, MOVE, GET = (b"1.2.840.10008.5.1.4.1.2.2.%d" % number for number in (1, 2, 3))
_ROLE = b"\x54\0\0\x1d\0\x19" + CT + b"\0\1"
"""The caller is a provider of CT storage (PS3.7 D.3.3.4.1)."""


def peers(port: int) -> str:
    """The peers of a bridge that is a destination of its own C-MOVE, in TOML."""
    return f'[[peer]]\nae_title = "{BRIDGE}"\nhost = "127.0.0.1"\nport = {port}\n' + "".join(
        f'[[peer]]\nae_title = "{name}"\n' for name in (CALLER, "BENCH", "BYSTANDER")
    )


def request() -> bytes:
    """An A-ASSOCIATE-RQ for all services."""
    contexts = [(1, CT, (EXPLICIT,)), (3, ECHO, (IMPLICIT,))]
    contexts += [(number, model, (EXPLICIT,)) for number, model in ((5, FIND), (7, MOVE), (9, GET))]
    return Wire.associate(contexts, CALLER.encode(), BRIDGE.encode(), extra=_ROLE)


def _identifier(study: int, **keys: str) -> bytes:
    data = Dataset()
    data.QueryRetrieveLevel, data.StudyInstanceUID = "STUDY", uid(2, study)
    for name, value in keys.items():
        setattr(data, name, value)
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, data)
    return bytes(stream.getvalue())


def _asked(context: int, field: int, model: bytes, identifier: bytes, destination: bytes = b"") -> bytes:
    command = Wire.command(field, sop=model, uid=b"", destination=destination)
    return Wire.data(context, 3, command) + Wire.data(context, 2, identifier)


@dataclass(frozen=True)
class Talk:
    """What a caller says who stores an instance, and asks for study `wanted`; `name` is the patient's."""

    number: int
    study: int
    name: str
    wanted: int = 1

    def data(self, size: int = 3000) -> bytes:
        """The data set that is stored."""
        return encoded(self.number, self.study, size, self.name)

    def store(self, size: int = 3000, piece: int = 1000) -> bytes:
        """The C-STORE of it."""
        return Wire.store(1, self.data(size), uid(1, self.number).encode(), piece)

    def steps(self) -> Mapping[str, bytes]:
        """Step → what is sent, the association's beginning and end included."""
        find = _identifier(self.wanted, PatientName=self.name, StudyDate="")
        wanted = _identifier(self.wanted)
        return {
            "request": request(),
            "echo": Wire.echo(),
            "store": self.store(),
            "find": _asked(5, 0x20, FIND, find),
            "move": _asked(7, 0x21, MOVE, wanted, BRIDGE.encode()),
            "get": _asked(9, 0x10, GET, wanted),
            "release": Wire.RELEASE,
        }


def answered(peer: RawPeer, step: str, sent: bytes) -> int:
    """The status of a step of a conversation that goes well; of the association the type of the answer."""
    peer.send(sent)
    return peer.read()[0] if step in {"request", "release"} else peer.final()
