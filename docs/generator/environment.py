"""docs/reference/environment.md: make targets, their variables, and environment variables."""

from __future__ import annotations

import re

from docs.generator.markdown import code, document, plain, table
from docs.generator.sources import ROOT

MAKEFILE = ROOT / "Makefile"
PAINTERS = {
    "PAINTER_CACHE": "Folder for what can be made or downloaded again: Inception weights, features "
    "of reference images, decoded images. By default where the platform keeps caches.",
    "PAINTER_FAMILIES": "Modules with [families of your own](../add-a-family.md), with commas "
    "between them.",
    "PAINTER_DEVICE": "What to compute on, unless `--device` says: auto, cpu, cuda, cuda:1 or "
    "mps. See [machines](../machines.md).",
    "OMP_NUM_THREADS": "Processor threads to compute with, unless `--threads` says. By default as "
    "many as there are free cores.",
}
"""Variables that say how painter works."""
KAGGLES = {
    "KAGGLE_API_TOKEN": "The API token, or a file that holds it. By default "
    "`~/.kaggle/access_token` is read.",
    "KAGGLE_USERNAME": "User name, with `KAGGLE_KEY`, the older form; by default from "
    "`~/.kaggle/kaggle.json`.",
    "KAGGLE_KEY": "Key of that user.",
    "KAGGLE_CONFIG_DIR": "Folder of `kaggle.json`, in place of `~/.kaggle`.",
    "XDG_CONFIG_HOME": "On Linux, where there is no `~/.kaggle`: the folder in whose `kaggle` the "
    "file `kaggle.json` is looked for. By default `~/.config`.",
    "HTTP_PROXY": "A proxy, as the libraries take it that painter downloads with. A password in it "
    "is never shown; so with the next three, and with names in small letters.",
    "HTTPS_PROXY": "The same for encrypted connections.",
    "ALL_PROXY": "The same for all.",
    "KAGGLE_PROXY": "The same for Kaggle's client.",
}
"""Variables by which Kaggle is reached."""
TRACKERS = {
    "WANDB_PROJECT": "Project of [Weights & Biases](../watching.md#trackers-the-setting-tracker); "
    "by default `painter`.",
    "TRACKIO_PROJECT": "The same of trackio.",
}
"""Variables of trackers; their programs have more."""
HUBS = {
    "HF_TOKEN": "The hub's token for `painter export --push`. By default what `hf auth login` "
    "keeps.",
    "HF_ENDPOINT": "Another hub than https://huggingface.co.",
}
"""Variables by which the hub's own client reaches the Hugging Face hub."""
OTHERS = {
    "RANK": "Set by torchrun: number of this process.",
    "LOCAL_RANK": "Set by torchrun: its number on this machine, by which it takes a GPU.",
    "WORLD_SIZE": "Set by torchrun: number of processes that share each batch.",
    "CUDA_VISIBLE_DEVICES": "The GPUs that CUDA shows to a process, with commas between them: in a "
    "kernel, each seed's process is shown one.",
    "PYTORCH_ENABLE_MPS_FALLBACK": "For torch: let what an Apple GPU lacks run on the processor. "
    "painter sets it to 1 unless it is set.",
    "KAGGLE_KERNEL_RUN_TYPE": "Set in Kaggle's notebooks, by which one is recognised.",
    "KAGGLE_DATA_PROXY_URL": "The same.",
    "KAGGLE_API_V1_TOKEN": "Set in Kaggle's notebooks: file of the token there.",
    "_PAINTER_COMPLETE": "Set by a shell that [completes names](../command-line.md#completion).",
    "PYTHONPATH": "Handed on to the processes that painter starts, after its own folder.",
    "HF_HOME": "For the hub's client: where it keeps its login, whose token painter strikes out of "
    "what it prints.",
    "HF_TOKEN_PATH": "The same: the file of the token.",
    "XDG_CACHE_HOME": "The same, without `HF_HOME`: the folder in whose `huggingface` it is. By "
    "default `~/.cache`.",
    "NETRC": "For `wandb login` and other clients: the file of their passwords, which painter "
    "strikes out, too. By default `~/.netrc`.",
    "TQDM_MININTERVAL": "Set in a kernel: seconds between lines of progress in its log.",
    "TQDM_MAXINTERVAL": "The same, at most.",
    "PAINTER_REAL_DATA": "For the tests: the competition's zip or folder. Without it, the tests on "
    "the competition's data are skipped.",
}
"""Variables that others set, or that only the tests read."""
_TARGET = re.compile(r"^([a-z-]+):.*?## (.*)$", re.MULTILINE)
_SENTENCE = re.compile(r"^#   ([A-Z]+)  +(.*?)(?: \[default: (.*)\])?$", re.MULTILINE)
_VALUE = re.compile(r"^([A-Z]+) +\?= *(.*)$", re.MULTILINE)


def page() -> str:
    """Return the text of the page."""
    makefile = MAKEFILE.read_text(encoding="utf-8")
    return document(
        "# make targets and environment variables",
        "## make targets",
        "Each is one command, or several, and makes `.venv` first if it is not there. `make` alone "
        "prints this list.",
        table(
            ["target", "what it does"],
            [[code(f"make {name}"), plain(said)] for name, said in _TARGET.findall(makefile)],
        ),
        "## Variables of make",
        'Given after the target: `make train RUN=runs/first ARGS="--minutes 10"`. An arrow in the '
        "list above leads from what a target reads to what it writes.",
        table(["variable", "default", "what it says"], variables(makefile)),
        "## Environment variables",
        _environment(PAINTERS),
        "Kaggle's account and the way to it:",
        _environment(KAGGLES),
        "Trackers:",
        _environment(TRACKERS),
        "The Hugging Face hub, by its own client:",
        _environment(HUBS),
        "Set by others, or for tests:",
        _environment(OTHERS),
    )


def variables(makefile: str) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of make's variables, from its comments and assignments."""
    values = dict(_VALUE.findall(makefile))
    return [
        (code(name), told or (code(values[name]) if values[name] else ""), plain(said))
        for name, said, told in _SENTENCE.findall(makefile)
    ]


def _environment(known: dict[str, str]) -> str:
    return table(["variable", "what it says"], [[code(name), text] for name, text in known.items()])
