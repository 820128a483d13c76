"""What there is to choose from, and the schema of recipes."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pixelcontrast.files import write_text


class Part(StrEnum):
    """What can be listed."""

    RECIPES = "recipes"
    STUDIES = "studies"
    MODELS = "models"
    DATA = "data"
    TERMS = "terms"


def list_parts(
    part: Annotated[Part | None, typer.Argument(help="Only this.", show_default=False)] = None,
) -> None:
    """List recipes, studies, models, data sets and loss terms; `models` alone also counts what some of them cost."""
    listers = {
        Part.RECIPES: _recipes,
        Part.STUDIES: _studies,
        Part.MODELS: _models,
        Part.DATA: _data,
        Part.TERMS: _terms,
    }
    for chosen in [part] if part else list(Part):
        typer.echo(f"{chosen}:")
        for name, text in listers[chosen]():
            typer.echo(f"  {name:26}  {text}".rstrip())
    if part is Part.MODELS:
        _model_costs()


def schema(
    *, output: Annotated[Path | None, typer.Option(help="File to write; the terminal by default.")] = None
) -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them."""
    from pixelcontrast.recipe.root import recipe_schema

    text = json.dumps(recipe_schema(), indent=1) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)


def _recipes() -> list[tuple[str, str]]:
    from pixelcontrast.recipe.sources import find, shipped_names, summary

    return [(name, summary(find(name))) for name in shipped_names()]


def _studies() -> list[tuple[str, str]]:
    from pixelcontrast.compare.studies import study_names, study_path
    from pixelcontrast.recipe.sources import first_comment

    return [(name, first_comment(study_path(name).read_text(encoding="utf-8"))) for name in study_names()]


def _models() -> list[tuple[str, str]]:
    from pixelcontrast.nn.heads import Head
    from pixelcontrast.recipe.kinds import names, option_classes
    from pixelcontrast.recipe.schema import summary

    heads = [(f"head: {names(head)[0]}", summary(head)) for head in option_classes(Head)]
    return [("backbone: NAME", "Any timm model with feature maps, such as hrnet_w18_small or resnet50."), *heads]


def _model_costs() -> None:
    from pixelcontrast.nn.costs import listed_models

    typer.echo("19 classes, one image of 512x1024:")
    typer.echo(f"  {'backbone':30}  {'head':14}{'parameters':>12}{'FLOPs':>12}  contrast attaches to")
    for cost in listed_models():
        sizes = f"{cost.parameters / 1e6:10.2f} M{cost.flops / 1e9:10.1f} G"
        typer.echo(f"  {cost.model.backbone:30}  {cost.model.head.name:14}{sizes}  {cost.feature_channels} channels")


def _data() -> list[tuple[str, str]]:
    from pixelcontrast.data import DataSet, describe
    from pixelcontrast.recipe.kinds import option_classes

    cards = [describe(options) for options in option_classes(DataSet)]
    rows = []
    for card in cards:
        rows += [(card.name, card.summary), ("", f"layout: {card.layout}"), ("", f"splits: {', '.join(card.splits)}")]
        rows += [("", f"classes: {', '.join(card.classes)}")] if card.classes else []
    return rows


def _terms() -> list[tuple[str, str]]:
    from pixelcontrast.contrast import ContrastOptions
    from pixelcontrast.losses import DenseTerm
    from pixelcontrast.recipe.kinds import names, option_classes
    from pixelcontrast.recipe.schema import attribute_docs, summary

    rows = []
    for term in option_classes(DenseTerm):
        rows.append((f"loss: {names(term)[0]}", summary(term)))
        rows += [(f"  {key}", text) for key, text in attribute_docs(term).items() if key != "name"]
    rows.append(("contrast", summary(ContrastOptions)))
    return rows + [(f"  {key}", text) for key, text in attribute_docs(ContrastOptions).items()]
