"""Where instances come from, and what the configuration adds to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pacsbridge.kernel.identity import Context, source_uri

IMPORT_URI = "urn:pacsbridge:import"
"""The source of files that are imported by command."""

STOW_URI = "urn:pacsbridge:stow"
"""The source of instances that come over HTTP."""


@dataclass(frozen=True, slots=True)
class Source:
    """One application entity, archive or folder.

    `uri` names it in `meta.source` and in the packs, `name` in logs; `charset` holds the defined terms
    (PS3.3 C.12.1.1.2) for data sets that declare none.
    """

    uri: str
    name: str
    charset: str = ""
    context: Context = field(default_factory=Context)


class Sources:
    """The configured sources; all others are as `default`, under their own names."""

    def __init__(self, default: Source, known: Iterable[Source] = ()) -> None:
        self._default = default
        self._known: Mapping[str, Source] = {source.uri: source for source in known}

    def of_ae(self, ae_title: str) -> Source:
        """The source that calls itself by this AE title."""
        uri = source_uri(ae_title)
        return self._known.get(uri) or replace(self._default, uri=uri, name=ae_title)

    def of_uri(self, uri: str) -> Source:
        """The source that was written down under this URI."""
        return self._known.get(uri) or replace(self._default, uri=uri, name=uri)
