"""The FHIR API (R4, JSON) over what the store has published."""

from pacsbridge.fhir.app import fhir_app
from pacsbridge.fhir.service import FhirSettings

__all__ = ["FhirSettings", "fhir_app"]
