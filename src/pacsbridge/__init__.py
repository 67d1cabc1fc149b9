"""pacsbridge connects a hospital's PACS to FHIR: DICOM instances in, ImagingStudy resources out."""

__version__ = "0.1.0"
