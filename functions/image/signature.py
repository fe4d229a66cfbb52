"""What a file is, told by its first bytes and never by a name: what is read, and the name of what is not."""

import re
from typing import Final

HEAD_BYTES: Final = 8_192  # an SVG may begin with a licence and a list of entities

NAMES: Final = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "tiff": "TIFF",
    "avif": "AVIF",
    "bmp": "BMP",
    "heic": "HEIC",
    "svg": "SVG",
    "pdf": "PDF",
}
RAW: Final = "a camera's RAW file"
VIDEO: Final = "a video"

# (bytes, where, a key of NAMES or a name); the first that fits, so what begins like a TIFF stands before it
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", 0, "jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "png"),
    (b"GIF87a", 0, "gif"),
    (b"GIF89a", 0, "gif"),
    (b"WEBP", 8, "webp"),
    (b"AVI ", 8, f"{VIDEO}, AVI"),
    (b"WAVE", 8, "a sound, WAV"),
    (b"CR\x02", 8, f"{RAW}, Canon CR2"),
    (b"HEAPCCDR", 6, f"{RAW}, Canon CRW"),
    (b"FUJIFILMCCD-RAW", 0, f"{RAW}, Fujifilm RAF"),
    (b"IIRO", 0, f"{RAW}, Olympus ORF"),
    (b"IIRS", 0, f"{RAW}, Olympus ORF"),
    (b"MMOR", 0, f"{RAW}, Olympus ORF"),
    (b"IIU\0", 0, f"{RAW}, Panasonic RW2"),
    (b"FOVb", 0, f"{RAW}, Sigma X3F"),
    (b"\0MRM", 0, f"{RAW}, Minolta MRW"),
    *((each, 0, "tiff") for each in (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")),
    (b"BM", 0, "bmp"),
    (b"8BPS", 0, "Photoshop PSD"),
    (b"%!PS", 0, "PostScript"),
    (b"\xc5\xd0\xd3\xc6", 0, "PostScript (EPS)"),
    (b"\0\0\0\x0cjP  ", 0, "JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", 0, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"),
    (b"\0\0\x01\0", 0, "a Windows icon"),
    (b"\x76\x2f\x31\x01", 0, "OpenEXR"),
    (b"\x1a\x45\xdf\xa3", 0, f"{VIDEO}, Matroska or WebM"),
    (b"\x30\x26\xb2\x75", 0, f"{VIDEO}, Windows Media"),
    (b"FLV\x01", 0, f"{VIDEO}, Flash"),
    (b"\0\0\x01\xba", 0, f"{VIDEO}, MPEG"),
    (b"\0\0\x01\xb3", 0, f"{VIDEO}, MPEG"),
    (b"moov", 4, f"{VIDEO}, QuickTime"),
    (b"mdat", 4, f"{VIDEO}, QuickTime"),
    (b"OggS", 0, "Ogg"),
    (b"ID3", 0, "a sound, MP3"),
    (b"PK\x03\x04", 0, "a ZIP archive, as of an office document"),
    (b"\x1f\x8b", 0, "gzip, as of a packed SVG"),
)
# ISO/IEC 23008-12, annex B; the AV1 Image File Format, section 8
_HEIC_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_SVG: Final = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?svg[\s>/]")
_HTML: Final = re.compile(rb"<!doctype html|<html|<head|<body", re.IGNORECASE)


def told(head: bytes) -> str | None:
    """A key of NAMES, or the name of what is not read; None for what nobody here knows."""
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    for signature, at, name in _SIGNATURES:
        if head[at : at + len(signature)] == signature:
            return name
    if b"%PDF-" in head[:1_024]:  # ISO 32000-2, annex I: readers take what comes before it
        return "pdf"
    return _of_text(head)


def _of_brands(head: bytes) -> str:
    """HEIC, AVIF, Canon's RAW and videos are all ISO base media files; the brands tell, of which the first leads."""
    brands = head[8 : int.from_bytes(head[:4])]
    each = [brands[at : at + 4] for at in range(0, len(brands), 4) if at != 4]  # the second is a version
    for brand in each:
        if brand in _HEIC_BRANDS:
            return "heic"
        if brand in _AVIF_BRANDS:
            return "avif"
    if each[:1] == [b"crx "]:
        return f"{RAW}, Canon CR3"
    if each[:1] in ([b"mif1"], [b"msf1"]):
        return "HEIF of neither HEVC nor AV1"
    return f"{VIDEO}, {'QuickTime' if each[:1] == [b'qt  '] else 'MP4'}"


def _of_text(head: bytes) -> str | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head[2:].replace(b"\0", b"")  # UTF-16: what marks an SVG is ASCII
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(b"<"):
        return None
    if _HTML.search(head):
        return "an HTML page"
    return "svg" if _SVG.search(head) else "XML without an svg element at its start"
