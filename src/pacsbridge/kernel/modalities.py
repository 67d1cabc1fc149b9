"""Modality codes (0008,0060) with their meanings: PS3.16 CID 29, 32 and 33, PS3.3 C.7.3.1.1.1.

`ACQUISITION` is CID 29 and the retired codes of old archives, which all name equipment; `DERIVED` is CID 32,
what is made of images or goes with them, and the newer codes that PS3.3 defines for such objects.
"""

from collections.abc import Mapping

_ACQUISITION_ROWS = """
AR Autorefraction
BDUS Ultrasound Bone Densitometry
BI Biomagnetic Imaging
BMD Bone Mineral Densitometry
CFM Confocal Microscopy
CR Computed Radiography
CT Computed Tomography
DG Diaphanography
DMS Dermoscopy
DX Digital Radiography
ECG Electrocardiography
EEG Electroencephalography
EMG Electromyography
EOG Electrooculography
EPS Cardiac Electrophysiology
ES Endoscopy
GM General Microscopy
HD Hemodynamic Waveform
IO Intra-oral Radiography
IVOCT Intravascular Optical Coherence Tomography
IVUS Intravascular Ultrasound
KER Keratometry
LEN Lensometry
LS Laser Scan
MG Mammography
MR Magnetic Resonance
NM Nuclear Medicine
OAM Ophthalmic Axial Measurements
OCT Optical Coherence Tomography
OP Ophthalmic Photography
OPM Ophthalmic Mapping
OPT Ophthalmic Tomography
OPTBSV Ophthalmic Tomography B-scan Volume Analysis
OPTENF Ophthalmic Tomography En Face
OPV Ophthalmic Visual Field
OSS Optical Surface Scanner
PA Photoacoustic
POS Position Sensor
PT Positron emission tomography
PX Panoramic X-Ray
RESP Respiratory Waveform
RF Radiofluoroscopy
RG Radiographic imaging
RTIMAGE RT Image
SM Slide Microscopy
SRF Subjective Refraction
TG Thermography
US Ultrasound
VA Visual Acuity
XA X-Ray Angiography
XC External-camera Photography
"""

_RETIRED_ROWS = """
AS Angioscopy
CD Color flow Doppler
CF Cinefluorography
CP Culposcopy
CS Cystoscopy
DD Duplex Doppler
DF Digital fluoroscopy
DM Digital microscopy
DS Digital Subtraction Angiography
EC Echocardiography
FA Fluorescein angiography
FS Fundoscopy
LP Laparoscopy
MA Magnetic resonance angiography
MS Magnetic resonance spectroscopy
OPR Ophthalmic Refraction
ST Single-photon emission computed tomography
VF Videofluorography
"""

_DERIVED_ROWS = """
ANN Annotation
ASMT Content Assessment Result
AU Basic Voice Audio
CTPROTOCOL CT Protocol
DOC Document
FID Spatial Fiducials
HC Hard Copy
IOL Intraocular Lens Calculation
KO Key Object Selection
M3D Model for 3D Manufacturing
OT Other
PLAN Plan
PR Presentation State
REG Registration
RTDOSE RT Dose
RTPLAN RT Plan
RTRECORD RT Treatment Record
RTSTRUCT RT Structure Set
RWV Real World Value Map
SEG Segmentation
SMR Stereometric Relationship
SR Structured Report Document
STAIN Automated Slide Stainer
TEXTUREMAP Texture Map
"""

_NAMELESS = frozenset({"RTINTENT", "RTRAD", "RTSEGANN", "XAPROTOCOL"})
"""Codes that PS3.3 defines and PS3.16 has no meaning for."""


def _rows(text: str) -> dict[str, str]:
    return {code: meaning for code, _, meaning in (row.partition(" ") for row in text.strip().splitlines())}


_ACQUISITION = _rows(_ACQUISITION_ROWS) | _rows(_RETIRED_ROWS)
_DERIVED = _rows(_DERIVED_ROWS)

MODALITIES: Mapping[str, str] = _ACQUISITION | _DERIVED
"""Code → code meaning."""

ACQUISITION = frozenset(_ACQUISITION)
DERIVED = frozenset(_DERIVED) | _NAMELESS
