"""The commands on data: download, explore."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.help import command
from pipeline.cli.options import (
    PathOption,
    data_option,
    domain_option,
)
from pipeline.core.advice import counted, lines_of_left_out


@command(
    example="painter download --source competition --data data/monet",
    writes="the images and manifest.json, with counts, sizes, duplicates and a hash, to DATA.",
)
@click.option(
    "--source", required=True, help="competition, dataset:OWNER/SLUG, sample, or a folder or zip."
)
@click.option("--data", type=PathOption, required=True, help="Folder to make.")
def download(source: str, data: Path) -> None:
    """Bring images into a data folder, with a manifest."""
    from pipeline.data.sources import download

    manifest = download(source, data)
    where = "already in" if manifest.get("already_there") else "in"
    count = counted(manifest["count"], "image")
    new = newer(source, data, manifest.get("new_in_source", []))
    click.echo(f"{count} ({manifest['bytes'] / 1e6:.1f} MB) {where} {data}{new}")
    if back := manifest.get("restored"):
        click.echo(
            f"{counted(len(back), 'image')} of these had been removed from {data} (such as "
            f"{back[0]}) and came back. To leave some out, copy the others to a folder of their "
            "own: --data takes any.",
            err=True,
        )
    if manifest["duplicates"]:
        click.echo(f"{counted(len(manifest['duplicates']), 'group')} of identical files")
    for line in lines_of_left_out(manifest["unreadable"]):
        click.echo(line, err=True)


def newer(source: str, data: Path, names: list[str]) -> str:
    """Return how a line goes on about images that a source has got since its download."""
    if not names:
        return ""
    more = counted(len(names), "other image")
    return f"; {source} has {more} by now (such as {names[0]}): move {data} away to fetch it anew"


@command(
    example="painter explore --data data/monet",
    writes="explore.html, its numbers and pictures to DATA.explore.",
)
@data_option
@domain_option
@click.option("--out", type=PathOption, help="Folder to write to [default: DATA.explore].")
def explore(data: Path, domain: str | None, out: Path | None) -> None:
    """Look at the images: what they hold, on one page.

    Statistics of each pixel, file sizes, round canvases, near-duplicates.
    """
    from pipeline.data.images import open_images
    from pipeline.stages.explore import explore
    from pipeline.system.storage import check_writable

    beside = data.resolve()
    target = out or beside.with_name(f"{beside.name}.explore")
    if target.resolve().is_relative_to(beside):
        raise click.UsageError(
            f"--out is {target}, inside the data {data}, of whose images its pictures would be "
            "the next time. Choose a folder outside."
        )
    check_writable(target / "explore.html")
    statistics = explore(open_images(data, domain), target)
    round_canvases = len(statistics["round_canvases"])
    near_duplicates = len(statistics["near_duplicates"]["pairs"])
    click.echo(
        f"{counted(statistics['count'], 'image')}, {round_canvases:,} on round canvases, "
        f"{counted(near_duplicates, 'near-duplicate')}; {target / 'explore.html'}"
    )
