"""x"""

from pacsbridge.kernel.attributes import Attributes


def from_json(obj: object) -> Attributes:
    return Attributes({})
