"""What a generator makes, as an upscaler sees it: `painter train --generator`.

An upscaler is trained on shrunk paintings, and used on what a generator makes of noise, which is
something else: it should see both.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from tqdm import tqdm

from pipeline.config import Config, OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.families.registry import enlarges, make_sampler
from pipeline.families.upscaler.settings import UpscalerNetwork
from pipeline.models.precision import default_device
from pipeline.models.snapshot import Snapshot

COUNT = 4096
"""Images: more than an upscaler of an hour can know by heart."""
SEED = 2**61
"""Draws other images than those that are submitted."""
BATCH = 64


def make_images(loaded: Snapshot, config: Config, count: int | None = None) -> torch.Tensor:
    """Return images of a generator before they are enlarged, uint8 (count, 3, s, s).

    Args:
        loaded: the generator.
        config: of the upscaler's training.
        count: how many; by default `COUNT`.

    Raises:
        ConfigError: if the training is not an upscaler's, or does not fit the generator.
    """
    count = COUNT if count is None else count
    side = loaded.config.data.image_size
    check_generator_fits(config, loaded.config)
    output = OutputConfig(output_size=side, upscale="bicubic")  # of that size: nothing is enlarged
    sampler = make_sampler(loaded, SEED, default_device(), output)
    images: list[np.ndarray] = []
    for start in tqdm(range(0, count, BATCH), desc="make images", leave=False):
        images += sampler(range(start, min(start + BATCH, count)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def check_generator_fits(config: Config, generator: Config, called: str = "--generator") -> None:
    """Check that an upscaler can be trained for a generator.

    Args:
        config: of the upscaler's training.
        generator: of the generator.
        called: what a message calls the generator.

    Raises:
        ConfigError: if the first is no upscaler, the second is one, or the sizes do not fit.
    """
    if not enlarges(config):
        raise ConfigError(
            f"{called} is for training an upscaler; this is family {config.family!r}."
        )
    if enlarges(generator):
        raise ConfigError(f"{called} is an upscaler; expected a generator.")
    assert isinstance(config.network, UpscalerNetwork)
    expected = config.data.image_size // config.network.upscale_factor
    if generator.data.image_size != expected:
        raise ConfigError(
            f"{called} makes images of {generator.data.image_size} pixels; an upscaler from "
            f"{expected} to {config.data.image_size} is trained. Change upscale_factor."
        )


def generator_hash(snapshot: Snapshot) -> str:
    """Return what names a generator, whatever its snapshot carries beside it, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(snapshot.generator.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
