"""Turn the top of the page into a small PNG, with the system's Chromium.

The same page and browser give the same bytes.
"""

from __future__ import annotations

import io
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from study.errors import SpecError

SIZE = (1280, 900)  # in CSS pixels, which are also the pixels of the picture
COLOURS = 128  # of the palette: text and lines need no more, and the file has a third of the size
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_ARGUMENTS = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)


def chromium() -> str | None:
    """The path of a Chromium or Chrome: $CHROMIUM, else the first on PATH, or None where there is none."""
    return os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, NAMES) if path), None)


def browser(file: Path) -> str:
    """The path of the browser that can take a picture into `file`. Raises SpecError with the part that is missing."""
    if find_spec("playwright") is None:
        raise SpecError("--screenshot: playwright is not there; `pip install playwright` would do")
    path = chromium()
    if path is None or shutil.which(path) is None:
        found = f"$CHROMIUM is '{path}'" if path else f"none of {', '.join(NAMES)} is on PATH"
        raise SpecError(f"--screenshot: no Chromium ({found}); `apt-get install chromium` or CHROMIUM=<path> would do")
    if file.suffix != ".png" or not file.parent.is_dir():
        raise SpecError(f"--screenshot: expected a .png file in a folder that exists, got '{file}'")
    return path


def take_screenshot(page: Path, file: Path) -> Path:
    """Write the top of an HTML page in light colours to `file`, as a PNG of `SIZE` with a palette. Returns `file`.

    Raises SpecError for a missing playwright or browser, for a browser that does not start, and for a file that cannot
    be written.
    """
    path = browser(file)
    from PIL import Image
    from playwright.sync_api import Error, sync_playwright

    try:
        with sync_playwright() as playwright:
            launched = playwright.chromium.launch(executable_path=path, args=[*BROWSER_ARGUMENTS])
            context = launched.new_context(
                viewport={"width": SIZE[0], "height": SIZE[1]},
                color_scheme="light",
                reduced_motion="reduce",
                offline=True,
            )
            shown = context.new_page()
            shown.goto(page.resolve().as_uri())
            raw = shown.screenshot(animations="disabled")
            launched.close()
    except Error as error:
        raise SpecError(f"--screenshot: {path}: {str(error).splitlines()[0]:.200}") from None
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    try:
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    except OSError as error:
        raise SpecError(f"--screenshot: {file}: cannot be written ({error.strerror})") from None
    return file
