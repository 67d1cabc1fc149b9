"""Pictures over real HTTP: DCMTK's dcmj2pnm and pydicom's pixel functions are the oracles."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from email.parser import BytesParser
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from pacsbridge.dicom.reader import read_header
from pacsbridge.dicomweb import app as module
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context
from pacsbridge.render.pool import Limits
from pacsbridge.store.records import Arrival

from .conftest import CT, EXPLICIT, STUDY, Bridge, Instance, dataset

pytest.importorskip("jpeg_ls", reason="nothing decodes pixels: pip install -e '.[render]'")
np = pytest.importorskip("numpy")
pil = pytest.importorskip("PIL.Image")
pixels = pytest.importorskip("pydicom.pixels.processing")

PNG = {"Accept": "image/png"}
LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"


@pytest.fixture
def render() -> Limits | None:
    """Pictures are made."""
    return Limits(seconds=60.0)


def hold(bridge: Bridge, raw: bytes, syntax: str = EXPLICIT, sop: str = "1", series: str = "1") -> Instance:
    """Store a whole file as it is, under a UID of the study whatever it says itself."""
    uid = f"{STUDY}.{series}.{sop}"
    facts = extract(read_header(dataset(STUDY, f"{STUDY}.{series}", uid), EXPLICIT).attributes, Context())
    location = bridge.packs.append({}, [raw])
    arrival = Arrival(facts, "urn:test", 1, syntax, location.text, location.size, sha256(raw).digest())
    bridge.store.put([arrival], {location.pack: location.end}, 1)
    return Instance(STUDY, f"{STUDY}.{series}", uid, raw)


def hold_sample(bridge: Bridge, name: str, sop: str = "1") -> tuple[Instance, Path]:
    """A file that pydicom brings."""
    path = Path(str(get_testdata_file(name)))
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    return hold(bridge, path.read_bytes(), str(syntax), sop), path


def image(values: Any, **elements: Any) -> Dataset:
    """An image of these stored values, 16 bits unless `elements` say otherwise."""
    frames = values if values.ndim == 3 else values[None]
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CT, "1.2.3"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.NumberOfFrames, image.Rows, image.Columns = frames.shape
    image.BitsAllocated = image.BitsStored = 8 * values.dtype.itemsize
    image.HighBit, image.PixelRepresentation = image.BitsStored - 1, int(values.dtype.kind == "i")
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.PixelData = values.tobytes()
    image["PixelData"].VR = "OW"
    return image


def encoded(image: Dataset) -> bytes:
    """As a Part 10 file."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    image.file_meta.MediaStorageSOPClassUID = UID(CT)
    image.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    out = BytesIO()
    pydicom.dcmwrite(out, image, enforce_file_format=True)
    return out.getvalue()


def ask(url: str, accept: str = "*/*", **query: str) -> requests.Response:
    """GET, with rendering parameters."""
    return requests.get(url, headers={"Accept": accept}, params=query, timeout=100)


def seen(response: requests.Response) -> Any:
    """The pixels of a good answer."""
    assert response.status_code == 200, response.text
    return np.asarray(pil.open(BytesIO(response.content)))


def show(bridge: Bridge, image: Dataset, sop: str = "1", **query: str) -> Any:
    """The pixels that come for an image."""
    return seen(ask(bridge.instance(hold(bridge, encoded(image), sop=sop), "rendered"), "image/png", **query))


def refused(response: requests.Response, status: int) -> str:
    """The reason of a refusal."""
    assert response.status_code == status, response.text
    return str(response.json()["reason"])


def parts(response: requests.Response) -> list[tuple[Mapping[str, str], Any]]:
    """Header fields and size of each picture."""
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + response.content)
    payload = message.get_payload()
    assert isinstance(payload, list)
    contents = [one.split(b"\r\n\r\n", 1)[1] for one in response.content.split(b"\r\n--")[:-1]]
    return [
        (dict(part.items()), pil.open(BytesIO(content)))
        for part, content in zip(payload, contents, strict=True)
    ]


SAMPLES = (
    *("CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "liver_1frame.dcm", "image_dfl.dcm"),
    *("SC_rgb_rle_16bit.dcm", "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_dcmtk_+eb+cy+n2.dcm"),
    *("SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cr.dcm"),
    *("ExplVR_BigEnd.dcm", "examples_palette.dcm", "rtdose_1frame.dcm"),
)


def test_pictures_are_those_of_dcmtk(bridge: Bridge, tmp_path: Path) -> None:
    """Grey, colour, palettes, planes, shared colours, big endian, deflated, RLE, JPEG: within one grey."""
    if shutil.which("dcmj2pnm") is None:
        pytest.skip("no DCMTK: apt-get install dcmtk")
    for number, name in enumerate(SAMPLES, 1):
        instance, path = hold_sample(bridge, name, str(number))
        out = tmp_path / "picture.pnm"
        subprocess.run(["dcmj2pnm", "+Ww", "300", "700", "-O", path, out], check=True, capture_output=True)
        theirs = np.asarray(pil.open(out)).astype(int)
        ours = seen(ask(bridge.instance(instance, "frames", "1", "rendered"), "image/png", window="300,700"))
        assert np.abs(ours.astype(int) - theirs).max() <= 1, name


def test_compressed_pictures_are_those_of_the_plain(bridge: Bridge) -> None:
    """JPEG 2000 and JPEG-LS without loss show what the uncompressed image shows."""
    plain, _ = hold_sample(bridge, "MR_small.dcm", "1")
    wanted = seen(ask(bridge.instance(plain, "rendered"), "image/png"))
    assert wanted.std() > 10
    for number, name in enumerate(("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"), 2):
        instance, _ = hold_sample(bridge, name, str(number))
        assert (seen(ask(bridge.instance(instance, "rendered"), "image/png")) == wanted).all(), name


def ramp(kind: str = "<u2", high: int = 4096) -> Any:
    """A row of every kind of value."""
    return np.linspace(0 if kind[1] == "u" else -high // 2, high - 1, 64 * 8).reshape(8, 64).astype(kind)


def normal(values: Any, low: float, high: float) -> Any:
    """From 0 to 255."""
    return np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255


def close(ours: Any, wanted: Any) -> bool:
    """Within rounding."""
    return bool(np.abs(ours.astype(float) - wanted).max() <= 1.0)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(bridge: Bridge, function: str) -> None:
    """The first window of the header after the rescale, and a window in the URL that goes before it."""
    made = image(ramp("<i2"), RescaleSlope="2", RescaleIntercept="-100", WindowCenter=["40", "1"])
    made.WindowWidth, made.VOILUTFunction = ["400", "1"], function
    rescaled = pixels.apply_rescale(ramp("<i2"), made)
    wanted = pixels.apply_windowing(rescaled, made)
    # pydicom scales to what the rescaled values may span
    span = (-32768 * 2 - 100, 32767 * 2 - 100)
    assert close(show(bridge, made), normal(wanted, *span))
    made.WindowCenter, made.WindowWidth = "900", "50"
    asked = "40,400," + function.lower().replace("_", "-")
    assert close(show(bridge, made, "2", window=asked), normal(wanted, *span))


def test_tables_are_looked_up(bridge: Bridge) -> None:
    """A modality LUT, then a VOI LUT, as pydicom applies them."""
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], [4095 - at for at in range(4096)]
    voi = Dataset()
    voi.LUTDescriptor, voi.LUTData = [1024, 1000, 12], [min(4095, 8 * at) for at in range(1024)]
    made = image(ramp(), ModalityLUTSequence=Items([table]), VOILUTSequence=Items([voi]))
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        made[sequence].value[0]["LUTData"].VR = made[sequence].value[0]["LUTDescriptor"].VR = "US"
    looked = pixels.apply_voi(pixels.apply_modality_lut(ramp(), made), made)
    assert close(show(bridge, made), normal(looked, 0, 4095))


def test_without_a_window_the_values_span_it_but_for_padding(bridge: Bridge) -> None:
    """Padding values, one or a range of them, do not count."""
    values = ramp("<i2", 1000)
    values[0, :4] = -2000
    values[0, 4:8] = -1990
    made = image(values, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1980)
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        made[keyword].VR = "SS"
    rest = values[values > -1980]
    assert close(show(bridge, made), normal(values, rest.min(), rest.max()))


def test_monochrome1_is_inverted(bridge: Bridge) -> None:
    """Its least value is white."""
    wanted = 255 - normal(ramp(), 0, 4095)
    assert close(show(bridge, image(ramp(), PhotometricInterpretation="MONOCHROME1")), wanted)


def test_bits_that_are_not_stored_do_not_show(bridge: Bridge) -> None:
    """Twelve bits in sixteen with rubbish above them, signed."""
    values = ramp("<i2", 2048) // 2
    dirty = (values.astype("<u2") & 0x0FFF | 0x5000).astype("<u2")
    made = image(dirty, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert close(show(bridge, made), normal(values, values.min(), values.max()))


def test_single_bits_are_black_and_white(bridge: Bridge) -> None:
    """Packed frames that do not begin with a byte (PS3.5 8.1.1)."""
    bits = (np.arange(45).reshape(3, 3, 5) % 7 < 3).astype("u1")
    made = image(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    made.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    made["PixelData"].VR = "OB"
    instance = hold(bridge, encoded(made))
    for frame in (1, 2, 3):
        found = seen(ask(bridge.instance(instance, "frames", str(frame), "rendered"), "image/png"))
        assert (found == bits[frame - 1] * 255).all()


def test_floats_are_shown(bridge: Bridge) -> None:
    """Float Pixel Data, whatever is no number among them."""
    values = np.linspace(-1.0, 1.0, 64).reshape(8, 8).astype("<f4")
    made = image(values, BitsAllocated=32)
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    values[0, 0] = np.nan
    made.FloatPixelData = values.tobytes()
    wanted = normal(np.nan_to_num(values, nan=-1.0), np.nanmin(values), 1.0)
    assert close(show(bridge, made), wanted)


def group(**elements: Any) -> Dataset:
    """Functional groups of one item each."""
    groups = Dataset()
    for keyword, value in elements.items():
        setattr(groups, keyword, Items([value]))
    return groups


def window_item(center: int) -> Dataset:
    """A frame VOI LUT item."""
    item = Dataset()
    item.WindowCenter, item.WindowWidth = str(center), "100"
    return item


@pytest.mark.parametrize("open_ended", [False, True])
def test_frames_have_their_own_windows(bridge: Bridge, open_ended: bool) -> None:
    """Enhanced multi-frame: VOI of each frame, rescale shared by all; sequences of either kind of length."""
    values = np.stack([ramp(high=500)] * 3)
    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = "1", "-100"
    made = image(values)
    made.SharedFunctionalGroupsSequence = Items([group(PixelValueTransformationSequence=rescale)])
    made.PerFrameFunctionalGroupsSequence = Items(
        [group(FrameVOILUTSequence=window_item(center)) for center in (0, 100, 200)]
    )
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        made[keyword].is_undefined_length = open_ended
        for item in made[keyword].value:
            item.is_undefined_length_sequence_item = open_ended
    instance = hold(bridge, encoded(made))
    for number, center in enumerate((0, 100, 200), 1):
        found = seen(ask(bridge.instance(instance, "frames", str(number), "rendered"), "image/png"))
        wanted = np.clip((values[0] - 100.0 - (center - 0.5)) / 99 + 0.5, 0, 1) * 255
        assert close(found, wanted), number


def test_pixels_become_square(bridge: Bridge) -> None:
    """Pixels twice as high as wide make a picture twice as high, in the viewport too."""
    made = image(ramp(), PixelAspectRatio=["2", "1"])
    assert show(bridge, made).shape == (16, 64)
    assert show(bridge, made, "2", viewport="32,32").shape == (8, 32)


def test_viewports(bridge: Bridge) -> None:
    """Scaled up and down within them, cut out, mirrored; each number of a region has its default."""
    instance = hold(bridge, encoded(image(ramp())))
    url = bridge.instance(instance, "rendered")
    whole = seen(ask(url, "image/png"))
    assert seen(ask(url, "image/png", viewport="128,128")).shape == (16, 128)
    assert seen(ask(url, "image/png", viewport="32,100")).shape == (4, 32)
    cut = seen(ask(url, "image/png", viewport="8,4,16,2,8,4"))
    assert (cut == whole[2:6, 16:24]).all()
    turned = seen(ask(url, "image/png", viewport="64,8,,,-64,-8"))
    assert (turned == whole[::-1, ::-1]).all()


MALFORMED = {
    "viewport": (
        "",
        "0,5",
        "5",
        "1,2,3",
        "a,b",
        "-1,5",
        "5,5,,,0,1",
        "5,5,x,0,1,1",
        "99999,5",
        "5,5,900,0,9,9",
    ),
    "window": (
        "",
        "1",
        "1,2,3,4",
        "a,b,linear",
        "40,0,linear",
        "40,-1,sigmoid",
        "40,400,cubic",
        "1e999,1",
        ",,",
    ),
    "quality": ("", "0", "101", "x", "9.5"),
    "annotation": ("", "x"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_parameters_are_named(bridge: Bridge, name: str) -> None:
    """400 with the parameter, whatever is wrong with it."""
    instance = hold(bridge, encoded(image(ramp())))
    for value in MALFORMED[name]:
        assert name in refused(ask(bridge.instance(instance, "rendered"), **{name: value}), 400), value
    region = ask(bridge.instance(instance, "thumbnail"), viewport="5,5,0,0,1,1")
    assert "viewport" in refused(region, 400)


def test_representations_and_caches(bridge: Bridge) -> None:
    """JPEG by default, PNG or multipart where asked for, 304 to who has it; quality counts; HEAD."""
    instance = hold(bridge, encoded(image(ramp())))
    url = bridge.instance(instance, "rendered")
    found = ask(url)
    assert found.headers["Content-Type"] == "image/jpeg" and found.content[:2] == b"\xff\xd8"
    assert found.headers["Cache-Control"] == "private, no-cache"
    assert found.headers["Content-Location"].endswith("/frames/1/rendered")
    again = requests.get(url, headers={"If-None-Match": found.headers["ETag"]}, timeout=60)
    assert again.status_code == 304 and not again.content
    tags = {found.headers["ETag"]}
    for accept, query in (("image/png", {}), ("*/*", {"quality": "10"}), ("*/*", {"viewport": "9,9"})):
        tags.add(ask(url, accept, **query).headers["ETag"])
    assert len(tags) == 4
    assert len(ask(url, quality="10").content) < len(ask(url, quality="100").content)
    head = requests.head(url, timeout=60)
    assert head.headers["Content-Length"] == str(len(found.content)) and not head.content
    ((fields, _),) = parts(ask(url, 'multipart/related; type="image/png"'))
    assert fields["Content-Type"] == "image/png"
    assert "image/jpeg" in refused(ask(url, "image/webp"), 406)
    assert seen(ask(url, accept="application/json, image/png;q=0.5")).shape == (8, 64)


def test_parameters_of_the_standard_that_are_ignored_are_named(bridge: Bridge) -> None:
    """Annotation is never burnt in: a Warning says so."""
    found = ask(bridge.instance(hold(bridge, encoded(image(ramp()))), "rendered"), annotation="patient")
    assert found.status_code == 200 and "annotation" in found.headers["Warning"]


def test_several_pictures_come_as_parts(bridge: Bridge) -> None:
    """Frames in the order of the list, each with its place; a whole instance, and a series, by all frames."""
    instance = hold(bridge, encoded(image(np.stack([ramp()] * 3))))
    listed = parts(ask(bridge.instance(instance, "frames", "3,1", "rendered")))
    places = [fields["Content-Location"].rsplit("/", 2)[1] for fields, _ in listed]
    assert places == ["3", "1"]
    assert len(parts(ask(bridge.instance(instance, "rendered")))) == 3
    hold(bridge, encoded(image(ramp())), sop="2")
    series = ask(bridge.study("series", instance.series, "rendered"))
    assert series.headers["Content-Type"].startswith('multipart/related; type="image/jpeg"')
    assert len(parts(series)) == 4
    assert "multipart" in refused(ask(bridge.study("rendered"), "image/jpeg"), 406)
    assert "no frame 4" in refused(ask(bridge.instance(instance, "frames", "4", "rendered")), 404)
    assert "frames" in refused(ask(bridge.instance(instance, "frames", "0", "rendered")), 400)


def report() -> bytes:
    """An instance without pixel data."""
    made = image(ramp())
    del made.PixelData
    return encoded(made)


def test_what_cannot_be_shown(bridge: Bridge) -> None:
    """406 with the reason by itself; among others it is left out, with 206 and a Warning."""
    without = hold(bridge, report(), sop="1")
    assert "no pixel data" in refused(ask(bridge.instance(without, "rendered")), 406)
    assert "no pixel data" in refused(ask(bridge.study("thumbnail")), 406)
    lossless = hold(bridge, Path(str(get_testdata_file("SC_rgb_jpeg_gdcm.dcm"))).read_bytes(), sop="2")
    assert LOSSLESS_SV1 in refused(ask(bridge.instance(lossless, "rendered")), 406)
    odd = hold(bridge, encoded(image(ramp(), PhotometricInterpretation="HSV")), sop="3", series="2")
    assert "kind" in refused(ask(bridge.instance(odd, "rendered")), 406)
    twelve, _ = hold_sample(bridge, "JPGExtended.dcm", "4")
    assert "decoded" in refused(ask(bridge.instance(twelve, "rendered")), 406)
    for sop in ("5", "6"):
        hold(bridge, encoded(image(ramp())), sop=sop, series="3")
    hold(bridge, report(), sop="7", series="3")
    some = ask(bridge.study("series", f"{STUDY}.3", "rendered"))
    assert some.status_code == 206 and "1 instances left out" in some.headers["Warning"]
    assert len(parts(some)) == 2


def test_thumbnails(bridge: Bridge) -> None:
    """One picture of the instance in the middle, 128 pixels or as asked for, never enlarged."""
    sizes = (40, 300, 60)
    for number, size in enumerate(sizes, 1):
        hold(bridge, encoded(image(np.tile(ramp()[:1], (size, 5))[:, :size])), sop=str(number))
    hold(bridge, report(), sop="4")
    for url in (bridge.study("thumbnail"), bridge.study("series", f"{STUDY}.1", "thumbnail")):
        found = ask(url)
        assert found.headers["Content-Type"] == "image/jpeg"
        assert found.headers["Content-Location"].endswith(f"{STUDY}.1.3/frames/1/thumbnail")
        assert seen(found).shape == (60, 60)
    large = bridge.study("series", f"{STUDY}.1", "instances", f"{STUDY}.1.2")
    assert seen(ask(large + "/thumbnail")).shape == (128, 128)
    assert seen(ask(large + "/thumbnail", viewport="50,20")).shape == (20, 20)
    assert seen(ask(large + "/frames/1/thumbnail", viewport="1000,1000")).shape == (300, 300)


@pytest.fixture
def no_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were not installed."""
    monkeypatch.setattr(module, "missing", lambda: "numpy")


def test_without_the_extra_it_is_named(no_codecs: None, bridge: Bridge) -> None:
    """501 with the command that installs what is missing."""
    instance = hold(bridge, encoded(image(ramp())))
    for what in ("rendered", "thumbnail"):
        assert "pip install 'pacsbridge[render]'" in refused(ask(bridge.instance(instance, what)), 501)


def test_a_client_that_goes_frees_its_place(bridge: Bridge) -> None:
    """The child that works for it is ended at once, long before the deadline."""
    instance = hold(bridge, encoded(image(ramp())))
    url = urlsplit(bridge.instance(instance, "rendered"))
    assert ask(url.geturl()).status_code == 200
    (child,) = [one for one in psutil.Process().children() if "pacsbridge.render.child" in one.cmdline()]
    child.send_signal(signal.SIGSTOP)
    with socket.create_connection((str(url.hostname), int(url.port or 0))) as caller:
        caller.sendall(f"GET {url.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.5)
        assert child.is_running()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()
    assert ask(url.geturl()).status_code == 200


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_damaged_headers_are_told(bridge: Bridge) -> None:
    """Sizes of nothing, of too much, bits and samples that cannot be: an answer, never a 500."""
    absurd: Sequence[Mapping[str, Any]] = (
        {"Rows": 0},
        {"Rows": 65535, "Columns": 65535},
        {"SamplesPerPixel": 2},
        {"BitsStored": 0},
        {"BitsAllocated": 12},
        {"BitsStored": 99},
        {"HighBit": 200},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"RescaleSlope": "nan"},
        {"PixelAspectRatio": ["0", "0"]},
    )
    for number, elements in enumerate(absurd, 1):
        instance = hold(bridge, encoded(image(ramp(), **elements)), sop=str(number))
        found = ask(bridge.instance(instance, "rendered"))
        assert found.status_code in (200, 406), (elements, found.text)
