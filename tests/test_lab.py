"""JupyterLab as `make lab` starts it."""

import json
import os
import re
import runpy
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest

from alutils.paths import ROOT


def jupyter_of_make_lab(arguments: str) -> list[str]:
    """Return the words with which `make lab` calls JupyterLab, with this Python."""
    make = ["make", "--dry-run", "--no-print-directory", "lab", f"ARGS={arguments}"]
    said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = re.search(r"/jupyter (lab notebooks .*)", said)
    assert command, said
    return [sys.executable, "-m", "jupyter", *command[1].split()]


def test_make_lab_passes_arguments_and_works_as_root():
    words = jupyter_of_make_lab("--no-browser --port=1234")
    assert words[-2:] == ["--no-browser", "--port=1234"]
    assert ("--allow-root" in words) == (os.getuid() == 0)


@pytest.mark.slow
def test_jupyterlab_listens_on_this_machine_only_and_wants_its_token(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = jupyter_of_make_lab(f"--no-browser --port={port}")
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        while not (files := list(tmp_path.glob("jpserver-*.json"))):
            assert process.poll() is None
            time.sleep(0.2)
        server = json.loads(files[0].read_text())
        connections = psutil.Process(process.pid).net_connections(kind="tcp")
        listening = {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
        assert listening <= {"127.0.0.1", "::1"}
        url = f"http://127.0.0.1:{server['port']}/api/contents"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url)
        with urllib.request.urlopen(f"{url}?token={server['token']}") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{server['port']}/lab?token={server['token']}") as answer:
            assert '"news": {"disabled": true}' in answer.read().decode(), "it asks nobody about news"
    finally:
        process.terminate()
        process.wait()


def test_git_sees_a_notebook_that_was_only_run_as_unchanged(tmp_path: Path):
    tell_git = runpy.run_path(str(ROOT / "workflow" / "jupyter_config.py"))["tell_git"]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    def save(source: str, outputs: list[nbformat.NotebookNode]) -> None:
        cell = nbformat.v4.new_code_cell(source, outputs=outputs, id="a")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
        tell_git(os_path=str(tmp_path / "n.ipynb"), model={}, contents_manager=None)

    git("init", "-q")
    git("config", "filter.notebooks.clean", f"{sys.executable} -m nbstripout --keep-id")
    (tmp_path / ".gitattributes").write_text("*.ipynb filter=notebooks\n")
    save("1 + 1", [])
    git("add", "-A")
    save("1 + 1", [nbformat.v4.new_output("stream", text="2")])
    assert git("status", "--porcelain").splitlines() == ["A  .gitattributes", "A  n.ipynb"], "nothing to add"
    save("1 + 2", [nbformat.v4.new_output("stream", text="3")])
    assert "AM n.ipynb" in git("status", "--porcelain"), "a changed cell is a change, and is not staged"
    assert 'outputs": []' in git("show", ":n.ipynb")
