"""ONNX files: a network written for other programs, and checked against torch.

ONNX (https://onnx.ai) is what onnxruntime, browsers, phones and game engines read. torch's own
exporter traces the network; painter adds what the inputs are, then runs the file in onnxruntime on
the examples and compares with torch, so that a file that computes something else is never kept.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.core.errors import ConfigError, WorkFailed
from pipeline.models.portable import BATCH, IMAGES, PortableNetwork, TensorSpec
from pipeline.system.storage import write_bytes

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What exporting needs: torch's exporter the first two, the check the third."""
INSTALL = f"pip install {' '.join(PACKAGES)}"
OPSET = 18
"""The operators' version: the one that torch's exporter writes without converting it. onnxruntime
1.14 (2023) and later read it."""
TOLERANCE = 1e-3
"""Largest difference to torch in images from -1 to 1: an eighth of one of 255 levels. Both compute
in float32 and sum in other orders; networks of full size differ by some 1e-6."""


def check_packages() -> None:
    """Check that what exporting needs is installed.

    Raises:
        ConfigError: with the line that installs it.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"--format onnx needs {' and '.join(missing)}, which is not installed. Install it: "
            f"{INSTALL}"
        )


def write_onnx(path: Path, network: PortableNetwork, about: Mapping[str, str]) -> float:
    """Write a network as an ONNX file, and its examples beside it as NAME.npz.

    The examples are the arrays of all inputs and the images that torch makes of them.

    Args:
        path: a name ending in .onnx.
        network: what to write.
        about: the file's own metadata, by names; what the inputs are is added.

    Returns:
        The largest difference between onnxruntime's images and torch's, of a range of 2.

    Raises:
        WorkFailed: if the network cannot be traced, or the file computes something else.
    """
    import onnx

    model = _traced(network)
    for name, value in (dict(about) | _described(network)).items():
        model.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    expected = network.images().numpy()
    difference = _largest_difference(content, network, expected)
    if not difference <= TOLERANCE:
        raise WorkFailed(
            f"{path.name} makes other images in onnxruntime than in torch: they differ by "
            f"{difference:.2g} of a range of 2, and at most {TOLERANCE:g} is rounding. It was not "
            "kept. Try other versions of onnxscript and onnxruntime."
        )
    write_bytes(path, content)
    write_bytes(path.with_suffix(".npz"), _samples(network, expected))
    return difference


def _samples(network: PortableNetwork, images: np.ndarray) -> bytes:
    """Return a NumPy archive of the examples' inputs and images."""
    arrays = {s.name: a for s, a in zip(network.inputs, _arrays(network), strict=True)}
    content = io.BytesIO()
    np.savez(content, **arrays, **{IMAGES: images})  # type: ignore[arg-type]  # names of arrays
    return content.getvalue()


class _ByPosition(nn.Module):
    """A network whatever its arguments are called, so that the names of the inputs are ours."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.network(*inputs)
        return images


def _traced(network: PortableNetwork) -> Any:
    """Return the network as an ONNX model."""
    free = {axis: torch.export.Dim(axis) for axis in _free_axes(network.inputs)}
    shapes = tuple(
        {place: spec.multiple * free[axis] if axis != BATCH else free[axis]
         for place, axis in enumerate(spec.axes) if isinstance(axis, str)}
        for spec in network.inputs
    )  # fmt: skip
    with _quiet():
        try:
            program = torch.onnx.export(
                _ByPosition(network.network).eval(),
                network.examples,
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in network.inputs],
                output_names=[network.output.name],
                dynamic_shapes=(shapes,),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()
            raise WorkFailed(
                f"torch cannot write this network as ONNX: {reason[0] if reason else error!r}"
            ) from error
    assert program is not None
    model = program.model_proto
    _drop_traces(model.graph)
    return model


def _drop_traces(graph: Any) -> None:
    """Remove what the exporter notes of each operator: paths and source lines of this machine."""
    values = (*graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (graph, *graph.node, *values):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _free_axes(inputs: Sequence[TensorSpec]) -> list[str]:
    return sorted({axis for spec in inputs for axis in spec.axes if isinstance(axis, str)})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from warning of itself: what it writes is checked afterwards."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _described(network: PortableNetwork) -> dict[str, str]:
    """Return what the inputs and the output are, as metadata: JSON by their names."""
    described = {
        spec.name: {"axes": spec.axes, "meaning": spec.meaning}
        | ({"drawn": spec.drawn} if spec.drawn else {})
        for spec in (*network.inputs, network.output)
    }
    return {f"tensor {name}": json.dumps(value) for name, value in described.items()}


def _arrays(network: PortableNetwork) -> list[np.ndarray]:
    return [example.numpy() for example in network.examples]


def _largest_difference(content: bytes, network: PortableNetwork, expected: np.ndarray) -> float:
    """Return the largest difference of the file's images, all at once and the first alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in network.inputs]
    found = []
    for rows in (slice(None), slice(1)):
        feed = {n: a[rows] for n, a in zip(names, _arrays(network), strict=True)}
        (images,) = session.run(None, feed)
        if images.shape != expected[rows].shape:
            return float("inf")
        found.append(np.abs(images - expected[rows]).max())
    return float(max(found))
