"""The registry of families, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from pipeline.config import (
    Config,
    OutputConfig,
    apply_settings,
    family_settings,
    register_settings,
)
from pipeline.core.errors import ConfigError
from pipeline.data.images import ImageSet
from pipeline.families.family import Family, Upscaler
from pipeline.families.noise.distributions import LatentDistribution
from pipeline.models.builders import Builder, register_builder
from pipeline.models.builders import build_generator as build_generator  # noqa: PLC0414 - also known here
from pipeline.models.builders import is_upscaler as is_upscaler  # noqa: PLC0414 - the same
from pipeline.models.portable import PortableNetwork
from pipeline.models.samplers import Sampler, class_index
from pipeline.models.snapshot import Snapshot

_FAMILIES: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Register a family, with its settings and builder, and return it."""
    register_settings(family.name, family.settings)
    register_builder(family.name, Builder(family.generator, family.upscaler is not None))
    _FAMILIES[family.name] = family
    return family


def family_of(config: Config) -> Family:
    """Return the family of a config."""
    family_settings(config.family)  # imports it, if it comes with painter
    return _FAMILIES[config.family]


def build_discriminator(config: Config) -> nn.Module:
    """Return a new discriminator of the config's family, which must have one."""
    build = family_of(config).discriminator
    assert build is not None
    return build(config)


def parameter_count(network: nn.Module) -> int:
    """Return the number of parameters in a network."""
    return sum(p.numel() for p in network.parameters())


def make_sampler(
    snapshot: Snapshot,
    seed: int,
    devices: torch.device | Sequence[torch.device],
    output: OutputConfig | None = None,
    wanted_class: str | None = None,
    photos: ImageSet | None = None,
    keep_size: bool = False,
) -> Sampler:
    """Return the sampler of a snapshot, of whatever family.

    Args:
        snapshot: the generator and its config.
        seed: picks the set of images; 0 or more.
        devices: where the generator runs.
        output: size, filter and more; by default those of the snapshot.
        wanted_class: the class of all images; by default any.
        photos: what a translator starts from: image i is the translation of photo i, and beyond
            the last photo of their mirror images. All can be decoded.
        keep_size: translations have the size of their photo, not that of `output`.

    Raises:
        ConfigError: if the family generates no images of its own, has no such class, starts from
            photos and is given none, or is given photos and starts from noise.
    """
    check_makes_images(snapshot.config)
    check_photos_fit(snapshot.config, photos is not None)
    family = family_of(snapshot.config)
    if family.translator is not None:
        class_index(snapshot.config, wanted_class)
        return family.translator(snapshot, devices, output, photos, keep_size)
    assert family.sampler is not None
    return family.sampler(snapshot, seed, devices, output, wanted_class)


def make_upscalers(snapshot: Snapshot, devices: Sequence[torch.device]) -> list[Upscaler]:
    """Return a snapshot's upscaler on each device; in float32 if either was trained in that.

    Raises:
        ConfigError: if it has none.
    """
    if snapshot.upscaler is None:
        raise ConfigError(
            "upscale is 'learned', and the snapshot has no upscaler. Give it one with "
            "`painter generate --upscaler RUN|FILE`, or do without: "
            "`painter generate --upscale lanczos`."
        )
    upscaler = snapshot.upscaler
    if snapshot.config.training.precision == "float32":
        exact = apply_settings(upscaler.config, {"precision": "float32"})
        upscaler = replace(upscaler, config=exact)
    make = family_of(upscaler.config).upscaler
    assert make is not None  # refused when the snapshot was given it
    return [make(upscaler, device, snapshot.config.data.image_size) for device in devices]


def portable_network(snapshot: Snapshot) -> PortableNetwork:
    """Return a snapshot's generator as other programs run it, without its upscaler.

    Raises:
        ConfigError: if the family has no such form.
    """
    return _portable(snapshot)


def portable_upscaler(snapshot: Snapshot) -> PortableNetwork | None:
    """Return the upscaler of a snapshot as other programs run it; None if images need none.

    Raises:
        ConfigError: if its family has no such form.
    """
    if snapshot.upscaler is None or snapshot.config.output.upscale != "learned":
        return None
    return _portable(snapshot.upscaler, snapshot.config.data.image_size)


def _portable(snapshot: Snapshot, *more: int) -> PortableNetwork:
    portable = family_of(snapshot.config).portable
    if isinstance(portable, str):
        raise ConfigError(
            f"Family {snapshot.config.family!r} cannot be exported for other programs: {portable}."
        )
    return portable(snapshot, *more)


def makes_images(config: Config) -> bool:
    """Tell whether a family generates images of its own, and does not only upscale others'."""
    return family_of(config).sampler is not None or takes_photos(config)


def takes_photos(config: Config) -> bool:
    """Tell whether a family's generator starts from photos, the images of a source domain."""
    return family_of(config).translator is not None


def build_reverse(config: Config) -> tuple[str, nn.Module] | None:
    """Return the name of the network that translates the other way, and a new one of its kind.

    None if the family trains no such network.
    """
    family = family_of(config)
    if family.reverse is None:
        return None
    return family.reverse, family.extra_networks(config)[family.reverse]


def check_photos_fit(config: Config, given: bool) -> None:
    """Check that photos are given where a generator starts from photos, and nowhere else.

    Raises:
        ConfigError: if they are missing or of no use.
    """
    if takes_photos(config) and not given:
        raise ConfigError(
            f"Family {config.family!r} translates photos, and there are none. Say where they are: "
            "`painter generate --photos FOLDER_OR_ZIP`."
        )
    if given and not takes_photos(config):
        raise ConfigError(
            f"Photos are given, and family {config.family!r} does not start from any: it is no "
            "translator. Leave them out, or take one: `painter generate --model photo2monet`, "
            "`painter train --preset photo2monet`."
        )


def check_options_used(config: Config, given: Mapping[str, object]) -> None:
    """Check that no options are given that mean something for images from noise alone.

    Args:
        config: of the generator.
        given: the values of such options by their names; one that is not true is not given.

    Raises:
        ConfigError: if there is one, and the family translates photos.
    """
    listed = " and ".join(name for name, value in given.items() if value)
    if listed and takes_photos(config):
        raise ConfigError(
            f"Family {config.family!r} translates photos, and a translation depends on its photo "
            f"alone and has its size: {listed} would have no effect. Leave {listed} out."
        )


def latents_of(config: Config) -> LatentDistribution:
    """Return the distribution of a family's latents.

    Raises:
        ConfigError: if the family generates no images, or none from noise.
    """
    check_makes_images(config)
    latents = family_of(config).latents
    if latents is None:
        instead = "translates photos and " if takes_photos(config) else ""
        raise ConfigError(
            f"Family {config.family!r} {instead}does not make its images from noise, so there is "
            "no space of noise to walk, mix or serve images from. `painter generate` makes its "
            "images."
        )
    return latents(config)


def check_makes_images(config: Config) -> None:
    """Check that a family generates images of its own.

    Raises:
        ConfigError: if it only upscales those of others.
    """
    if not makes_images(config):
        raise ConfigError(
            "This is an upscaler, which makes no images of its own. Give it to a generator: "
            "`painter generate --run RUN --upscaler UPSCALER`."
        )
