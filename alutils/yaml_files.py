"""Settings that people write: YAML files that hold a mapping, read as data only."""

from pathlib import Path
from typing import Any

import yaml

from alutils.errors import ParameterError


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; raise `ParameterError` if there is none."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}); allowed: a YAML file") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ParameterError(f"{path} {what}; allowed: names with values")
    return content
