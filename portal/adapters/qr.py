"""QR codes as SVG: black on white whatever the theme, with the quiet zone that scanners need."""

import io
from functools import lru_cache

import segno
from markupsafe import Markup

# ISO/IEC 18004 asks for four modules of white around the code.
QUIET_ZONE_MODULES = 4
# Drawing takes about 15 ms; a code is asked for by the page and by its .svg file.
KEPT_MAX = 256


@lru_cache(maxsize=KEPT_MAX)
def qr_svg(text: str, *, title: str = "", standalone: bool = False) -> Markup:
    """Return the code of `text` as an `<svg>` that fills its box; `standalone` makes it a file of its own.

    Level M (15 % of the modules may be lost) reads well from a screen and keeps a long payment link small.
    """
    code = segno.make(text, error="m", boost_error=False, micro=False)
    written = io.BytesIO()
    code.save(
        written,
        kind="svg",
        border=QUIET_ZONE_MODULES,
        dark="#000",
        light="#fff",
        xmldecl=standalone,
        svgns=standalone,
        title=title or None,
        svgclass=None,
        lineclass=None,
        omitsize=True,
        nl=False,
    )
    # The drawing is made of numbers alone and segno escapes the title.
    return Markup(written.getvalue().decode())  # noqa: S704
