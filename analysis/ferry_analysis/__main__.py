"""The command line: `python3 -m ferry_analysis plot|compare|calibrate`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .load import InputError, open_folder

DONE, DIFFERS, BAD_INPUT = 0, 1, 2
_KINDS = (
    "application, breakdown, curve, downtime_cdf, latency, links, multi_vm, overlap, sensitivity, "
    "timeline, or report (one HTML page)"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}; {self.prog} --help shows what is right\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: 0 done, 1 runs differ, 2 bad input."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ferry_analysis",
        description="Draws and compares the run folders and study folders that ferry wrote.",
        epilog="Exit status: 0 done; 1 runs differ beyond the tolerance; 2 bad input.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    plot = commands.add_parser(
        "plot", help="draw a run or a study",
        description="Draws a run or a study, and prints the path of each file written.",
    )
    plot.add_argument("path", metavar="PATH", help="a run folder or a study folder")
    plot.add_argument(
        "--kind", metavar="K",
        help=f"what to draw, one or several with commas between: {_KINDS}; default: what "
        "study.yaml lists under plots, else breakdown and what fits",
    )
    plot.add_argument(
        "--x", metavar="PATH", help="curve: the path on the x axis; default: the one with most numbers"
    )
    plot.add_argument(
        "--y", metavar="METRIC",
        help="curve: the metric, a column of cells.csv; default: makespan_seconds; without "
        "--x, --y and --by: the curves of study.yaml",
    )
    plot.add_argument(
        "--by", metavar="PATH",
        help="curve: the path with a line for each value; the rest of what the study varies has "
        "a panel for each value; default: the one with most words",
    )
    _add_output_options(plot)
    plot.set_defaults(command=_plot)
    compare = commands.add_parser(
        "compare", help="compare runs or studies phase by phase",
        description="Compares runs or studies phase by phase: medians, spreads, difference, and "
        "whether it is within the tolerance. The scenarios must be equal, apart from platform, "
        "name, description, seed and outputs.",
    )
    compare.add_argument("a", metavar="A", nargs="+", help="runs or studies of the first side")
    compare.add_argument(
        "--with", dest="b", metavar="B", nargs="+", required=True,
        help="runs or studies of the second side",
    )
    compare.add_argument(
        "--tolerance", metavar="PERCENT", default="5%",
        help="how far the medians of B may be from those of A (default: 5%%)",
    )
    compare.add_argument("--plot", action="store_true", help="draw the comparison as well")
    _add_output_options(compare)
    compare.set_defaults(command=_compare)
    calibrate = commands.add_parser(
        "calibrate", help="fit a platform file's constants to runs",
        description="Fits the constants of a platform file that the runs determine, shows them "
        "with their intervals and residuals, and writes a new platform file.",
    )
    calibrate.add_argument("runs", metavar="RUN", nargs="+", help="runs or studies")
    calibrate.add_argument(
        "--platform", metavar="IN.yaml", required=True, help="the platform file to start from"
    )
    calibrate.add_argument(
        "--out", metavar="OUT.yaml", required=True, help="the platform file to write"
    )
    calibrate.add_argument(
        "--ferry", metavar="PROGRAM", default="ferry", help="the program that simulates"
    )
    calibrate.set_defaults(command=_calibrate)
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", action="store_true", help="also write what is drawn as KIND.csv beside it"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="the folder to write to (default: plots in the first folder)"
    )
    parser.add_argument(
        "--format", metavar="F", default="png,svg",
        help="png, svg, or both with a comma between (default: png,svg)",
    )


def _plot(options: argparse.Namespace) -> int:
    from . import plot

    folder = open_folder(options.path)
    formats = _formats(options.format)
    out = Path(options.out) if options.out else folder.path / "plots"
    if options.kind is None:
        kinds = plot.default_kinds(folder)
    else:
        kinds = [kind.strip() for kind in options.kind.split(",")]
        for kind in kinds:
            plot.check_kind(kind)
    choice = plot.Choice(options.x, options.y, options.by)
    if choice != plot.Choice() and kinds != ["curve"]:
        raise InputError("--x, --y, --by: are of curve alone; --kind curve would be right")
    status = DONE
    for kind in kinds:  # one that cannot be drawn does not stop the others
        try:
            _print_paths(plot.draw(folder, kind, out, formats, options.data, choice))
        except InputError as error:
            print(error, file=sys.stderr)
            status = BAD_INPUT
    return status


def _compare(options: argparse.Namespace) -> int:
    from . import compare

    formats = _formats(options.format)
    comparison = compare.compare(options.a, options.b, compare.parse_tolerance(options.tolerance))
    print(compare.report(comparison))
    if options.plot:
        from .plot import compare as compare_plot

        out = Path(options.out) if options.out else compare.default_plot_folder(comparison)
        picture = compare_plot.picture(
            comparison.differences, comparison.a.folders[0].name,
            (comparison.a.text, comparison.b.text), comparison.tolerance,
        )
        _print_paths(picture.save(out, formats, options.data))
    return DONE if comparison.agree else DIFFERS


def _calibrate(options: argparse.Namespace) -> int:
    from . import calibrate

    out = Path(options.out)
    if out.exists():
        raise InputError(
            f"{out}: exists already, and nothing is ever overwritten; another --out would be right"
        )
    calibration = calibrate.calibrate(options.runs, Path(options.platform), options.ferry)
    calibrate.write(calibration, out, f"Calibrated from {len(options.runs)} runs or studies, "
                                      f"starting from {Path(options.platform).name}.")
    print(calibrate.report(calibration))
    print(out)
    return DONE


def _formats(text: str) -> list[str]:
    formats = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for extension in formats:
        if extension not in ("png", "svg"):
            raise InputError(f"--format {text}: {extension or 'nothing'} is not known; "
                             "png, svg or png,svg would be right")
    return formats


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        print(path, flush=True)


if __name__ == "__main__":
    # As other programs whose reader has gone (`| head`): an end, not a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
