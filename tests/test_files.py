from pathlib import Path

import pytest

from alutils.errors import ParameterError
from alutils.files import read_yaml


def test_reads_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: x\nseeds: [0, 1]\nrate: 0.5\nsteps: null\n")
    assert read_yaml(path) == {"name": "x", "seeds": [0, 1], "rate": 0.5, "steps": None}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"- a\n- b\n", b"word"),  # no mapping
        *(b"a: [1", b"a: b: c", b"? [1]\n: 2", b"\xff\xfe", b"a: \0"),  # no YAML
        *(b"date: 2020-13-45", b"number: 0b_"),  # YAML, but impossible values
        b"a: !!python/name:os.system",  # more than data
    ],
)
def test_anything_but_a_mapping_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"^.*wrong\.yaml.*$"):
        read_yaml(path)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^.*none\.yaml cannot be read.*$"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ParameterError, match=r"^.*cannot be read.*$"):
        read_yaml(tmp_path)
