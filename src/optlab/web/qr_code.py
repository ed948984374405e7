"""An address as a QR code, for the terminal and for the page."""

import io

import segno


def qr_text(url: str) -> str:
    """Return half-height blocks for a terminal."""
    file = io.StringIO()
    segno.make(url, micro=False).terminal(file, compact=True)
    return file.getvalue()


def qr_svg(url: str) -> bytes:
    """Return an SVG document, black on white with a quiet zone, of any size."""
    file = io.BytesIO()
    segno.make(url, micro=False).save(file, kind="svg", light="white", omitsize=True, xmldecl=False)
    return file.getvalue()
