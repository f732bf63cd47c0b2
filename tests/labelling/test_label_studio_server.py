"""The real Label Studio server: what we write is shown, and what it exports comes back; its converter on our masks."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest
import yaml
from PIL import Image

from alutils.errors import DataError
from alutils.labelling import label_studio
from alutils.labelling.reading import read
from alutils.labelling.shapes import REGION, VOID, Drawing, Outline

ENVIRONMENT = Path(__file__).parents[2] / ".venv-label-studio"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
DEAD = "http://127.0.0.1:9"  # a proxy that is not there: whoever looks for the network meets it
OFFLINE = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "HTTP_PROXY": DEAD,
    "HTTPS_PROXY": DEAD,
}
CLASSES = {"road": [128, 64, 128], "tree & bush": [0, 160, 0], "Küche #2": [0, 0, 220]}
COLOURS = {name: (red, green, blue) for name, (red, green, blue) in CLASSES.items()}
HEIGHT, WIDTH = 48, 64
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not [*ENVIRONMENT.glob(".ready-*")], reason="needs Label Studio: run `make label-studio`"),
]


class Server(NamedTuple):
    """A running server."""

    address: str

    def content(self, path: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
        """Return what the server answers: to a POST if there are data; any error is raised."""
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
        with build_opener(ProxyHandler({})).open(Request(self.address + path, data, headers), timeout=60) as answer:
            assert answer.status in (200, 201)
            return answer.read()

    def ask(self, path: str, body: object = None) -> Any:
        """Return the JSON that the server answers."""
        return json.loads(self.content(path, None if body is None else json.dumps(body).encode()))

    def upload(self, path: str, file: Path) -> Any:
        """Return the JSON that the server answers to a file, sent as a browser does."""
        head = f'--border\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
        data = head.encode() + file.read_bytes() + b"\r\n--border--\r\n"
        return json.loads(self.content(path, data, "multipart/form-data; boundary=border"))


@contextmanager
def running(data: Path, settings: Path) -> Iterator[Server]:
    """Run a server with its own data and our settings, which a shell reads as our page says; kill it at the end."""
    shutil.copytree(ENVIRONMENT / "empty", data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--internal-host 127.0.0.1 --port {port} --no-browser --enable-legacy-api-token --user-token {TOKEN}"
    command = f"set -a; . label_studio/settings.txt; exec '{ENVIRONMENT}/bin/label-studio' start {options}"
    user = {"LABEL_STUDIO_USERNAME": "somebody@localhost", "LABEL_STUDIO_PASSWORD": "only-for-a-test"}
    environment = {**os.environ, **OFFLINE, **user, "LABEL_STUDIO_BASE_DATA_DIR": str(data)}
    with (data / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", command], cwd=settings.parents[1], env=environment, stdout=log, stderr=log
        )
    try:
        server = Server(f"http://127.0.0.1:{port}")
        wait_for(server, process, data / "log.txt")
        yield server
    finally:
        process.kill()
        process.wait()


def wait_for(server: Server, process: subprocess.Popen, log: Path, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            server.content("/health")
            return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"Label Studio does not answer: {log.read_text()[-2000:]}")


def photograph(path: Path, seed: int) -> None:
    blocks = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    Image.fromarray(np.repeat(np.repeat(blocks, 8, 0), 8, 1)).save(path)


def prediction() -> np.ndarray:
    """Return classes (H, W) with a hole, parts of one pixel, borders, and void."""
    classes = np.full((HEIGHT, WIDTH), 255, np.uint8)
    classes[ROWS > 30] = 0
    distance = np.hypot(ROWS - 24, COLUMNS - 20)
    classes[distance < 14] = 1
    classes[distance < 6] = 0
    classes[0, :], classes[-1, -1], classes[5, 50], classes[10:20, 40] = 2, 2, 1, 2
    return classes


def drawings() -> dict[str, Drawing]:
    """Return what is drawn on each photograph; of the last one only a region is to be labelled."""
    classes, inside = prediction(), (COLUMNS >= 8) & (COLUMNS < 40) & (ROWS >= 12) & (ROWS < 36)
    corners = [(8, 12), (40, 12), (40, 36), (8, 36)]
    names = ["unchanged one.png", "Grüße #1.jpg", "50% a&b=c+d.png", "painted over.png", "skipped?.png", "twice.png"]
    found = {name: Drawing(name, classes, [*CLASSES]) for name in names}
    part = np.where(inside, classes, 255).astype(np.uint8)
    return found | {"part.png": Drawing("part.png", part, [*CLASSES], ~inside, [Outline(REGION, corners)])}


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a batch as `alutils next` writes it; `photos.yaml` describes its photographs."""
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "results"))
    drawn, folder = drawings(), tmp_path / "results/labelling/my photos/batch1"
    (folder / "images").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    for seed, name in enumerate(drawn):
        photograph(folder / "images" / name, seed)
    marks = {VOID: (0, 0, 0), REGION: (255, 255, 0)}
    scores = [*np.linspace(0, 1, len(drawn) - 1), float("nan")]
    label_studio.write(folder / "label_studio", drawn.values(), {**COLOURS, **marks}, folder / "images", scores)
    splits = {"train": {"images": str(folder / "images"), "labels": "labels"}}
    content = {"name": "photos", "classes": CLASSES, "splits": splits}
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def project_of(server: Server, batch: Path) -> dict[str, dict[str, Any]]:
    """Do what the page of a batch says; return the tasks of the new project by their photographs' names."""
    configuration = (batch / "label_studio/labelling_configuration.xml").read_text()
    number = server.ask("/api/projects/", {"title": "photos", "label_config": configuration})["id"]
    source = (batch / "label_studio/settings.txt").read_text().split("\n")[0].split("local path: ")[1]
    server.ask("/api/storages/localfiles/", {"project": number, "path": source, "title": "photographs"})
    written = json.loads((batch / "label_studio/tasks.json").read_text())
    server.upload(f"/api/projects/{number}/import", batch / "label_studio/tasks.json")
    project = server.ask(f"/api/projects/{number}/")
    assert (project["show_collab_predictions"], project["model_version"]) == (True, "committee"), (
        "predictions are shown"
    )
    listed = server.ask(f"/api/tasks/?project={number}&fields=task_only")["tasks"]
    tasks = [server.ask(f"/api/tasks/{one}/") for one in sorted(task["id"] for task in listed)]
    for task, ours in zip(tasks, written, strict=True):
        assert task["data"] == ours["data"]
        assert [one["result"] for one in task["predictions"]] == [one["result"] for one in ours["predictions"]]
    return {task["data"]["item"]: task for task in tasks}


def polygon(points: list[tuple[float, float]], label: str) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]
    value = {"points": percent, "closed": True, "polygonlabels": [label]}
    names = {"from_name": "label_polygonlabels", "to_name": "image", "type": "polygonlabels"}
    return {"id": "p0lyg0n", "value": value, **size, **names}


def erased(results: list[dict[str, Any]], area: np.ndarray) -> list[dict[str, Any]]:
    """Return masks without an area, as an eraser leaves them."""
    left = json.loads(json.dumps(results))
    for result in left:
        mask = label_studio.decoded(result["value"]["rle"], HEIGHT, WIDTH)
        result["value"]["rle"] = label_studio.encoded(mask & ~area)
    return left


def submit(server: Server, tasks: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Submit an annotation of each task, once two; return the classes (H, W) of each photograph that has some."""
    guesses = {name: task["predictions"][0]["result"] for name, task in tasks.items()}
    classes, square = prediction(), (COLUMNS >= 32) & (COLUMNS < 48) & (ROWS >= 12) & (ROWS < 36)
    triangle = (ROWS + 0.5) + (COLUMNS + 0.5) < 30.5
    of_square = polygon([(32, 12), (48, 12), (48, 36), (32, 36)], "Küche #2")
    of_triangle = polygon([(0, 0), (30.5, 0), (0, 30.5)], "tree & bush")
    expected = dict.fromkeys(["unchanged one.png", "Grüße #1.jpg"], classes)
    expected["part.png"] = drawings()["part.png"].classes
    expected["50% a&b=c+d.png"] = np.where(square, 2, classes)
    expected["painted over.png"] = np.where(triangle, 1, classes)
    expected["twice.png"] = np.where(triangle, 255, classes)
    for name in ("unchanged one.png", "Grüße #1.jpg", "part.png"):
        annotate(server, tasks[name], guesses[name])
    annotate(server, tasks["50% a&b=c+d.png"], [*erased(guesses["50% a&b=c+d.png"], square), of_square])
    annotate(server, tasks["painted over.png"], [*guesses["painted over.png"], of_triangle])
    annotate(server, tasks["skipped?.png"], guesses["skipped?.png"], was_cancelled=True)
    annotate(server, tasks["twice.png"], guesses["twice.png"])
    annotate(server, tasks["twice.png"], erased(guesses["twice.png"], triangle))
    return expected


def annotate(server: Server, task: dict[str, Any], result: list[dict[str, Any]], **state: bool) -> None:
    server.ask(f"/api/tasks/{task['id']}/annotations/", {"result": result, **state})


def test_a_batch_goes_through_the_server(batch: Path, tmp_path: Path):
    with running(tmp_path / "data", batch / "label_studio/settings.txt") as server:
        tasks = project_of(server, batch)
        for name, task in tasks.items():
            assert server.content(task["data"]["image"]) == (batch / "images" / name).read_bytes()
        expected = submit(server, tasks)
        project = next(iter(tasks.values()))["project"]
        exported = server.content(f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")
    (tmp_path / "export.json").write_bytes(exported)
    with pytest.raises(DataError, match=r"painted over\.png: shapes of several labels share 30 pixels"):
        read(tmp_path / "photos.yaml", tmp_path / "export.json")
    said = str(read(tmp_path / "photos.yaml", tmp_path / "export.json", later_wins=True))
    assert said.startswith(f"Label Studio JSON: {len(expected)} photographs, {len(expected)} new labels")
    assert {path.stem for path in (tmp_path / "labels").iterdir()} == {Path(name).stem for name in expected}
    for name, classes in expected.items():
        pixels = np.asarray(Image.open(tmp_path / "labels" / f"{Path(name).stem}.png"))
        assert np.array_equal(pixels, classes), name


CONVERTER = """
import json, sys
import numpy as np
from label_studio_sdk.converter import brush

for line in sys.stdin:
    height, width, ours = json.loads(line)
    mask = brush.decode_rle(ours).reshape(height, width, 4)[..., 3]
    print(json.dumps([mask.tolist(), brush.mask2rle(mask)]))
"""


def random_masks() -> Iterator[np.ndarray]:
    """Yield masks of single pixels and of blocks, full and empty ones, and one of more pixels than a run may have."""
    generator = np.random.default_rng(0)
    for height, width in [(1, 1), (1, 37), (37, 1), (7, 9), (48, 64), (16, 16), (129, 255)]:
        for share in (0, 0.02, 0.5, 0.98, 1):
            mask = generator.random((height, width)) < share
            yield mask
            yield np.repeat(np.repeat(mask, 3, 0), 5, 1)
    yield np.ones((200, 300), bool)


def test_the_converter_of_label_studio_reads_our_masks_and_we_read_its():
    masks = [*random_masks()]
    sent = "".join(json.dumps([*mask.shape, label_studio.encoded(mask)]) + "\n" for mask in masks)
    command = [str(ENVIRONMENT / "bin/python"), "-c", CONVERTER]
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for mask, line in zip(masks, done.stdout.splitlines(), strict=True):
        decoded, theirs = json.loads(line)
        assert np.array_equal(np.array(decoded), 255 * mask), f"ours, read by theirs: {mask.shape}"
        assert np.array_equal(label_studio.decoded(theirs, *mask.shape), mask), f"theirs, read by us: {mask.shape}"
