from collections.abc import Callable
from pathlib import Path

import pytest

from alutils import paths

FOLDERS = [
    ("ALUTILS_DATA", "data", paths.data_dir),
    ("ALUTILS_RESULTS", "results", paths.results_dir),
    ("ALUTILS_CACHE", "cache", paths.cache_dir),
]


@pytest.mark.parametrize(("variable", "default", "folder"), FOLDERS)
def test_folder_comes_from_the_environment_or_the_project(
    variable: str, default: str, folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # the working directory decides nothing
    monkeypatch.delenv(variable, raising=False)
    assert folder() == paths.ROOT / default
    monkeypatch.setenv(variable, "")
    assert folder() == paths.ROOT / default
    monkeypatch.setenv(variable, "../elsewhere")
    assert folder() == paths.ROOT / "../elsewhere"
    monkeypatch.setenv(variable, str(tmp_path / "absolute"))
    assert folder() == tmp_path / "absolute"
    monkeypatch.setenv(variable, "~/home")
    assert folder() == Path.home() / "home"


def test_the_root_is_the_project() -> None:
    assert (paths.ROOT / "pyproject.toml").is_file()
    assert Path(__file__).resolve().parent.parent == paths.ROOT
