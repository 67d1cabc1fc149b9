"""Everything pacsbridge raises on purpose.

    PacsbridgeError
    ├── Refused             what the caller sent is bad; sending it again changes nothing
    │   ├── NotUnderstood   not DICOM, no UIDs, a malformed parameter or body
    │   │   └── NotSupported    legal, but not among what is offered here
    │   ├── Mismatch        the data set contradicts the command that carried it
    │   ├── TooLarge        beyond a stated limit (length, depth, count)
    │   ├── Conflicting     other content than what is held under the same UID
    │   ├── NotAcceptable   no representation that the caller accepts
    │   ├── Misdirected     asked for under a name that is not ours
    │   └── Insecure        sent for everybody to read
    ├── Denied              the caller may not have what it asks for
    │   ├── Unauthenticated who it is is not known: no token, or none that is good
    │   └── Forbidden       who it is is known, and its rights don't go so far
    ├── Absent              there is nothing under that name
    │   └── Gone            there was, and it has been deleted
    ├── Unavailable         try later: disk full, database or archive away, shutting down
    │   └── TooCostly       takes longer than may be spent on one answer
    ├── BadAnswer           another server's answer cannot be used: no JSON, cut short, too long, elsewhere
    │   ├── Declined        it says that the question is bad (HTTP 400 and its like)
    │   └── WrongKind       it is of another media type: a page to log in at, say
    └── Misconfigured       the operator must change the configuration

Errors of the libraries underneath are translated into these once, at the seam. Each edge (DIMSE, FHIR,
DICOMweb, command line) owns one table from these classes to its own protocol's answers.
Messages name elements, limits and reasons; they never carry patient data.
"""


class PacsbridgeError(Exception):
    """Base of all errors that pacsbridge raises on purpose."""


class Refused(PacsbridgeError):
    """What the caller sent is bad."""


class NotUnderstood(Refused):
    """Cannot be read as what it claims to be. `parameter` names the query parameter or element at fault."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class NotSupported(NotUnderstood):
    """Legal in its standard, but not offered here; leaving it out would change what comes out."""


class Mismatch(Refused):
    """The data set does not match the SOP class or instance that the command names."""


class TooLarge(Refused):
    """Beyond a stated limit."""


class Conflicting(Refused):
    """Other content than is held under the same SOP Instance UID, where `store.on_conflict` refuses it."""


class NotAcceptable(Refused):
    """No representation of the answer is acceptable to the caller."""


class Misdirected(Refused):
    """Asked for under a name that is not ours, where nobody has to authenticate (RFC 9110 15.5.20)."""


class Insecure(Refused):
    """Came from another machine without TLS."""


class Denied(PacsbridgeError):
    """The caller may not have what it asks for. `challenge` is the value of WWW-Authenticate (RFC 6750 3)."""

    challenge = 'Bearer realm="pacsbridge"'


class Unauthenticated(Denied):
    """Nobody knows who calls: without a token, or (`invalid`) with one that is not good."""

    def __init__(self, message: str, *, invalid: bool = True) -> None:
        super().__init__(message)
        if invalid:
            self.challenge = f'{Denied.challenge}, error="invalid_token", error_description="{message}"'


class Forbidden(Denied):
    """The rights of the caller don't go so far; `scope` would (SMART App Launch 2, "scopes")."""

    def __init__(self, message: str, scope: str = "") -> None:
        super().__init__(message)
        needed = f', scope="{scope}"' if scope else ""
        self.challenge = (
            f'{Denied.challenge}, error="insufficient_scope", error_description="{message}"{needed}'
        )


class Absent(PacsbridgeError):
    """Nothing is known under that name."""


class Gone(Absent):
    """It was there and has been deleted."""


class Unavailable(PacsbridgeError):
    """A resource that is needed is away for now: try later, after so many seconds where it says so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooCostly(Unavailable):
    """What is asked for takes longer than may be spent on one answer."""


class BadAnswer(PacsbridgeError):
    """Another server's answer cannot be used; asking the same again will hardly change that."""


class Declined(BadAnswer):
    """Another server refuses the question itself."""


class WrongKind(BadAnswer):
    """Another server's answer is of another media type than was asked for, and begins like no such thing."""


class Misconfigured(PacsbridgeError):
    """The configuration cannot be used; the message names the key."""


def reason(fault: BaseException) -> str:
    """Why something failed, for records and logs: our own words; of others, who may quote, the type."""
    return str(fault) if isinstance(fault, PacsbridgeError) else f"internal fault: {type(fault).__name__}"
