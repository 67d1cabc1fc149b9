"""What only the store knows of an event: the resource of a study, and its patient."""

import time
from collections.abc import Callable
from dataclasses import replace

from pacsbridge.kernel.audit import SERIOUS, Event, subject_in
from pacsbridge.kernel.identity import study_id
from pacsbridge.kernel.publication import Publication
from pacsbridge.store.store import Store

_KNOWN_SECONDS = 60.0
"""How long the patient of a study is believed without looking again."""

_MOST_KNOWN = 10_000


class Completion:
    """Adds to events of a study its resource and its patient."""

    def __init__(
        self, store: Store, publication: Publication, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._publication = publication
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}

    def __call__(self, event: Event) -> Event:
        """The event with what can be known of it. Raises Unavailable."""
        if event.study and not event.resource:
            id_ = study_id(event.study, self._publication.id_key, self._publication.id_form)
            event = replace(event, resource=f"ImagingStudy/{id_}")
        if event.patient or event.outcome == SERIOUS or not event.resource.startswith("ImagingStudy/"):
            return event
        patient = self._patient(event.resource)
        return replace(event, patient=patient) if patient else event

    def _patient(self, resource: str) -> str:
        until, found = self._known.get(resource, (0.0, ""))
        if self._clock() >= until:
            document = self._store.summary(*resource.split("/", 1))
            found = "" if document is None or document.body is None else subject_in(document.body)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            if found:
                self._known[resource] = (self._clock() + _KNOWN_SECONDS, found)
        return found
