"""A Chromium for the tests: the one that is installed, or else Debian's packages, unpacked."""

import os
from pathlib import Path
from xml.sax.saxutils import escape

from tests import debian

#: No GPU, and nothing that asks the network by itself.
ARGUMENTS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
#: Those that came with it and no others: text then looks the same everywhere.
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{root}/usr/share/fonts</dir>
  <cachedir>{root}/var/cache/fontconfig</cachedir>
  <alias><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def find(*, installed: bool = True) -> tuple[Path, dict[str, str]]:
    """The browser and the environment that it needs; ``installed=False`` takes the unpacked one."""
    command = debian.find("chromium", "google-chrome") if installed else None
    if command is not None:
        return command, dict(os.environ)
    root = debian.unpacked("chromium", whole=("chromium", "fonts-", "fontconfig-config"))
    fonts = root / "fonts.conf"
    text = FONTS.format(root=escape(str(root)))
    if not fonts.exists() or fonts.read_text() != text:  # the cache may have been moved
        fonts.write_text(text)
    environment = debian.environment(root) | {"FONTCONFIG_FILE": str(fonts)}
    return root / "usr/lib/chromium/chromium", os.environ | environment
