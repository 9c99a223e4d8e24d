"""Opens the operators' pages in a browser of this machine, without showing their address to other users.

Used by ``fairlane dashboard`` and ``fairlane demo``.
"""

import html
import os
import sys
import webbrowser
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir

PREFIX = "fairlane-dashboard-"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<title>fairlane</title><meta http-equiv="refresh" content="0; url={address}">
<p><a href="{address}">Open the dashboard</a></p></html>
"""


def open_in_browser(address: str) -> bool:
    """Open an address in the browser of this machine; return whether one could be started."""
    if sys.platform.startswith("linux") and not os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}:
        return False  # a browser for terminals cannot show the pages
    for earlier in Path(gettempdir()).glob(f"{PREFIX}*.html"):
        if earlier.lstat().st_uid == os.getuid():
            earlier.unlink(missing_ok=True)
    # Other users of the machine can read the arguments of a process, but not this file.
    with NamedTemporaryFile("w", prefix=PREFIX, suffix=".html", delete=False) as file:
        file.write(PAGE.format(address=html.escape(address)))
    try:
        opened = webbrowser.open(Path(file.name).as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        Path(file.name).unlink()
    return opened
