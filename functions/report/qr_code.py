"""QR codes (ISO/IEC 18004) as vector graphics: one path, which stays sharp at any size."""

import segno
from markupsafe import Markup, escape


def qr_code(text: str, *, told: str, most_version: int, cross: bool = False) -> Markup:
    """The code without its quiet zone; `told` is for who cannot see it, `cross` puts the Swiss cross in the middle.

    ValueError where the text needs a larger code than `most_version`.
    """
    try:
        code = segno.make_qr(text, error="m", boost_error=False, encoding="utf-8")
    except segno.DataOverflowError as error:
        raise ValueError("the code holds too much") from error
    if int(code.version) > most_version:
        raise ValueError(
            f"the code must be of version {most_version} at most, and {len(text.encode())} bytes need more"
        )
    rows = [bytes(row) for row in code.matrix]
    size = len(rows)
    path = "".join(_row(place, row) for place, row in enumerate(rows))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" class="code">'
    body = f'<path d="{path}" fill="#000"/>{_cross(size) if cross else ""}'
    return Markup(f"{head}<title>{escape(told)}</title>{body}</svg>")  # noqa: S704  # numbers, and an escaped text


def _row(place: int, row: bytes) -> str:
    """Each run of dark modules as one bar."""
    bars, start = [], 0
    while start < len(row):
        end = start
        while end < len(row) and row[end] == row[start]:
            end += 1
        if row[start]:
            bars.append(f"M{start} {place}h{end - start}v1H{start}z")
        start = end
    return "".join(bars)


def _cross(size: int) -> str:
    """7 of 46 mm (SIX, Implementation Guidelines QR-bill 6.4.2): white rim, black square, white cross."""
    side = size * 7 / 46
    middle, rim = size / 2, side / 14
    inner = side - 2 * rim
    arm, thick = inner * 0.62, inner * 0.19

    def square(wide: float, high: float, fill: str) -> str:
        x, y = middle - wide / 2, middle - high / 2
        return f'<rect x="{x:.3f}" y="{y:.3f}" width="{wide:.3f}" height="{high:.3f}" fill="{fill}"/>'

    black = square(inner, inner, "#000")
    return square(side, side, "#fff") + black + square(arm, thick, "#fff") + square(thick, arm, "#fff")
