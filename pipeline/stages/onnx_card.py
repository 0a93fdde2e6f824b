"""The card of a model that is exported as ONNX: files, inputs, an example, scores, limits.

The example needs numpy, pillow and onnxruntime. It draws what painter draws: its random numbers
are a function of seed, purpose and position (`pipeline/core/randomness.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config
from pipeline.families.registry import parameter_count, takes_photos
from pipeline.models.onnx_file import OPSET
from pipeline.models.portable import UNCONDITIONAL, PortableNetwork, TensorSpec
from pipeline.scoring.metric_table import METRIC, Place, keys_in
from pipeline.scoring.record import metric_value
from pipeline.stages.card_header import Publication, card_header
from pipeline.stages.model_card import GENERATES, TRANSLATES, TRANSLATES_BACK, count_in_words

STREAM = """\
def stream(seed, purpose, position=0):  # random numbers as painter draws them
    key = np.array([seed, zlib.crc32(purpose.encode())], np.uint64)
    counter = np.array([0, 0, position, 0], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))
"""
READ = """\
def read(path, side):  # an RGB image in [-1, 1], its centre at that size
    image = Image.open(path).convert("RGB")
    image = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1
"""


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file of a model."""

    name: str
    network: PortableNetwork
    size: int
    """Bytes."""
    difference: float
    """The largest between onnxruntime's images and torch's, of a range of 2."""


def onnx_card(
    name: str,
    config: Config,
    files: Sequence[OnnxFile],
    publication: Publication,
    score: Mapping[str, Any] | None,
    reverse: bool = False,
) -> str:
    """Return the card of a model in ONNX files, in Markdown.

    Args:
        name: of the model.
        config: of its generator.
        files: in the order in which one's images are the next one's input.
        publication: licence and data.
        score: the measured metrics of its images; None if there are none.
        reverse: whether it translates the other way, from what the run learned to paint like.
    """
    task = files[0].network.task
    drawn = task == UNCONDITIONAL
    sections = [
        card_header(name, publication, task, "onnx", score, ["onnx", config.family]),
        f"# {name}",
        _introduction(config),
        "## Files",
        _table_of(files),
        EXAMPLES,
        "## Inputs and outputs",
        _tensors(files),
        "## Use",
        "`pip install onnxruntime numpy pillow`",
        f"```python\n{example(files, config)}```",
        *([SAME_IMAGES] if drawn else []),
        "## Scores",
        _scores(score),
        "## Limits",
        f"{_what_it_does(config, drawn, reverse)} {RIGHTS_IN_IMAGES}",
    ]
    return "\n\n".join(sections) + "\n"


def _what_it_does(config: Config, drawn: bool, reverse: bool) -> str:
    if takes_photos(config):
        return TRANSLATES_BACK if reverse else TRANSLATES
    return GENERATES if drawn else UPSCALES


def _introduction(config: Config) -> str:
    return (
        f"A model of family `{config.family}` that painter trained, as ONNX (opset {OPSET}) for "
        "onnxruntime, browsers and other programs. Images are float32 from -1 to 1, channels "
        "first; any number of them at once."
    )


EXAMPLES = (
    "`NAME.npz` beside each `NAME.onnx` holds the arrays of its inputs, and the images that torch "
    "makes of them. The last column is the largest difference to these in onnxruntime."
)
SAME_IMAGES = (
    "`seed` and `numbers` count as `painter generate --seed` does: these are painter's first "
    "images, but for JPEG, and for the 16 bits that painter computes in where a processor has them."
)
RIGHTS_IN_IMAGES = (
    "Scores are against the images that it was trained on, whose own rights apply to them; Monet's "
    "paintings are in the public domain."
)
UPSCALES = "It adds texture to small images like those that it was trained on."


def example(files: Sequence[OnnxFile], config: Config) -> str:
    """Return a Python program that makes images with the files, in their folder."""
    inputs = [spec for file in files for spec in file.network.inputs]
    names = files[0].network.names
    used = " ".join(spec.drawn for spec in inputs)
    helpers = [text for word, text in (("stream(", STREAM), ("read(", READ)) if word in used]
    imports = ["import zlib\n", "import numpy as np", "import onnxruntime"]
    imports += ["from PIL import Image, ImageOps" if "read(" in used else "from PIL import Image"]
    lines = [f"{name} = {value}" for name, value in names.items() if name in used]
    for file in files:
        lines += _lines_of(file)
    text = "\n".join(imports if "stream(" in used else imports[1:])
    return (
        "\n\n".join([text, *helpers]) + "\n" + "\n".join([*lines, *_saving(files, config)]) + "\n"
    )


def _lines_of(file: OnnxFile) -> list[str]:
    """Return the lines that run a file."""
    inputs = file.network.inputs
    lines = [f"{spec.name} = {spec.drawn}" for spec in inputs]
    feed = ", ".join(f'"{spec.name}": {spec.name}' for spec in inputs)
    return [
        *lines,
        f'session = onnxruntime.InferenceSession("{file.name}")',
        f"{file.network.output.name} = session.run(None, {{{feed}}})[0]",
    ]


def _saving(files: Sequence[OnnxFile], config: Config) -> list[str]:
    """Return the lines that save the images as painter finishes them."""
    output, last = config.output, files[-1].network
    grey = "" if last.output.axes[1] == 3 else ".repeat(3, 0)"
    larger = ""
    from_noise = files[0].network.task == UNCONDITIONAL  # an upscaler after it is none
    if from_noise and last.output.axes[-1] != output.output_size:
        side, method = output.output_size, output.resampling.upper()
        larger = f".resize(({side}, {side}), Image.Resampling.{method})"
    return [
        f"for number, image in enumerate({last.output.name}, 1):",
        f"    pixels = ((image{grey} + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0)",
        f'    Image.fromarray(pixels){larger}.save(f"{{number}}.png")',
    ]


def _table_of(files: Sequence[OnnxFile]) -> str:
    rows = ["| file | MB | parameters | difference to torch |", "|---|---|---|---|"]
    for file in files:
        count = parameter_count(file.network.network)
        rows.append(
            f"| `{file.name}` | {file.size / 1e6:.1f} | {count:,} | {file.difference:.1g} of 2 |"
        )
    return "\n".join(rows)


def _tensors(files: Sequence[OnnxFile]) -> str:
    rows = ["| file | tensor | axes | what |", "|---|---|---|---|"]
    for file in files:
        network = file.network
        for spec, side in [*((s, "input") for s in network.inputs), (network.output, "output")]:
            rows.append(
                f"| `{file.name}` | {side} `{spec.name}` | {_axes(spec)} | {spec.meaning} |"
            )
    return "\n".join(rows)


def _axes(spec: TensorSpec) -> str:
    return " × ".join(map(str, spec.axes))


def _scores(score: Mapping[str, Any] | None) -> str:
    """Return a score as a table."""
    if score is None:
        return "None: these images have not been scored."
    rows = ["| metric | value |", "|---|---|"]
    for metric in (METRIC[key] for key in keys_in(Place.CARD)):
        value = metric_value(score, metric)
        if value is not None:
            rows.append(f"| {metric.label} | {metric.text(value)} |")
    return "\n".join(rows) + (
        f"\n\nFeatures `{score.get('features')}`, {count_in_words(score.get('n_generated'))} "
        "generated images, which painter made of the same weights."
    )
