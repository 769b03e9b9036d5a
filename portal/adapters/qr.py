"""QR codes as SVG: black on white whatever the theme, with the quiet zone that scanners need."""

import io
from functools import lru_cache

import segno
from markupsafe import Markup

# ISO/IEC 18004 asks for four modules of white around the code.
QUIET_ZONE_MODULES = 4
MASK = 3
# Drawing takes about 4 ms; a code is asked for by the page and by its .svg file.
KEPT_MAX = 256


@lru_cache(maxsize=KEPT_MAX)
def qr_svg(text: str, *, title: str = "", standalone: bool = False) -> Markup:
    """Return the code of `text` as an `<svg>` that fills its box; `standalone` makes it a file of its own.

    Level L, because nothing is printed over it and a long payment link then has larger modules. Keys and
    numbers suit any mask, so the search for the best of eight, most of the work, is left out.
    """
    code = segno.make(text, error="l", mask=MASK, boost_error=False, micro=False)
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
