"""The page: what its sections show, put into one HTML file that opens offline and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pixelcontrast import __version__
from pixelcontrast.data.label_tables import spread_colors
from pixelcontrast.engine.pictures import RIGHT, VOID, WRONG
from pixelcontrast.engine.scores import left_out
from pixelcontrast.files import write_text
from pixelcontrast.report.arms import Arm, group
from pixelcontrast.report.classes import class_rows
from pixelcontrast.report.confidence import reliability
from pixelcontrast.report.confusion import largest_flows, matrix
from pixelcontrast.report.curves import health_charts, kind_of, training_charts
from pixelcontrast.report.images import duel
from pixelcontrast.report.maps import draw_maps
from pixelcontrast.report.origin import origins, recipe_changes
from pixelcontrast.report.palette import as_hex, chart_colours
from pixelcontrast.report.pictures import BETTER, BOTH_WRONG, example_groups
from pixelcontrast.report.runs import Color, Run, compared, find_runs, read_run
from pixelcontrast.report.scales import direction, percent, short, signed
from pixelcontrast.report.summary import standings, strip, verdict

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("theme.js", "tooltip.js", "tables.js", "charts.js", "maps.js", "pictures.js")


@dataclass(frozen=True)
class Written:
    """What became of a report.

    Attributes:
        path: The file.
        num_bytes: Of the file.
        notes: What could not be shown, and how to have it.
    """

    path: Path
    num_bytes: int
    notes: tuple[str, ...]


def write_report(
    run_dirs: Sequence[Path],
    output: Path,
    *,
    title: str | None = None,
    evaluation: str | None = None,
) -> Written:
    """Write one HTML file that shows runs, beside each other if they are several.

    Runs that differ in their seed alone are an arm, shown by mean and spread. The arm without contrast, or the first,
    is the baseline. Nothing is computed that needs the data set or the network.

    Args:
        run_dirs: Run folders, or folders of runs such as that of a comparison (ARM/seed_N).
        output: File to write.
        title: Of the page; by default model and data set.
        evaluation: Show this evaluation, by its name below `evaluations/`, instead of the final one of the training.

    Raises:
        RunError: If a folder holds no run, or a file in it is not what it should be.
    """
    runs = [read_run(path, evaluation=evaluation) for given in run_dirs for path in find_runs(given)]
    arms = group(runs, order=[name for given in run_dirs for name in compared(given)[0]])
    html = render(page_values(arms, title=title))
    write_text(output, html)
    return Written(output, len(html.encode()), _notes(arms))


def page_values(arms: Sequence[Arm], *, title: str | None) -> dict[str, Any]:
    """Everything the template shows."""
    scored = [arm for arm in arms if arm.scores]
    pair = shown_pair(scored or arms)
    palette = _palette(pair[-1].first)
    names = list(pair[-1].first.scores.IoU) if pair[-1].first.scores else []
    match = duel(pair[0], pair[-1]) if len(pair) > 1 else None
    counts = pair[-1].counts
    comparable = len(pair) > 1 and pair[0].first.scores is not None and list(pair[0].first.scores.IoU) == names
    flows = [] if counts is None else largest_flows(counts, pair[0].counts if comparable else None)
    return {
        "title": title or _title(arms[0].first),
        "arms": arms,
        "pair": pair,
        "protocol": _protocol(scored),
        "verdicts": [verdict(arm, scored[0], match if arm is pair[-1] else None) for arm in scored[1:]],
        "standings": standings(arms),
        "seeds": len({run.seed for arm in scored for run in arm.runs if run.scores is not None}),
        "strip": strip(arms),
        "curves": training_charts(arms),
        "names": names,
        "classes": class_rows(scored) if scored else [],
        "scored": scored,
        "absent": left_out({arm.name: arm.scores for arm in scored}),
        "flows": flows,
        "matrix": None if counts is None else matrix(counts, flows),
        "duel": match,
        "reliability": reliability(scored),
        "groups": example_groups(pair, palette),
        "maps": draw_maps(pair),
        "health": health_charts(arms, len(names)),
        "changes": recipe_changes(arms),
        "origins": origins(arms),
        "notes": _notes(arms),
        "colours": chart_colours(palette),
        "marks": {"right": RIGHT, "wrong": WRONG, "void": VOID, "better": BETTER, "both": BOTH_WRONG},
        "version": __version__,
    }


def render(values: Mapping[str, Any]) -> str:
    """Fill in the template; whatever comes from a run, names above all, is escaped."""
    environment = Environment(
        loader=FileSystemLoader(str(_TEMPLATES)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "signed": signed, "direction": direction, "short": short, "hex": as_hex}
    environment.globals |= {"kind_of": kind_of}
    style = environment.get_template("report.css").render(values)
    script = "\n".join(_TEMPLATES.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return environment.get_template("page.html").render(
        **values,
        style=Markup(style),  # noqa: S704 - our own file, filled with colours as numbers
        script=Markup(script),  # noqa: S704 - our own files
        policy=_policy(style, script),
    )


def shown_pair(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms that pictures, maps and confusion are of: the baseline and, of the others, that of the highest mIoU."""
    if len(arms) == 1:
        return (arms[0],)

    def mean(arm: Arm) -> float:
        found = arm.mean(scores.mIoU for scores in arm.scores)
        return -1.0 if found is None else found.mean

    return arms[0], max(arms[1:], key=mean)


def _policy(style: str, script: str) -> str:
    """Content security: this style, this script, pictures inside the page, and nothing from anywhere."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {source(style)}; script-src {source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _title(run: Run) -> str:
    model, data = run.recipe.get("model") or {}, run.recipe.get("data") or {}
    head = (model.get("head") or {}).get("name", "")
    parts = [
        str(model.get("backbone", "")),
        f"+ {head}" if head and head not in str(model.get("backbone")) else "",
        f"on {data['name']}" if "name" in data else "",
    ]
    return " ".join(part for part in parts if part) or run.folder.path.resolve().name


def _protocol(scored: Sequence[Arm]) -> str:
    found = dict.fromkeys(
        f"{scores.protocol}; {scores.images} images; weights after {scores.step} steps"
        for arm in scored
        for scores in arm.scores
    )
    return ". ".join(found)


def _palette(run: Run) -> tuple[Color, ...]:
    """The data set's colours; by default those that the library gives to classes without any."""
    count = len(run.scores.IoU) if run.scores else len(run.palette)
    return run.palette if len(run.palette) == count else spread_colors(count)


def _notes(arms: Sequence[Arm]) -> tuple[str, ...]:
    """What is missing, once each, with whose it is where not all lack it."""
    runs = [(arm, run) for arm in arms for run in arm.runs]
    missing: dict[str, list[str]] = {}
    for arm, run in runs:
        for note in run.missing:
            missing.setdefault(note, []).append(f"{arm.name}, seed {run.seed}")
    shown = []
    for note, whose in missing.items():
        shown.append(note if len(whose) == len(runs) else f"{note} ({'; '.join(whose)})")
    bare = [arm.name for arm in arms if arm.embeddings is None]
    if bare:
        whose = [] if len(bare) == len(arms) else bare
        note = "There are no embeddings: `pixelcontrast embed RUN` writes what their maps are drawn from."
        shown.append(f"{note} ({'; '.join(whose)})" if whose else note)
    return tuple(shown)
