"""Makes a stranger's PDF pages that only show: what is kept of them is listed, and all else is left behind.

Kept are boxes, contents, resources, and links to web and mail addresses. What annotations and form fields show becomes
part of the page. Actions, scripts, media, embedded and external files, transitions, tags and bookmarks have no place in
the list (ISO 32000-2 12.6.4 has a score of actions, and each of them may name a next one).
"""

from collections.abc import Iterator
from typing import Any, Final

import pikepdf

BOXES: Final = frozenset(["/MediaBox", "/CropBox", "/BleedBox", "/TrimBox", "/ArtBox"])
PAGE: Final = BOXES | frozenset(["/Type", "/Parent", "/Resources", "/Contents", "/Rotate", "/Group", "/UserUnit"])
STREAM: Final = frozenset(["/Length", "/Filter", "/DecodeParms"])
MASKS: Final = frozenset(["/ImageMask", "/Mask", "/SMask", "/SMaskInData", "/Matte"])
SAMPLES: Final = frozenset(["/ColorSpace", "/BitsPerComponent", "/Decode", "/Interpolate", "/Intent"])
IMAGE: Final = STREAM | MASKS | SAMPLES | frozenset(["/Type", "/Subtype", "/Width", "/Height"])
FORM: Final = STREAM | frozenset(["/Type", "/Subtype", "/FormType", "/BBox", "/Matrix", "/Resources", "/Group"])
EXTERNAL: Final = ("/F", "/FFilter", "/FDecodeParms", "/Metadata", "/PieceInfo", "/AF")  # of any other stream
SCHEMES: Final = ("http://", "https://", "mailto:")
# What no finished document of ours holds: a last look, should the list above ever let something through.
ACTIVE_KEYS: Final = frozenset(["/AA", "/JS", "/PA", "/PresSteps", "/RichMediaContent", "/OPI", "/Ref"])
PASSIVE_ACTIONS: Final = frozenset(["/GoTo", "/URI"])
DEPTH_LIMIT: Final = 100_000  # objects of one page


def disarm(pdf: pikepdf.Pdf) -> None:
    """Leave of each page what the list allows; raises ValueError for a page that is none."""
    if "/AcroForm" in pdf.Root:
        pdf.generate_appearance_streams()
    pdf.flatten_annotations("screen")
    for page in pdf.pages:
        links = pikepdf.Array(list(_links(page.obj.get("/Annots"))))
        _keep(page.obj, PAGE)
        if len(links):
            page.obj.Annots = links
        _disarm_drawing(page.obj)


def active(pdf: pikepdf.Pdf) -> str | None:
    """What a document would do by itself, named; None for one that only shows."""
    for each in pdf.objects:
        found = _active(each)
        if found:
            return found
    return None


def _active(value: Any) -> str | None:
    """Of an object and what stands directly within it: other objects are looked at as themselves."""
    if isinstance(value, pikepdf.Array):
        return next((found for each in value if not _is_indirect(each) and (found := _active(each))), None)
    if not isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
        return None
    keys = set(value.keys())
    if keys & ACTIVE_KEYS:
        return min(keys & ACTIVE_KEYS)
    if str(value.get("/Type", "")) == "/Action" and str(value.get("/S", "")) not in PASSIVE_ACTIONS:
        return str(value.get("/S"))
    inner = (value[key] for key in keys if key != "/Parent")
    return next((found for each in inner if not _is_indirect(each) and (found := _active(each))), None)


def _is_indirect(value: Any) -> bool:
    return isinstance(value, pikepdf.Object) and value.is_indirect


def _links(annotations: Any) -> Iterator[pikepdf.Dictionary]:
    for each in annotations if isinstance(annotations, pikepdf.Array) else ():
        address = _address(each)
        if address is not None and _is_rectangle(each.get("/Rect")):
            action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String(address))
            yield pikepdf.Dictionary(
                Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link, Rect=each.Rect, Border=[0, 0, 0], A=action
            )


def _address(annotation: Any) -> str | None:
    """Where an annotation leads, when that is a web or mail address."""
    if not isinstance(annotation, pikepdf.Dictionary) or annotation.get("/Subtype") != pikepdf.Name.Link:
        return None
    action = annotation.get("/A")
    if not isinstance(action, pikepdf.Dictionary) or action.get("/S") != pikepdf.Name.URI:
        return None
    address = action.get("/URI")
    text = str(address) if isinstance(address, pikepdf.String) else ""
    return text if text.lower().startswith(SCHEMES) else None


def _is_rectangle(value: Any) -> bool:
    return isinstance(value, pikepdf.Array) and len(value) == 4


def _disarm_drawing(page: pikepdf.Object) -> None:
    """Pictures and forms by their lists; of every other stream of the page, what is in another file."""
    seen: set[tuple[int, int]] = set()
    waiting: list[Any] = [page.get("/Resources"), page.get("/Contents"), page.get("/Group")]
    for _ in range(DEPTH_LIMIT):
        if not waiting:
            return
        value = waiting.pop()
        if not isinstance(value, pikepdf.Object) or (value.is_indirect and value.objgen in seen):
            continue
        if value.is_indirect:
            seen.add(value.objgen)
        if isinstance(value, pikepdf.Stream):
            _disarm_stream(value)
        waiting.extend(_inner(value))
    raise ValueError(f"a page must have at most {DEPTH_LIMIT} objects")


def _inner(value: pikepdf.Object) -> list[Any]:
    if isinstance(value, pikepdf.Array):
        return list(value)
    if isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
        return [value[key] for key in value.keys() if key != "/Parent"]  # noqa: SIM118  # it iterates over no keys
    return []


def _disarm_stream(stream: pikepdf.Object) -> None:
    kind = str(stream.get("/Subtype", ""))
    if kind == "/Image":
        _keep(stream, IMAGE)
    elif kind == "/Form":
        _keep(stream, FORM)
    else:
        for key in EXTERNAL:
            if key in stream:
                del stream[key]


def _keep(value: pikepdf.Object, allowed: frozenset[str]) -> None:
    for key in set(value.keys()) - allowed:
        del value[key]
