"""What a shell completes: presets, models, runs, snapshots, studies. It reads names, no networks.

How to switch it on: docs/command-line.md. Where nothing that is known begins like the word, the
shell completes files or folders as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from click import Context, Parameter
from click.shell_completion import CompletionItem

RUNS = "runs"
"""Folder in which runs are looked for, unless the word says another."""
MAX_DEPTH = 3
"""Folders below that: the runs of a study lie in `runs/studies/NAME`."""


def complete_presets(_: Context, __: Parameter, word: str) -> list[CompletionItem]:
    """Return the presets that begin like a word, with what each is."""
    from pipeline.config.presets import all_about

    return [
        CompletionItem(about.name, help=about.summary)
        for about in all_about()
        if about.name.startswith(word)
    ]


def complete_models(_: Context, __: Parameter, word: str) -> list[CompletionItem]:
    """Return the models that come with painter and begin like a word."""
    from pipeline.models.shipped import model_names

    return _beginning(word, model_names())


def complete_runs(_: Context, __: Parameter, word: str) -> list[CompletionItem]:
    """Return the run folders that begin like a word; without any, folders."""
    return _beginning(word, map(str, run_folders(word))) or [CompletionItem(word, type="dir")]


def complete_snapshots(_: Context, __: Parameter, word: str) -> list[CompletionItem]:
    """Return the snapshots of runs that begin like a word; without any, files."""
    found = (str(path) for run in run_folders(word) for path in _snapshots_of(run))
    return _beginning(word, found) or [CompletionItem(word, type="file")]


def complete_runs_and_snapshots(
    context: Context, parameter: Parameter, word: str
) -> list[CompletionItem]:
    """Return the run folders that begin like a word, or the snapshots in one; else files."""
    runs = complete_runs(context, parameter, word)
    return runs if runs[0].type == "plain" else complete_snapshots(context, parameter, word)


def complete_studies(_: Context, __: Parameter, word: str) -> list[CompletionItem]:
    """Return the studies that come with painter and begin like a word; without any, files."""
    from pipeline.study.shipped import study_names

    return _beginning(word, study_names()) or [CompletionItem(word, type="file")]


def run_folders(word: str) -> list[Path]:
    """Return the run folders in the folder that a word begins with, itself too; else in `runs`."""
    folder = Path(word if word.endswith("/") else Path(word).parent) if "/" in word else Path(RUNS)
    itself = [folder] if _is_run(folder) else []
    return sorted([*itself, *_runs_below(folder, MAX_DEPTH)])


def _runs_below(folder: Path, depth: int) -> Iterable[Path]:
    """Yield folders with a config.json; what is in one of them is not looked at."""
    try:
        inner = [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return
    for path in inner:
        if _is_run(path):
            yield path
        elif depth > 1 and not path.name.startswith("."):
            yield from _runs_below(path, depth - 1)


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _snapshots_of(run: Path) -> list[Path]:
    return sorted([*run.glob("*.safetensors"), *run.glob("models/*.safetensors")])


def _beginning(word: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(word)]
