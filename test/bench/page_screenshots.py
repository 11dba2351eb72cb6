"""Takes the pictures by which a person judges the page of ``cfx eval``: light and dark, 1440 and 375 CSS pixels wide.

    python test/bench/page_screenshots.py DIR/index.html OUT [--browser chromium] [--height 6000]

Needs Chromium (Debian: ``apt-get install chromium``). Writes OUT/{light,dark}-{1440,375}.png; in the narrow ones
the page is the left 375 columns.
"""

import argparse
import html
import pathlib
import shutil
import subprocess
import sys
import tempfile

SCHEMES = {"dark": 0, "light": 1}  # Chromium's preferredColorScheme
WIDTHS = (1440, 375)
LEAST_WINDOW = 500  # a window of headless Chromium is no narrower: a phone's width needs a frame inside


def screenshot(browser, page, path, scheme, width, height, folder):
    """One picture; a frame as wide as a phone, in a window that is wider, has that width's style."""
    address = page.as_uri()
    if width < LEAST_WINDOW:
        frame = folder / f"{width}.html"
        style = f"border:0;width:{width}px;height:{height}px"
        frame.write_text(f'<body style="margin:0"><iframe src="{html.escape(address)}" style="{style}"></iframe>', encoding="utf-8")
        address = frame.as_uri()
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        f"--window-size={max(width, LEAST_WINDOW)},{height}",
        f"--screenshot={path}",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0 or not path.exists():
        sys.exit(f"{browser} took no picture (exit code {done.returncode}):\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--height", type=int, default=6000, help="of the pictures, in CSS pixels")
    options = parser.parse_args()
    if shutil.which(options.browser) is None:
        sys.exit(f"found no {options.browser}; expected Chromium or Chrome. Install it, or name it with --browser.")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for width in WIDTHS:
            for scheme in SCHEMES:
                path = (options.out / f"{scheme}-{width}.png").resolve()
                screenshot(options.browser, options.page.resolve(), path, scheme, width, options.height, pathlib.Path(folder))
                print(path)


if __name__ == "__main__":
    main()
