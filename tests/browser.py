"""The browser that the tests open: the one place that decides which.

    python tests/browser.py

Finds a Chromium or Chrome that starts: on PATH, where systems keep it, or Playwright's own. If there is none,
it downloads Playwright's; else installs Debian's package, where that needs no password; else says in a
sentence what to do, with status 1. `make test` runs it before any test. Where one was found is kept in
_build/browser, so that the tests start it straight away; while there is one, the network is left alone.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import machine
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "_build" / "browser"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "~/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "~/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/opt/google/chrome/chrome",
    "/mnt/c/Program Files/Google/Chrome/Application/chrome.exe",
)
START = 15_000  # milliseconds: a first start on a busy machine takes a few seconds

# Chromium's own traffic is switched off, so that all there is comes from the page.
OPTIONS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextlib.contextmanager
def opened(path: str, playwright: Playwright) -> Iterator[Browser]:
    """The browser at this path, running; Playwright adds the option without which root's does not start."""
    browser = playwright.chromium.launch(executable_path=path, args=OPTIONS, timeout=START)
    yield browser
    browser.close()


def trouble(path: str, playwright: Playwright) -> str:
    """Why this browser opens no page, as the tests would have it do; empty if it does.

    What is called chromium may be a stub that asks for another package, may wait for ever, or lack libraries.
    """
    try:
        with opened(path, playwright) as browser:
            page = browser.new_page()
            page.set_default_timeout(START)
            page.set_content("<title>here</title>")
            return "" if page.title() == "here" else "it shows no page"
    except Error as error:
        return error.message.partition("\n")[0]


def candidates(playwright: Playwright) -> list[str]:
    """Where a browser may be: what was found before, PATH, the usual places, Playwright's own."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    # all of PATH: a stub may stand before a browser of the same name
    on_path = [shutil.which(name, path=folder) or "" for name in NAMES for folder in folders]
    places = [kept(), *on_path, *map(os.path.expanduser, PLACES), playwright.chromium.executable_path]
    return list(dict.fromkeys(place for place in places if os.path.isfile(place)))


def kept() -> str:
    """The browser that was found before, if it is still there; else empty."""
    path = KEPT.read_text(encoding="utf-8").strip() if KEPT.is_file() else ""
    return path if os.path.isfile(path) else ""


def find(playwright: Playwright, wrong: dict[tuple[str, int], str]) -> str:
    """The first browser that starts, empty if none does.

    wrong: what was tried, a path and the time of its last change, and why it does not start. It is added to,
    and what is in it is not tried again.
    """
    for path in candidates(playwright):
        tried = path, os.stat(path).st_mtime_ns
        if tried in wrong:
            continue
        why = trouble(path, playwright)
        if not why:
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(path + "\n", encoding="utf-8")
            return path
        wrong[tried] = f"{path} does not start ({why})"
    return ""


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """The browser that the tests open, running.

    Raises: LookupError, with what to do, if there is none.
    """
    with sync_playwright() as playwright:
        path = kept() or find(playwright, {})
        if not path:
            raise LookupError("no Chromium or Chrome was found that starts: make browser")
        with opened(path, playwright) as browser:
            yield browser


# --- where there is none -----------------------------------------------------------------------


def download() -> str:
    """Have Playwright download its own; why it did not, empty if it did."""
    print("Downloading Playwright's Chromium", flush=True)
    # it tries five times, by default for half a minute each where nothing answers
    environment = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "3000", **os.environ}
    done, said = machine.quietly(
        [sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"], 600, environment
    )
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    return "" if done else (errors or ["it failed"])[0].removeprefix("Error: ")


def main() -> str:
    """Find a browser or get one; the sentence that says what to do if there is none, else empty."""
    reasons: list[str] = []
    wrong: dict[tuple[str, int], str] = {}
    for how, get in (
        ("", lambda: ""),
        ("Playwright's own was not downloaded", download),
        ("Debian's package was not installed", lambda: machine.install("chromium")),
    ):
        why = get()
        if why:
            reasons.append(f"{how} ({why})")
            continue
        with sync_playwright() as playwright:
            path = find(playwright, wrong)
        if path:
            print(f"The site's tests open it in {path}")
            return ""
    return (
        f"The tests need a Chromium or Chrome that starts: {'; '.join([*wrong.values(), *reasons])}. "
        "Install one (on Debian: apt-get install chromium; elsewhere: https://www.google.com/chrome/) "
        "and call make again."
    )


if __name__ == "__main__":
    sys.exit(main() or 0)
