"""Where frames stand: pydicom's files with pydicom as the oracle, and encapsulation broken in every way."""

import io
import struct
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels import get_decoder

from pacsbridge.blobs.blob import Blob
from pacsbridge.dicom import frames as module
from pacsbridge.dicom.frames import Encapsulated, Native, Piece, Pixels, Words, read_pixels, read_value
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from pacsbridge.dicomweb.pieces import Message, Part, Reader, batches
from pacsbridge.errors import Absent, Refused, TooLarge

JPEG, RLE, J2K, MPEG = (f"1.2.840.10008.1.2.{end}" for end in ("4.50", "5", "4.90", "4.100"))
ITEM = b"\xfe\xff\x00\xe0"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"
SOI = b"\xff\xd8\xff\xe0"


def element(tag: int, vr: str, value: bytes, order: str = "<", length: int | None = None) -> bytes:
    """One element in explicit VR; `length` overrides what its head says."""
    size = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    long = vr in ("OB", "OW", "OV", "OF", "OD", "SQ", "UN")
    return (
        head + (b"\0\0" + struct.pack(order + "L", size) if long else struct.pack(order + "H", size)) + value
    )


def image(
    pixels: bytes,
    frames: int = 1,
    syntax: str = EXPLICIT_LITTLE,
    shape: tuple[int, int] = (1, 2),
    bits: int = 8,
    before: bytes = b"",
) -> bytes:
    """A Part 10 file of an image whose pixel element, head and all, is `pixels`."""
    order = ">" if syntax == EXPLICIT_BIG else "<"

    def short(tag: int, number: int) -> bytes:
        return element(tag, "US", struct.pack(order + "H", number), order)

    count = str(frames).encode()
    return part10_head("1.2", "1.2.3", syntax) + b"".join(
        (
            element(0x00080018, "UI", b"1.2.3\0", order),
            short(0x00280002, 1),
            element(0x00280008, "IS", count + b" " * (len(count) % 2), order),
            short(0x00280010, shape[0]),
            short(0x00280011, shape[1]),
            short(0x00280100, bits),
            before,
            pixels,
        )
    )


def capsule(*fragments: bytes, table: bytes = b"", end: bytes = END) -> bytes:
    """Encapsulated pixel data."""
    items = b"".join(ITEM + struct.pack("<L", len(one)) + one for one in (table, *fragments))
    return element(0x7FE00010, "OB", items + end, length=0xFFFFFFFF)


def offsets(*numbers: int, code: str = "L") -> bytes:
    """A table of offsets."""
    return struct.pack(f"<{len(numbers)}{code}", *numbers)


def fragments(raw: bytes) -> list[bytes] | None:
    """Each frame of an encapsulated file as its bytes; None where the frames cannot be told apart."""
    found = read_pixels(io.BytesIO(raw)).frames
    assert isinstance(found, Encapsulated)
    try:
        return [
            b"".join(raw[piece.start : piece.start + piece.length] for piece in found.frame(number))
            for number in range(1, found.count + 1)
        ]
    except Absent:
        return None


def content(path: Path, pixels: Pixels, number: int) -> bytes:
    """A frame of a file as it would be sent."""
    part = Part(b"", pixels.frames.frame(number))
    words = pixels.frames.words if isinstance(pixels.frames, Native) else Words()
    message = Message(lambda: (part,), b"", "", words, part.size)
    reader = Reader(Blob(path, 0, path.stat().st_size, b"", 0, 0), pixels.deflated_from)
    return b"".join(batches(message, reader, 0, part.size))


def frames_of(path: Path) -> list[bytes]:
    """Every frame of a file as it would be sent."""
    with path.open("rb") as file:
        pixels = read_pixels(file)
    return [content(path, pixels, number) for number in range(1, pixels.frames.count + 1)]


def expected(dataset: pydicom.Dataset) -> list[bytes]:
    """What pydicom has for the frames, native ones in little endian and packed by frame."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return list(
            generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
        )
    if dataset.get("PlanarConfiguration") or dataset.PhotometricInterpretation == "YBR_FULL_422":
        return [dataset.PixelData]  # pydicom would put these in another order, or make them larger
    arrays = (array for array, _ in get_decoder(syntax).iter_array(dataset, raw=True))
    if dataset.BitsAllocated == 1:
        return [np.packbits(array.ravel(), bitorder="little").tobytes() for array in arrays]
    return [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays]


def images(paths: Iterable[Path]) -> Iterator[tuple[Path, pydicom.Dataset]]:
    """The files that have pixel data which pydicom can tell the measures of."""
    for path in paths:
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            if "PixelData" in dataset and "Rows" in dataset and dataset.get("NumberOfFrames", 1) != "1A":
                yield path, dataset


def test_frames_are_those_of_pydicom(pydicom_files: list[Path]) -> None:
    """Of every file and transfer syntax that pydicom brings, native or not, each frame is the same bytes."""
    seen = set()
    for path, dataset in images(pydicom_files):
        if path.name == "MR_truncated.dcm":
            continue
        assert frames_of(path) == expected(dataset), path.name
        seen.add(str(dataset.file_meta.TransferSyntaxUID))
    assert len(seen) >= 12


def test_big_endian_is_the_little_endian_twin(pydicom_files: list[Path]) -> None:
    """Samples of 8, 16 and 32 bits in big endian come out as in the little endian file of the same image."""
    by_name = {path.name: path for path in pydicom_files}
    twins = {
        "MR_small_bigendian.dcm": "MR_small.dcm",
        "rtdose_expb.dcm": "rtdose.dcm",
        "SC_rgb_small_odd_big_endian.dcm": "SC_rgb_small_odd.dcm",
    }
    for big, little in twins.items():
        assert frames_of(by_name[big]) == frames_of(by_name[little]), big


def test_a_truncated_file_lacks_its_last_frame(pydicom_files: list[Path], tmp_path: Path) -> None:
    """Frames that the file has in full are there, the one it breaks off in is Absent, nothing is made up."""
    source = next(path for path in pydicom_files if path.name == "rtdose.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(source[:-500])
    pixels = read_pixels(io.BytesIO(path.read_bytes()))
    whole = read_pixels(io.BytesIO(source))
    assert pixels.frames.frame(13) == whole.frames.frame(13)
    for number in (14, 15, 16, 0):
        with pytest.raises(Absent):
            pixels.frames.frame(number)
    assert isinstance(pixels.frames, Native)
    with pytest.raises(Absent):
        pixels.frames.whole()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.data())
def test_packed_bits_are_numpys(rows: int, columns: int, count: int, data: st.DataObject) -> None:
    """Frames of one bit a pixel that do not begin with a byte are shifted until they do (PS3.5 8.1.1)."""
    size = rows * columns * count
    bits = np.array(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), dtype=np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    raw = image(
        element(0x7FE00010, "OB", packed + b"\0" * (len(packed) % 2)),
        count,
        EXPLICIT_LITTLE,
        (rows, columns),
        1,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bits.dcm")
        path.write_bytes(raw)
        found = frames_of(path)
    wanted = [np.packbits(one, bitorder="little").tobytes() for one in bits.reshape(count, -1)]
    assert found == wanted


@pytest.mark.parametrize(("tag", "vr", "code"), [(0x7FE00008, "OF", "f4"), (0x7FE00009, "OD", "f8")])
@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_float_pixel_data(tmp_path: Path, tag: int, vr: str, code: str, syntax: str) -> None:
    """Float and Double Float Pixel Data are frames of their own sample size, little endian when sent."""
    order = ">" if syntax == EXPLICIT_BIG else "<"
    numbers = np.arange(12) / 7
    path = tmp_path / "float.dcm"
    path.write_bytes(
        image(element(tag, vr, numbers.astype(order + code).tobytes(), order), 2, syntax, (2, 3))
    )
    assert frames_of(path) == [half.astype("<" + code).tobytes() for half in (numbers[:6], numbers[6:])]


@given(st.binary(max_size=100), st.integers(1, 8), st.integers(0, 99), st.integers(0, 99))
def test_words_turn_wherever_a_range_is_cut(raw: bytes, unit: int, first: int, second: int) -> None:
    """A range of a big endian value is the same range of the whole value turned round."""
    start, stop = sorted((min(first, len(raw)), min(second, len(raw))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words")
        path.write_bytes(b"head" + raw)
        reader = Reader(Blob(path, 0, 4 + len(raw), b"", 0, 0), None)
        piece = Piece(4, len(raw))
        message = Message(lambda: (Part(b"", (piece,)),), b"", "", Words(unit, 4, 4 + len(raw)), len(raw))
        found = b"".join(batches(message, reader, start, stop))
    words = [raw[at : at + unit] for at in range(0, len(raw), unit)]
    wanted = b"".join(word[::-1] if len(word) == unit else word for word in words)
    assert found == wanted[start:stop]


STREAMS = [SOI + bytes([number]) * (2 * number + 2) for number in range(5)]


def test_tables_of_pydicom_are_understood() -> None:
    """Basic and extended offset tables as pydicom writes them, some with several fragments a frame."""
    for per_frame in (1, 2, 3):
        value = encapsulate(STREAMS, fragments_per_frame=per_frame, has_bot=True)
        raw = image(element(0x7FE00010, "OB", value + END, length=0xFFFFFFFF), 5, JPEG)
        assert fragments(raw) == list(generate_frames(value, number_of_frames=5))
    odd = [stream + b"\1" for stream in STREAMS]
    value, table, lengths = encapsulate_extended(odd)
    exact = offsets(*map(len, odd), code="Q")  # without the padding, which only this table tells apart
    for sizes, wanted in (
        (lengths, list(generate_frames(value, number_of_frames=5, extended_offsets=(table, lengths)))),
        (exact, odd),
    ):
        before = element(0x7FE00001, "OV", table) + element(0x7FE00002, "OV", sizes)
        raw = image(element(0x7FE00010, "OB", value + END, length=0xFFFFFFFF), 5, JPEG, before=before)
        assert fragments(raw) == wanted


def test_without_a_table_codec_streams_are_scanned_for() -> None:
    """Fragments that begin as JPEG, JPEG-LS or JPEG 2000 streams do begin a frame; others continue it."""
    for start, syntax in ((SOI, JPEG), (b"\xff\xd8\xff\xf7", JPEG), (b"\xff\x4f\xff\x51", J2K)):
        raw = image(capsule(start + b"ab", b"cdef", start, start + b"gh", b"ijkl"), 3, syntax)
        assert fragments(raw) == [start + b"abcdef", start, start + b"ghijkl"]
    assert fragments(image(capsule(b"rle1", b"rle2"), 2, RLE)) == [b"rle1", b"rle2"]
    assert fragments(image(capsule(b"rle1", b"rle2", b"rle3"), 2, RLE)) is None
    assert fragments(image(capsule(b"more", SOI, SOI), 2, JPEG)) is None


def test_a_single_frame_and_a_video_are_all_fragments() -> None:
    """One frame is all fragments whatever the table says; a video is one stream whatever its frames."""
    assert fragments(image(capsule(b"ab", b"cd", table=offsets(0, 99)), 1, JPEG)) == [b"abcd"]
    found = read_pixels(io.BytesIO(image(capsule(b"ab", b"cd"), 300, MPEG))).frames
    assert isinstance(found, Encapsulated) and found.video
    assert len(found.frame(1)) == 2


BROKEN = {
    "beyond the end": offsets(0, 10, 1 << 31),
    "overlapping": offsets(0, 12, 12),
    "descending": offsets(0, 24, 12),
    "between fragments": offsets(0, 5, 7),
    "not from the start": offsets(12, 24, 24),
    "too few": offsets(0, 12),
    "too many": offsets(0, 12, 24, 36),
    "cut": offsets(0, 12, 24)[:-1],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_table_that_lies_is_passed_over(name: str) -> None:
    """Offsets that do not fit the fragments are not followed: the fragments decide, or nobody can."""
    table = BROKEN[name]
    assert fragments(image(capsule(SOI, SOI, SOI, table=table), 3, JPEG)) == [SOI, SOI, SOI]
    if len(table) % 2 == 0:
        assert fragments(image(capsule(b"abcd", b"efgh", b"ijkl", b"mnop", table=table), 3, RLE)) is None
    wide = struct.pack(
        f"<{len(table) // 4}Q", *struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4])
    )
    before = element(0x7FE00001, "OV", wide) + element(0x7FE00002, "OV", offsets(4, 4, 4, code="Q"))
    assert fragments(image(capsule(SOI, SOI, SOI), 3, JPEG, before=before)) == [SOI, SOI, SOI]


def test_lengths_that_lie_are_passed_over() -> None:
    """Extended lengths longer than their fragments, or far shorter, do not change what a frame is."""
    for lengths in ((4, 400, 4), (1 << 63, 4, 4), (0, 0, 0), (4, 4)):
        before = element(0x7FE00001, "OV", offsets(0, 12, 24, code="Q"))
        before += element(0x7FE00002, "OV", offsets(*lengths, code="Q"))
        assert fragments(image(capsule(SOI, SOI, SOI), 3, JPEG, before=before)) == [SOI, SOI, SOI], lengths


def test_breaking_off_keeps_what_is_complete() -> None:
    """Without a delimiter, or with another element there, complete fragments count; a cut one does not."""
    assert fragments(image(capsule(b"ab", b"cd", end=b""), 2, RLE)) == [b"ab", b"cd"]
    padding = element(0xFFFCFFFC, "OB", b"\0\0")
    assert fragments(image(capsule(b"ab", b"cd", end=padding), 2, RLE)) == [b"ab", b"cd"]
    for size in (3, 1000, 0xFFFFFFFE, 0xFFFFFFFF):
        lying = capsule(b"ab", end=ITEM + struct.pack("<L", size) + b"cd")
        assert fragments(image(lying, 2, RLE)) is None
    assert fragments(image(capsule(), 1, JPEG)) is None
    assert fragments(image(capsule(end=b"")[:-8], 1, JPEG)) is None


def test_every_cut_of_a_file_ends(pydicom_files: list[Path]) -> None:
    """A file cut anywhere is understood, or Absent or refused; nothing else is raised and nothing hangs."""
    whole = next(path for path in pydicom_files if path.name == "SC_rgb_rle_2frame.dcm").read_bytes()
    complete = fragments(whole)
    assert complete is not None
    answers = set()
    for size in range(len(whole)):
        try:
            found = fragments(whole[:size])
        except (Absent, Refused):
            found = None
        assert found in (None, complete), size
        answers.add(found is None)
    assert answers == {True, False}  # the delimiter may be missing


def crowd(count: int, frames: int) -> bytes:
    """Very many fragments, as one frame or as many."""
    table = b"" if frames == 1 else offsets(*range(0, 10 * count, 10))
    return image(capsule(*[b"ab"] * count, table=table), frames, JPEG)


def test_a_hundred_thousand_fragments_take_seconds() -> None:
    """As one frame or as many, they are found in the time of some reads each."""
    count = 100_000
    many, one = crowd(count, count), crowd(count, 1)
    start = time.monotonic()
    frames, pieces = read_pixels(io.BytesIO(many)).frames, read_pixels(io.BytesIO(one)).frames.frame(1)
    assert time.monotonic() - start < 20
    assert len(pieces) == count and pieces[-1] == pieces[count - 1] and len(pieces[2:5]) == 3
    (last,) = frames.frame(count)
    assert many[last.start : last.start + last.length] == b"ab"


def test_many_fragments_take_some_bytes_each() -> None:
    """The index, and the making of it, stay far below what Python's integers and tuples would take."""
    count = 20_000
    file = io.BytesIO(crowd(count, count))
    tracemalloc.start()
    kept = read_pixels(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.frames.count == count and peak < 60 * count


def test_too_many_fragments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit, so that a file cannot keep a thread for long."""
    monkeypatch.setattr(module, "LIMITS", module.LIMITS._replace(items=10))
    assert fragments(image(capsule(*[b"ab"] * 9), 9, RLE)) == [b"ab"] * 9
    with pytest.raises(TooLarge):
        read_pixels(io.BytesIO(image(capsule(*[b"ab"] * 10), 10, RLE)))


def test_the_syntax_and_the_pixels_must_agree() -> None:
    """Fragments under a native transfer syntax, or none under a compressed one, are not guessed at."""
    with pytest.raises(Absent, match="transfer syntax"):
        read_pixels(io.BytesIO(image(capsule(SOI), 1, EXPLICIT_LITTLE)))
    with pytest.raises(Absent, match="transfer syntax"):
        read_pixels(io.BytesIO(image(element(0x7FE00010, "OB", b"ab"), 1, JPEG)))
    with pytest.raises(Absent, match="no pixel data"):
        read_pixels(io.BytesIO(image(b"")))


def test_encapsulated_uncompressed_frames_lose_their_padding() -> None:
    """Native frames of odd length in fragments (PS3.5 A.4.11) end where the pixels end."""
    raw = image(capsule(b"abc\0", b"def\0"), 2, "1.2.840.10008.1.2.1.98", (1, 3))
    assert fragments(raw) == [b"abc", b"def"]


@pytest.mark.parametrize("open_ended", [False, True])
@pytest.mark.parametrize(("explicit", "big"), [(True, False), (False, False), (True, True)])
def test_values_in_sequences(
    encoder: Callable[..., Any], explicit: bool, big: bool, open_ended: bool
) -> None:
    """A path leads through items, of defined length or not, past others that look alike."""
    write = encoder(explicit=explicit, big=big)
    inner = [write.element(0x00091010, "OB", bytes([number]) * 4) for number in range(1, 4)]
    deep = write.sequence(0x00400275, inner, open_ended=open_ended)
    outer = write.sequence(
        0x00089215, [write.element(0x00080060, "CS", "CT"), deep, deep], open_ended=open_ended
    )
    body = write.element(0x00080018, "UI", "1.2.3") + outer + write.element(0x00091010, "OB", b"root")
    raw = (
        part10_head(
            "1.2",
            "1.2.3",
            {(True, False): EXPLICIT_LITTLE, (False, False): IMPLICIT_LITTLE}.get(
                (explicit, big), EXPLICIT_BIG
            ),
        )
        + body
    )

    def value(*path: int) -> bytes:
        (piece,) = read_value(io.BytesIO(raw), path).pieces
        return raw[piece.start : piece.start + piece.length]

    assert value(0x00091010) == b"root"
    assert value(0x00089215, 2, 0x00400275, 3, 0x00091010) == b"\3\3\3\3"
    assert value(0x00089215, 3, 0x00400275, 1, 0x00091010) == b"\1\1\1\1"
    for path in ((0x00089215, 1, 0x00400275, 1, 0x00091010), (0x00089215, 4, 0x00080060), (0x00091011,)):
        with pytest.raises(Absent):
            value(*path)
    if explicit:
        with pytest.raises(Absent):
            value(0x00089215)


def test_a_value_in_fragments_and_one_cut_short() -> None:
    """An icon's pixel data are its fragments without the table; a value longer than the file is Absent."""
    icon = element(
        0x00880200,
        "SQ",
        ITEM + b"\xff" * 4 + capsule(b"ab", b"cd") + b"\xfe\xff\x0d\xe0\0\0\0\0" + END,
        length=0xFFFFFFFF,
    )
    raw = image(capsule(SOI), 1, JPEG, before=icon)
    found = read_value(io.BytesIO(raw), (0x00880200, 1, 0x7FE00010))
    assert found.encapsulated and [raw[p.start : p.start + p.length] for p in found.pieces] == [b"ab", b"cd"]
    assert fragments(raw) == [SOI]
    with pytest.raises(Absent, match="cut short"):
        read_value(io.BytesIO(image(element(0x00091010, "OB", b"ab", length=400))), (0x00091010,))
    with pytest.raises(Absent, match="undefined length"):
        read_value(
            io.BytesIO(image(element(0x00091010, "OB", b"abcdefgh" + END, length=0xFFFFFFFF))), (0x00091010,)
        )


def test_sequences_nested_too_deep_are_refused() -> None:
    """A walk through items of undefined length does not go deeper than the limit."""
    opening = element(0x00089215, "SQ", ITEM + b"\xff" * 4, length=0xFFFFFFFF)
    for depth, refused in ((60, False), (2000, True)):
        with pytest.raises(TooLarge if refused else Absent):
            read_pixels(io.BytesIO(image(b"", before=opening * depth)))
