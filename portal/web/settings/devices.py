"""What a User-Agent header says to people: a browser and a system, or its first word."""

# Order matters: Edge and Chrome call themselves Safari too, and every browser Mozilla.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip
SHOWN_MAX = 40


def device_name(user_agent: str | None) -> str:
    """Return such as "Firefox on Linux"; unknown programs are named by what they call themselves."""
    text = user_agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in text), None)
    system = next((name for mark, name in _SYSTEMS if mark in text), None)
    if browser and system:
        return f"{browser} on {system}"
    return (text.split(" ")[0][:SHOWN_MAX]) or "Unknown device"
