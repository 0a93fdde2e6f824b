"""Generated images as inputs of an upscaler's training: `painter train --generator`.

An upscaler is trained on downsampled real images, and used on generated images, which are of
another distribution: it should see both.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from tqdm import tqdm

from pipeline.config import Config, OutputConfig
from pipeline.core.errors import ConfigError
from pipeline.families.registry import is_upscaler, make_sampler, takes_photos
from pipeline.families.upscaler.settings import UpscalerNetwork
from pipeline.models.snapshot import Snapshot
from pipeline.system.devices import default_device

IMAGE_COUNT = 4096
"""Generated images: more than an upscaler can memorise in an hour."""
SEED = 2**61
"""Other images than those that are submitted."""
BATCH_SIZE = 64


def generate_inputs(loaded: Snapshot, config: Config, count: int | None = None) -> torch.Tensor:
    """Generate images before upscaling, uint8 (count, 3, s, s).

    Args:
        loaded: the generator.
        config: of the upscaler's training.
        count: how many; by default `IMAGE_COUNT`.

    Raises:
        ConfigError: if the training is not an upscaler's, or does not fit the generator.
    """
    count = IMAGE_COUNT if count is None else count
    side = loaded.config.data.image_size
    check_generator_fits(config, loaded.config)
    truncation = loaded.config.output.truncation  # of the images that will be enlarged, too
    output = OutputConfig(output_size=side, upscale="bicubic", truncation=truncation)  # not resized
    sampler = make_sampler(loaded, SEED, default_device(), output)
    images: list[np.ndarray] = []
    for start in tqdm(range(0, count, BATCH_SIZE), desc="make images", leave=False):
        images += sampler(range(start, min(start + BATCH_SIZE, count)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def check_generator_fits(config: Config, generator: Config, called: str = "--generator") -> None:
    """Check that an upscaler can be trained for a generator.

    Args:
        config: of the upscaler's training.
        generator: of the generator.
        called: name of the generator in messages.

    Raises:
        ConfigError: if the first is no upscaler, the second is one or translates photos, or the
            sizes do not fit.
    """
    if not is_upscaler(config):
        raise ConfigError(
            f"{called} is for training an upscaler; this is family {config.family!r}."
        )
    if is_upscaler(generator):
        raise ConfigError(f"{called} is an upscaler; expected a generator.")
    if takes_photos(generator):
        raise ConfigError(
            f"{called} translates photos, and a translation has the size of its photo: nothing is "
            "left to enlarge. An upscaler is trained for a generator from noise."
        )
    assert isinstance(config.network, UpscalerNetwork)
    expected = config.data.image_size // config.network.upscale_factor
    if generator.data.image_size != expected:
        raise ConfigError(
            f"{called} makes images of {generator.data.image_size} pixels; an upscaler from "
            f"{expected} to {config.data.image_size} is trained. Change upscale_factor."
        )


def generator_hash(snapshot: Snapshot) -> str:
    """Return a sha256 of a generator's weights alone, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(snapshot.generator.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
