"""Street scenes that the project draws, with Cityscapes' classes and in Cityscapes' file layout."""

from alutils.datasets.streets.files import FIRST_INDEX, write_streets
from alutils.datasets.streets.street import FRAMES_PER_DRIVE, draw_scene

__all__ = ["FIRST_INDEX", "FRAMES_PER_DRIVE", "draw_scene", "write_streets"]
