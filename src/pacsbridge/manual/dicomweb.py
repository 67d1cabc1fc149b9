"""Tables of the DICOM Conformance Statement about DICOMweb (PS3.18), pixels and character sets."""

from collections.abc import Callable, Iterable, Mapping

from pacsbridge.dicom.charsets import DEFINED_TERMS
from pacsbridge.dicomweb.accept import Offer
from pacsbridge.dicomweb.media import MEDIA, OCTETS, RELATED
from pacsbridge.dicomweb.metadata import OFFERS as METADATA
from pacsbridge.dicomweb.multipart import DICOM
from pacsbridge.dicomweb.retrieve import OFFERS
from pacsbridge.kernel.uids import names
from pacsbridge.manual.tables import code, codes, table
from pacsbridge.render.job import JPEG, PNG
from pacsbridge.render.syntaxes import DECODED

_ANY_FRAME = f"{code(OCTETS)} or the media type of the codec"


def _offered(offers: Iterable[Offer]) -> str:
    return "; ".join(code(_named(one)) for one in offers)


def _named(one: Offer) -> str:
    return f'{one.type}; type="{one.root}"' if one.root else one.type


def _transactions() -> str:
    pictures = (Offer(JPEG), Offer(PNG), Offer(RELATED, JPEG), Offer(RELATED, PNG))
    rows = (
        ("Retrieve: study, series (10.4)", _offered(OFFERS["study"])),
        ("Retrieve: instance (10.4)", _offered(OFFERS["instance"])),
        ("Retrieve: metadata (10.4)", _offered(METADATA)),
        (
            "Retrieve: frames, bulk data (10.4)",
            f"{code(RELATED)} of {_ANY_FRAME}; one part comes on its own too",
        ),
        ("Retrieve: rendered, thumbnail (10.4)", f"{_offered(pictures)}; with `dicomweb.render`"),
        (
            "Store: instances (10.5)",
            f"taken: {_offered((Offer(RELATED, DICOM),))}; answered: {_offered(METADATA)}",
        ),
        ("Search: studies, series, instances (10.6)", _offered(METADATA)),
    )
    return table(("Transaction of PS3.18", "Media types, the default first"), rows)


def _media() -> str:
    rows = ((names().get(uid, ""), code(uid), codes(types, ", ")) for uid, types in MEDIA.items())
    return table(("Transfer syntax", "UID", "Media type of its streams, and other names of it"), rows)


def _decoded() -> str:
    rows = ((names().get(uid, ""), code(uid)) for uid in sorted(DECODED))
    return table(("Transfer syntax", "UID"), rows)


def _character_sets() -> str:
    return codes(sorted(filter(None, DEFINED_TERMS)), ", ")


BLOCKS: Mapping[str, Callable[[], str]] = {
    "web-transactions": _transactions,
    "web-media": _media,
    "web-decoded": _decoded,
    "character-sets": _character_sets,
}
"""Placeholder → Markdown."""
