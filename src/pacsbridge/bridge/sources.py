"""Where instances come from, and what the configuration adds to them."""

from dataclasses import dataclass, field

from pacsbridge.kernel.identity import Context


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
