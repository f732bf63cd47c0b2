"""Active learning by committee for digits and street scenes.

Importing this package only defines names: it reads no file, starts no thread and loads no model.
The modules, bottom to top: `paths`, `datasets`, `models`, `metrics`, `training`, `committee`, `query`,
`pool`, `experiment`, `results`, `figures`; `run` starts notebooks, `preset` lists what a grid consists of.
"""

__version__ = "0.1.0"
