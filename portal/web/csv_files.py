"""Lines of a CSV file that no spreadsheet takes for a program."""

import csv
import io
from collections.abc import Sequence

# Spreadsheets run a cell that begins with one of these as a formula; an apostrophe makes it text.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(text: str | None) -> str:
    """Return other people's text such that no spreadsheet takes it for a formula."""
    plain = text or ""
    return f"'{plain}" if plain.lstrip(" ").startswith(_FORMULA_STARTS) else plain


def line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()
