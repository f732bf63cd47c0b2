"""The command line, `alutils` or `python -m alutils`: each subcommand is a thin function over its room.

A subcommand imports what it needs when it is called, so that help and mistakes come at once.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Parser: TypeAlias = argparse.ArgumentParser
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def run(chosen: argparse.Namespace) -> None:
    """Run one notebook."""
    from alutils.errors import check_range
    from alutils.grid.parameters import find_notebook, given_parameters

    notebook, given = find_notebook(chosen.notebook), given_parameters(chosen.f, chosen.p)
    if chosen.cell_timeout is not None:
        check_range("cell_timeout", chosen.cell_timeout, 1, float("inf"), "seconds")
    from alutils.grid.notebook import run_notebook

    run_notebook(notebook, given, chosen.cell_timeout)


def grid(chosen: argparse.Namespace) -> int:
    """Run what is missing of a grid, or print what would run; return the exit code."""
    from alutils.errors import check_range
    from alutils.grid.preset import find_preset

    preset = find_preset(chosen.preset)
    check_range("cores", chosen.cores, 1, 100_000)
    check_range("threads", chosen.threads or 1, 1, 1000)
    from alutils.grid.snakemake import command, find_profile
    from alutils.grid.snakemake import run as run_grid

    profile = find_profile(chosen.profile)
    if chosen.dry_run:
        from alutils.grid.state import plan

        print(plan(preset))  # noqa: T201
        return 0
    return run_grid(preset, command(preset, chosen.cores, chosen.threads, profile, chosen.others), profile)


def status(chosen: argparse.Namespace) -> None:
    """Print a line for each job of a grid."""
    from alutils.grid.preset import find_preset
    from alutils.grid.state import status

    print(status(find_preset(chosen.preset)))  # noqa: T201


def show(chosen: argparse.Namespace) -> None:
    """Print the results of an experiment."""
    from alutils.results.report import report

    print(report(chosen.experiment))  # noqa: T201


def compare(chosen: argparse.Namespace) -> None:
    """Print what a comparison of an experiment's queries says."""
    from alutils.results.pages import compare

    print(compare(chosen.experiment))  # noqa: T201


def publish(chosen: argparse.Namespace) -> None:
    """Copy an experiment's tables into the repository."""
    from alutils.results.publish import publish as publish_tables

    print(*publish_tables(chosen.experiment), sep="\n")  # noqa: T201


def page(chosen: argparse.Namespace) -> None:
    """Write an experiment's page to send."""
    from alutils.explorer.page import write_page

    print(write_page(chosen.experiment))  # noqa: T201


def figures(chosen: argparse.Namespace) -> None:
    """Draw published figures; all of them, and the tables of the pages, if none is named."""
    from alutils.results.figures.published import draw

    draw(chosen.names)
    if not chosen.names:
        from alutils.results.pages import write_pages

        write_pages()


def check(chosen: argparse.Namespace) -> int:
    """Print what is in a folder of images and labels, and what is wrong with it; return 1 if something is."""
    from alutils.labelling.check import check

    report = check(Path(chosen.description))
    print(report.text)  # noqa: T201
    return 1 if report.problems else 0


def new_dataset(chosen: argparse.Namespace) -> None:
    """Write a first YAML file for a folder of images."""
    from alutils.labelling.draft import draft

    print(draft(Path(chosen.folder), chosen.classes, chosen.rest))  # noqa: T201


def next(chosen: argparse.Namespace) -> None:
    """Choose what to label next of a folder of photographs."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # on a busy machine, threads that spin take minutes for seconds
    from alutils.labelling.batch import reading_command
    from alutils.labelling.next_batch import next_batch

    options = {name: getattr(chosen, name) for name in ("query", "regions", "split", "prelabel", "seed")}
    batch = next_batch(Path(chosen.description), chosen.k, size=chosen.size and tuple(chosen.size), **options)
    later = f"when it is labelled: {reading_command(Path(chosen.description), chosen.split)}"
    print(*batch.said, f"open {batch.folder / 'next.html'}", later, sep="\n")  # noqa: T201


def read(chosen: argparse.Namespace) -> None:
    """Add the labels that an annotation tool exported to those of a data set."""
    from alutils.labelling.reading import read

    options = {name: getattr(chosen, name) for name in ("split", "replace", "rest", "later_wins")}
    print(read(Path(chosen.description), Path(chosen.export), **options))  # noqa: T201


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = argparse.ArgumentParser(prog="alutils", description="Active learning by committee.", allow_abbrev=False)
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    add_runs(commands)
    add_results(commands)
    add_labelling(commands)
    return whole


def add_runs(commands: Commands) -> None:
    """Add the subcommands that run notebooks."""
    one = add(commands, run, "run one notebook", "03_active_learning_rounds -p query vote_entropy -p seed 3")
    one.add_argument("notebook", metavar="NOTEBOOK", help="its path, or its name in notebooks/")
    one.add_argument("-f", metavar="PARAMS.yaml", action="append", default=[], help="a YAML file of parameters")
    one.add_argument("-p", metavar=("NAME", "VALUE"), nargs=2, action="append", default=[], help="one parameter")
    one.add_argument("--cell-timeout", metavar="SECONDS", type=int, help="stop a cell that takes longer")

    many = add(commands, grid, "run what is missing of a grid, then show its results", "demo --cores 2")
    many.add_argument("--cores", metavar="N", type=int, default=os.cpu_count(), help="cores that all runs share")
    many.add_argument("--threads", metavar="N", type=int, help="cores of each run (default 1; with GPUs, its share)")
    many.add_argument("--profile", metavar="P", default="local", help="a name in workflow/profiles/, or a folder")
    many.add_argument("--dry-run", action="store_true", help="list what would run, and why; start nothing")
    many.usage = "alutils grid PRESET [--cores N] [--threads N] [--profile P] [--dry-run] [OPTIONS OF SNAKEMAKE]"
    many.set_defaults(passes_on=True)
    for command in (many, add(commands, status, "print how far each job of a grid is", "demo")):
        command.add_argument(
            "preset", metavar="PRESET", nargs="?", default="", help="a name in params/, or a YAML file"
        )


def add_results(commands: Commands) -> None:
    """Add the subcommands that read finished runs."""
    for call, what in (
        (show, "print the results of an experiment, and where its files are"),
        (compare, "compare the queries of an experiment"),
        (page, "write what an experiment found to one HTML file"),
        (publish, "copy an experiment's tables to results/published/"),
    ):
        command = add(commands, call, what, "demo")
        command.add_argument("experiment", metavar="EXPERIMENT", help="a folder in results/")
    drawn = add(
        commands, figures, "draw published figures; without a name all of them, and the pages' tables", "bulk_all"
    )
    drawn.add_argument("names", metavar="NAME", nargs="*", help="a figure in image_examples/")


def add_labelling(commands: Commands) -> None:
    """Add the subcommands for a person's own photographs."""
    example = "photos --classes road car --rest other"
    drafted = add(commands, new_dataset, "write a first YAML file for a folder of images", example)
    drafted.add_argument("folder", metavar="FOLDER", help="a folder of images, or of folders of images and labels")
    drafted.add_argument(
        "--classes", metavar="NAME", nargs="+", default=[], help="names of classes, if no label is there"
    )
    drafted.add_argument("--rest", metavar="NAME", default="", help="the class of what nobody will draw on")
    checked = add(commands, check, "look through a folder of images and labels", "photos.yaml")
    chosen = add(commands, next, "choose which photographs to label next", "photos.yaml -k 20")
    returned = add(commands, read, "add the labels that an annotation tool exported", "photos.yaml annotations.xml")
    for command in (checked, chosen, returned):
        command.add_argument("description", metavar="DATA.yaml", help="the YAML file that describes the folder")
    chosen.add_argument("-k", metavar="N", type=int, default=20, help="how many to label (default 20)")
    chosen.add_argument("--query", metavar="QUERY", default="", help="a query, instead of what suits the labels so far")
    chosen.add_argument("--regions", metavar="REGIONS", default="", help="label regions: windows8x8, superpixels100")
    chosen.add_argument("--prelabel", metavar="WHAT", default="all", help="what is drawn: all (default), sure or none")
    chosen.add_argument("--size", metavar=("HEIGHT", "WIDTH"), nargs=2, type=int, help="pixels that the network reads")
    chosen.add_argument("--seed", metavar="N", type=int, default=0, help="another seed, another choice")
    returned.add_argument("export", metavar="EXPORT", help="an .xml, .json or .zip file, or a folder")
    returned.add_argument("--replace", action="store_true", help="let pixels get another class than they have")
    returned.add_argument("--rest", metavar="CLASS", default="", help="the class of what nobody drew on")
    returned.add_argument("--later-wins", action="store_true", help="where shapes overlap, the later one counts")
    for command in (chosen, returned):
        command.add_argument("--split", metavar="SPLIT", default="train", help="the split that is labelled")


def add(commands: Commands, call: Callable[[argparse.Namespace], int | None], what: str, example: str) -> Parser:
    """Add and return a subcommand that is called like the function `call`."""
    name = call.__name__.replace("_", "-")
    command = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"Example:\n  alutils {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(call=call, passes_on=False)
    return command


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code. What a user can cause is one line on stderr."""
    chosen, others = parser().parse_known_args(arguments)
    if others and not chosen.passes_on:
        parser().error(f"unknown arguments: {' '.join(others)}")
    chosen.others = others
    from alutils.errors import DataError, ParameterError, one_line
    from alutils.limits import check_memory, explained, lacks_memory

    try:
        check_memory()
        return chosen.call(chosen) or 0
    except Exception as error:
        if not isinstance(error, (ParameterError, DataError, RuntimeError, OSError)) and not lacks_memory(error):
            raise  # a bug
        print(f"error: {explained(one_line(error) or type(error).__name__)}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on with what was saved", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())
