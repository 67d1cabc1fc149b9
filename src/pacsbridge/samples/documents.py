"""Documents among the samples: an encapsulated PDF and a structured report."""

from collections.abc import Callable

from pacsbridge.samples.model import Values, code, uid

_FONTS = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"


def document_of(title: str, line: str) -> Callable[[int], Values]:
    """A PDF of one page and one line (PS3.3 A.45.1)."""

    def document(_index: int) -> Values:
        pdf = _pdf(line)
        return {
            "DocumentTitle": title,
            "BurnedInAnnotation": "YES",
            "ConceptNameCodeSequence": [code("18748-4", "LN", "Diagnostic imaging study")],
            "MIMETypeOfEncapsulatedDocument": "application/pdf",
            "EncapsulatedDocument": pdf + b"\n" * (len(pdf) % 2),
        }

    return document


def _pdf(line: str) -> bytes:
    stream = f"BT /F1 18 Tf 60 760 Td ({line}) Tj ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources {_FONTS} >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
    )
    text, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(text))
        text += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n"
    return (text + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}" + end).encode("ascii")


def report_on(study: str, series: int, sop_class: str, count: int, finding: str) -> Callable[[int], Values]:
    """A structured report of two lines on the images of a series (PS3.3 A.35.1)."""

    def report(_index: int) -> Values:
        images = [
            {"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": uid(study, series, index)}
            for index in range(count)
        ]
        evidence = {"SeriesInstanceUID": uid(study, series), "ReferencedSOPSequence": images}
        return {
            "CompletionFlag": "COMPLETE",
            "VerificationFlag": "UNVERIFIED",
            "ValueType": "CONTAINER",
            "ContinuityOfContent": "SEPARATE",
            "ConceptNameCodeSequence": [code("18748-4", "LN", "Diagnostic imaging report")],
            "CurrentRequestedProcedureEvidenceSequence": [
                {"StudyInstanceUID": uid(study), "ReferencedSeriesSequence": [evidence]}
            ],
            "ContentSequence": [
                _line("121071", "Finding", finding),
                _line("121077", "Conclusion", "Sample data, made by a program."),
            ],
        }

    return report


def _line(concept: str, meaning: str, text: str) -> Values:
    return {
        "RelationshipType": "CONTAINS",
        "ValueType": "TEXT",
        "ConceptNameCodeSequence": [code(concept, "DCM", meaning)],
        "TextValue": text,
    }
