"""OHIF in a real browser shows what the bridge has, and asks nobody else."""

import asyncio
import base64
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pydicom.data
import pytest
import requests
from chromium_peer import Page, browser
from PIL import Image
from pydicom.pixels.processing import apply_rescale, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID
from pynetdicom import AE
from token_issuer import AUDIENCE, Issuer

from pacsbridge.errors import Unavailable
from pacsbridge.viewer import package

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
FILES: Sequence[str] = (
    "CT_small",
    "693_J2KI",
    "MR_small_RLE",
    "MR_small_jpeg_ls_lossless",
    "examples_ybr_color",
    "examples_rgb_color",
    "SC_rgb_jpeg_dcmtk",
)
"""A native CT, JPEG 2000, RLE, JPEG-LS, 30 frames of JPEG, RGB, and JPEG in colour: a series of each."""

STUDY = "2.999.88"
SIDE = 64
PATIENCE = 80.0
"""Seconds: the viewer's program is 17 MB of text, and machines that test are busy."""

_PICTURES = """[...document.querySelectorAll('img')].filter(one => /^(data|blob):/.test(one.src)
    && one.naturalWidth)"""
_DRAWN = """(() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  if (!canvas || canvas.width < 400) return null;
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(pixels).size > 50 && canvas.toDataURL();
})()"""
_SHOWN = f"""{_PICTURES}.map(one => {{
  const canvas = document.createElement('canvas');
  canvas.width = one.naturalWidth; canvas.height = one.naturalHeight;
  canvas.getContext('2d').drawImage(one, 0, 0);
  return [one.closest('[id^="thumbnail-"]').innerText, canvas.toDataURL()];
}})"""


class Seen(NamedTuple):
    """What a browser saw: the list's text, each series' picture, the viewport, the traffic, complaints."""

    listed: str
    pictures: Mapping[str, Image.Image]
    viewport: Image.Image
    screenshot: bytes
    requests: Sequence[str]
    errors: Sequence[str]
    isolated: bool
    origin: str


@pytest.fixture(scope="module")
def pages() -> Path:
    """OHIF's package in the user's cache, fetched where it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pacsbridge-tests"
    try:
        registry = os.environ.get("NPM_CONFIG_REGISTRY", package.REGISTRY)
        return asyncio.run(package.pages(cache, registry, None))
    except Unavailable as exc:
        pytest.skip(f"no OHIF, {exc}: NPM_CONFIG_REGISTRY=URL pytest tests/end_to_end/test_viewer.py")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer of tokens that knows whoever comes."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def seen(
    make_lasting_bridge: Callable[..., Any],
    program: Callable[[str], str],
    pages: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Seen:
    """What a browser sees of the study list and of a study."""
    chromium = program("chromium")
    bridge = make_lasting_bridge().start()
    push(bridge.dimse_port)
    bridge.wait(lambda: len(bridge.studies()) == 1)
    with viewer(bridge, pages) as (origin, link):
        return asyncio.run(looked(chromium, tmp_path_factory.mktemp("chromium"), origin, link))


def push(port: int) -> None:
    """Store all files as one study."""
    sets = [pydicom.dcmread(SHIPPED / f"{name}.dcm") for name in FILES]
    entity = AE()
    for number, (name, ds) in enumerate(zip(FILES, sets, strict=True), 1):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, f"{STUDY}.{number}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{STUDY}.{number}.1")
        ds.PatientID, ds.PatientName, ds.StudyDescription = "ENC", "Sample^Encodings", "All encodings"
        ds.StudyDate, ds.StudyTime, ds.SeriesNumber, ds.SeriesDescription = "20240101", "1200", number, name
    for context in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in sets}:
        entity.add_requested_context(*context)
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    assert {association.send_c_store(ds).Status for ds in sets} == {0}
    association.release()


@contextmanager
def viewer(bridge: Any, pages: Path) -> Iterator[tuple[str, str]]:
    """`pacsbridge viewer` as a child process: the two addresses that it prints."""
    arguments = ["viewer", "--config", str(bridge.config), "--port", "0", "--package", str(pages)]
    process = subprocess.Popen([sys.executable, "-m", "pacsbridge", *arguments], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        told = b"".join(iter(process.stdout.readline, b"Ctrl-C ends it.\n")).decode()
        origin, link = re.findall(r"(?:studies|one study) +(http\S+)", told)
        yield origin, link
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


async def looked(chromium: str, folder: Path, origin: str, link: str) -> Seen:
    """The study that a link opens, then the list: within the page, as its program takes long to load."""
    async with browser(chromium, folder) as page:
        await page.open(link)
        await page.wait(f"{_PICTURES}.length >= {len(FILES)}", PATIENCE)
        drawn = await page.wait(_DRAWN, PATIENCE)
        pictures, screenshot = await page.evaluate(_SHOWN), await page.screenshot()
        await page.evaluate("history.pushState(null, '', '/'), dispatchEvent(new PopStateEvent('popstate'))")
        await page.wait("document.body.innerText.includes('1-1 of 1')", PATIENCE)
        return Seen(
            await _text(page),
            {text.split("\n")[1]: _image(url) for text, url in pictures},
            _image(drawn),
            screenshot,
            [url for url, _ in page.requests if not url.startswith(("data:", "blob:"))],
            list(page.errors),
            await page.evaluate("crossOriginIsolated"),
            origin,
        )


async def _text(page: Page) -> str:
    text: str = await page.evaluate("document.body.innerText")
    return text


def _image(url: str) -> Image.Image:
    """What a data URL holds."""
    return _image_of(base64.b64decode(url.partition(",")[2]))


def _image_of(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def decoded(name: str) -> Image.Image:
    """The middle frame of a file by pydicom, in its own window or from its darkest to its brightest value."""
    ds = pydicom.dcmread(SHIPPED / f"{name}.dcm")
    frames = pixel_array(ds)
    if ds.SamplesPerPixel == 1:
        frames = apply_windowing(apply_rescale(frames, ds), ds)
    frame = (frames[len(frames) // 2] if int(ds.get("NumberOfFrames", 1)) > 1 else frames).astype(float)
    grey = 255 * (frame - frame.min()) / (frame.max() - frame.min())
    return Image.fromarray(grey.astype("uint8")).convert("RGB")


def likeness(shown: Image.Image, expected: Image.Image) -> float:
    """How alike two pictures are, the first with what is expected fitted into its middle: 1 is the same."""
    scale = min(shown.width / expected.width, shown.height / expected.height)
    half = expected.width * scale / 2, expected.height * scale / 2
    middle = shown.width / 2, shown.height / 2
    box = (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
    size = (SIDE, SIDE)
    one = shown.resize(size, Image.Resampling.BOX, box=box)
    other = expected.resize(size, Image.Resampling.BOX)
    return float(np.corrcoef(np.asarray(one).ravel(), np.asarray(other).ravel())[0, 1])


def test_the_study_list_shows_the_study(seen: Seen) -> None:
    """With patient, modalities and description."""
    for text in ("Sample, Encodings", "All encodings", "01-Jan-2024", "CT\\MR\\OT\\US"):
        assert text in seen.listed


def test_a_link_opens_the_study_and_draws_it(seen: Seen) -> None:
    """The viewport has the CT's picture, and the page shows it."""
    assert likeness(seen.viewport, decoded("CT_small")) > 0.9
    assert len(np.unique(np.asarray(_image_of(seen.screenshot)))) > 50


@pytest.mark.parametrize("name", FILES)
def test_every_encoding_is_drawn(seen: Seen, name: str) -> None:
    """The picture of a series is what another decoder makes of it, and no other's (two are one MR)."""
    alike = {other: likeness(seen.pictures[name], decoded(other)) for other in FILES}
    assert alike[name] > 0.85, alike
    assert alike[name] > max(alike.values()) - 0.001


def test_nobody_else_is_asked(seen: Seen) -> None:
    """Every request goes to the viewer's own origin, and the page is isolated from others."""
    assert len(seen.requests) > 20
    assert not [url for url in seen.requests if not url.startswith(seen.origin)]
    assert seen.isolated


def test_nothing_is_complained_of(seen: Seen) -> None:
    """The console has no error: no refused request, no broken policy, no decoder that fails."""
    assert not seen.errors


def test_people_sign_in_at_the_issuer(
    make_lasting_bridge: Callable[..., Any],
    program: Callable[[str], str],
    pages: Path,
    issuer: Issuer,
    tmp_path: Path,
) -> None:
    """Where the bridge asks for tokens, a link leads to the issuer and back to the study, which is drawn."""
    chromium = program("chromium")
    bridge = make_lasting_bridge(
        f'[auth]\njwks_url = "{issuer.url}/jwks"\nissuer = "{issuer.url}"\naudience = "{AUDIENCE}"\n'
        'client_id = "viewer"\n'
    ).start()
    push(bridge.dimse_port)
    headers = issuer.bearer("user/ImagingStudy.rs")
    bridge.wait(lambda: requests.get(f"{bridge.dicomweb}/studies", headers=headers, timeout=10).content)
    with viewer(bridge, pages) as (origin, _link):
        page = asyncio.run(signed_in(chromium, tmp_path, f"{origin}viewer?StudyInstanceUIDs={STUDY}"))
    asked = [(url, fields) for url, fields in page.requests if url.startswith(f"{origin}dicomweb")]
    assert len(asked) > len(FILES)
    assert all(fields.get("Authorization", "").startswith("Bearer ") for _url, fields in asked)
    assert (issuer.asked["/authorize"], issuer.asked["/token"]) == (1, 1)
    known = (origin, issuer.url, "data:", "blob:")
    assert not [url for url, _fields in page.requests if not url.startswith(known)]
    assert not page.errors


async def signed_in(chromium: str, folder: Path, link: str) -> Page:
    """The page of a link, once it has drawn its study."""
    page: Page
    async with browser(chromium, folder) as page:
        await page.open(link)
        await page.wait(_DRAWN, PATIENCE)
    return page
