"""Pages and JupyterLab in headless Chromium, for benchmarks and tests."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "install it by `apt-get install chromium`"
STARTED = 60_000  # milliseconds that JupyterLab and a kernel may take to start
READY = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'"
PICTURE = "img.widget-image"


def chromium() -> str | None:
    """Return the path of Chromium; `None` if it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser(*, offline: bool = False, width: int = 1500, height: int = 1200) -> Iterator[Page]:
    """Yield an empty page of a browser window of so many pixels."""
    with sync_playwright() as started:
        window = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = window.new_context(viewport={"width": width, "height": height}, offline=offline)
        yield context.new_page()
        window.close()


@contextmanager
def jupyter_lab(folder: Path, settings: Path, **environment: str) -> Iterator[str]:
    """Serve a folder by JupyterLab; yield the address at which a notebook's name opens it.

    settings : a folder in which JupyterLab keeps its own
    environment : further variables of the kernels
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(settings / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
    options = ["--no-browser", "--expose-app-in-browser", "--ServerApp.ip=localhost", f"--port={port}"]
    options += ["--IdentityProvider.token=test"]
    if os.getuid() == 0:
        options.append("--allow-root")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", str(folder), *options],
        env={**os.environ, **own, **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://localhost:{port}/api?token=test", server)
        yield f"http://localhost:{port}/lab/tree/{{}}?token=test&reset"
    finally:
        server.terminate()
        server.wait()


def _wait(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(STARTED // 200):
        assert server.poll() is None, "JupyterLab has ended"
        try:
            with urllib.request.urlopen(address):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("JupyterLab does not answer")


def run_all_cells(page: Page, address: str, seconds: float) -> dict[str, Any]:
    """Open a notebook, run all its cells, and return it with its outputs, as JupyterLab would save it."""
    page.goto(address)
    page.wait_for_function(READY, timeout=STARTED)
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
    running = (
        "{ window.isDone = false; jupyterapp.commands.execute('notebook:run-all-cells').then(() => isDone = true) }"
    )
    page.evaluate(f"() => {running}")
    page.wait_for_function("() => isDone", timeout=1000 * seconds)
    return json.loads(page.evaluate("JSON.stringify(jupyterapp.shell.currentWidget.context.model.toJSON())"))


def show_cell(page: Page, number: int) -> None:
    """Scroll to a cell; JupyterLab draws only those that are in view."""
    page.evaluate(f"jupyterapp.shell.currentWidget.content.scrollToItem({number}, 'start')")


def milliseconds_to_picture(page: Page, slider: int, steps: int) -> list[float]:
    """Return how long each of some steps of a slider takes until the first picture of the page is another one.

    slider : its position among the sliders of the page
    """
    handle, picture = page.locator(".widget-slider .noUi-handle").nth(slider), page.locator(PICTURE).first
    found = []
    handle.focus()
    for _ in range(steps):
        before, started = picture.get_attribute("src"), time.perf_counter()
        page.keyboard.press("ArrowRight")
        changed = f"before => document.querySelector('{PICTURE}').src != before"
        page.wait_for_function(changed, arg=before, polling=5, timeout=10_000)
        found.append(1000 * (time.perf_counter() - started))
        page.wait_for_timeout(300)  # a person looks at it
    return found
