"""Active learning by committee for digits and street scenes.

Importing this package only defines names: it reads no file, starts no thread and loads no model.
The modules, bottom to top: `errors`, `paths`, `seeds`, `progress`, `yaml_files`, `datasets`, `results`, `config`,
`models`, `metrics`, `training`, `committee`, `scores`, `features`, `diversity`, `selection`, `regions`, `query`,
`pool`, `acquisition`, `experiment`. `statistics`, `analysis`, `comparison`, `acquired`, `figures` and `report` read
results; `run` starts a notebook, `preset` lists what a grid consists of.
"""

__version__ = "0.1.0"
