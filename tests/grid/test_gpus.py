"""GPUs are given out one by one: here an `nvidia-smi` that names some is enough."""

import os
import threading
from pathlib import Path

import pytest

from alutils.errors import ParameterError
from alutils.grid.gpus import VISIBLE, claimed, visible_gpus


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine look as if it had two."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0, GPU-a\\n1, GPU-b\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(VISIBLE, raising=False)


def test_a_machine_without_gpus_has_none_to_claim(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(VISIBLE, raising=False)
    assert visible_gpus() == []
    with claimed(1) as environment:
        assert environment == {}


@pytest.mark.usefixtures("two_gpus")
def test_each_run_gets_a_gpu_of_its_own_and_the_third_waits(monkeypatch: pytest.MonkeyPatch):
    assert visible_gpus() == ["GPU-a", "GPU-b"]
    waiting, third = threading.Event(), []

    def wait(seconds: float) -> None:
        waiting.set()
        threading.Event().wait(0.01)

    monkeypatch.setattr("time.sleep", wait)

    def claim() -> None:
        with claimed(1) as environment:
            third.append(environment)

    with claimed(1) as first:
        with claimed(1) as second:
            assert {first[VISIBLE], second[VISIBLE]} == {"GPU-a", "GPU-b"}
            thread = threading.Thread(target=claim)
            thread.start()
            assert waiting.wait(10)
            assert not third
        thread.join(10)
        assert third == [second]


@pytest.mark.usefixtures("two_gpus")
def test_several_are_claimed_together_and_none_for_runs_without_network(monkeypatch: pytest.MonkeyPatch):
    with claimed(2) as both, claimed(0) as none:
        assert both == {VISIBLE: "GPU-a,GPU-b"}
        assert none == {}
    with pytest.raises(ParameterError, match=r"GPUs of one run is 3; allowed: 1 to 2"), claimed(3):
        pass
    monkeypatch.setenv(VISIBLE, "1, MIG-c")
    assert visible_gpus() == ["GPU-b", "MIG-c"]
    monkeypatch.setenv(VISIBLE, "")
    assert visible_gpus() == []


@pytest.mark.usefixtures("two_gpus")
def test_a_link_that_another_made_is_not_followed(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"alutils-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="not a folder of this user alone"), claimed(1):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())
