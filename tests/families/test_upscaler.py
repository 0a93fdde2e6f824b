"""The upscaler: network, training and use in a snapshot."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.cli import run_command
from pipeline.cli.generate import keep_upscaler
from pipeline.config import Config, OutputConfig, apply_settings, load_preset
from pipeline.core.errors import ConfigError, RunError
from pipeline.data.decoding import resize_and_crop
from pipeline.data.images import ImageSet
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import (
    build_discriminator,
    build_generator,
    family_of,
    make_sampler,
    parameter_count,
)
from pipeline.families.upscaler import generated_inputs
from pipeline.families.upscaler.generated_inputs import SEED, generate_inputs, generator_hash
from pipeline.families.upscaler.inputs import Crops, crop
from pipeline.families.upscaler.networks import downsample
from pipeline.families.upscaler.noise_map import noise_map
from pipeline.families.upscaler.objective import UpscalerObjective
from pipeline.families.upscaler.sampler import UPSCALER_BATCH
from pipeline.families.upscaler.settings import UpscalerNetwork
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import (
    attach_upscaler,
    load_hashed_snapshot,
    load_snapshot,
    save_snapshot,
    with_upscaler,
    write_snapshot,
)
from pipeline.models.weights import WeightPrecision
from pipeline.runs.folder import RunFolder
from pipeline.system.storage import write_json
from pipeline.training.loop import train
from pipeline.training.validation_score import make_validation_score
from submission.kernel.settings import KernelSettings
from tests.support.factories import CPU, batches_of, data_about, tiny_config
from tests.support.helpers import fill

TINY = apply_settings(
    load_preset("upscaler64to256"),
    {
        "image_size": 64, "crop_size": 32, "generator_channels": 16, "discriminator_channels": 4,
        "residual_blocks": 1, "batch_size": 2, "minutes": None, "images": 8, "precision": "float32",
        "sample_count": 2, "log_every": 1,
    },
)  # fmt: skip
SCALES = apply_settings(
    TINY,
    {"independent_noise": True, "discriminator_scales": 2, "crop_scale": 1.5, "residual_blocks": 2},
)
"""Noise of its own at each size, patches judged at two, and crops of areas of random size."""
TINY_GENERATOR = tiny_config(output_size=128, precision="float32")
DATA = data_about(5)


def paintings(count: int = 5, side: int = 64) -> torch.Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8)
    smooth = F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).byte()


def lively(config: Config = TINY) -> torch.nn.Module:
    """Return an upscaler whose every weight counts, as after a training."""
    torch.manual_seed(1)
    network = build_generator(config)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


def snapshots(folder: Path) -> tuple[Path, Path]:
    """Write a generator's and an upscaler's snapshot."""
    torch.manual_seed(2)
    generator = build_generator(TINY_GENERATOR)
    save_snapshot(folder / "g.safetensors", generator, TINY_GENERATOR, 8, {"fid": 1.5})
    save_snapshot(folder / "u.safetensors", lively(), TINY, 16)
    return folder / "g.safetensors", folder / "u.safetensors"


# --- Network


@pytest.mark.parametrize("factor", [2, 4])
def test_it_enlarges_by_its_factor_and_begins_as_the_bicubic_filter(factor: int) -> None:
    config = apply_settings(TINY, {"upscale_factor": factor})
    network = build_generator(config).eval()
    small = torch.rand(2, 3, 8, 12) * 1.6 - 0.8
    images = network(torch.cat([small, torch.randn(2, 16, 8, 12)], 1))
    assert images.shape == (2, 3, 8 * factor, 12 * factor)
    bicubic = F.interpolate(small, scale_factor=float(factor), mode="bicubic").clamp(-1, 1)
    # The last weights start at deviation 0.001, on 16 channels of 9 pixels of size about 1.
    assert (images - bicubic).abs().max() < 0.1


@pytest.mark.parametrize("width", [4, 24, 96])
def test_any_width_is_served(width: int) -> None:
    config = apply_settings(TINY, {"generator_channels": width})
    network = build_generator(config)
    assert network(torch.zeros(1, 19, 8, 8)).shape == (1, 3, 32, 32)


def test_every_noise_channel_counts() -> None:
    network = lively()
    z = torch.randn(1, 19, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(network(z * 0.1).sum(), z)
    assert (slope.abs().amax((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("factor", [2, 4])
def test_each_block_and_size_has_noise_of_its_own_on_request(factor: int) -> None:
    config = apply_settings(SCALES, {"upscale_factor": factor})
    assert isinstance(config.network, UpscalerNetwork)
    count = config.network.noise_channels
    assert count == 16 + 2 + (4 if factor == 2 else 4 + 16)
    network = lively(config)

    def counting_channels() -> torch.Tensor:
        z = 0.1 * torch.randn(1, 3 + count, 8, 8)
        z.requires_grad_()
        (slope,) = torch.autograd.grad(network(z).square().sum(), z)
        return slope.abs().amax((0, 2, 3))[3:] > 0

    assert counting_channels().all()
    largest = network.doublings[-1]  # type: ignore[index]  # a list of modules
    largest.loudness.data.zero_()  # type: ignore[union-attr]
    assert counting_channels().tolist() == [i < count - factor**2 for i in range(count)]
    assert network(torch.zeros(2, 3 + count, 8, 12)).shape == (2, 3, 8 * factor, 12 * factor)


def test_a_block_adds_its_noise_by_the_strength_of_each_channel() -> None:
    network = build_generator(SCALES).eval()
    seen = []
    network.doublings[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[index,union-attr]
    strengths = torch.randn(16, 1, 1)
    network.loudness[1].data.copy_(strengths)  # type: ignore[index]
    z = torch.randn(1, 3 + 38, 4, 4)
    without = z.clone()
    without[:, 3 + 17] = 0
    for inputs in (z, without):
        network(inputs)
    # The last block begins as the identity, so its noise is all that differs; float32 rounding.
    assert torch.allclose(seen[0] - seen[1], strengths * z[:, 3 + 17, None], atol=1e-5)


def test_patches_at_two_sizes_weigh_the_same() -> None:
    discriminator = build_discriminator(SCALES).eval()
    images = torch.randn(2, 3, 32, 64)
    logits = discriminator(images)
    assert logits.shape == (2 * 2 * 4 * 8,)
    large = build_discriminator(TINY).eval()
    large.load_state_dict(discriminator.state_dict(), strict=False)
    small = build_discriminator(TINY).eval()
    small.layers.load_state_dict(discriminator.smaller[0].state_dict())  # type: ignore[index,union-attr]
    halves = F.interpolate(images, scale_factor=0.5, mode="area")
    mean = (large(images).mean() + small(halves).mean()) / 2
    assert logits.mean().item() == pytest.approx(mean.item(), abs=1e-6)  # float32 rounding


def test_its_discriminator_judges_patches() -> None:
    discriminator = build_discriminator(TINY)
    assert discriminator(torch.randn(2, 3, 32, 64)).shape == (2 * 4 * 8,)


def test_the_preset_is_small() -> None:
    config = load_preset("upscaler64to256")
    count = parameter_count(build_generator(config))
    assert count * 2 < 2_000_000  # bytes in half precision, beside a DCGAN of 7 MB


def test_shrinking_is_what_loading_does() -> None:
    image = paintings(1)[0]
    by_pillow = resize_and_crop(Image.fromarray(image.permute(1, 2, 0).numpy()), 16)
    shrunk = downsample(image[None].float(), 4)[0].permute(1, 2, 0).round().clamp(0, 255).numpy()
    # Pillow rounds after each of the two directions, and its weights have 8 bits.
    assert np.abs(shrunk - by_pillow.astype(float)).max() <= 2


# --- Training


def test_crops_are_where_they_say() -> None:
    images = torch.arange(2 * 3 * 6 * 6).view(2, 3, 6, 6)
    cut = crop(images, np.array([[0, 3], [2, 1]]), 3)
    assert torch.equal(cut[0], images[0, :, 0:3, 3:6])
    assert torch.equal(cut[1], images[1, :, 2:5, 1:4])


def test_a_batch_is_crops_and_what_they_shrink_to() -> None:
    batches = batches_of(paintings(), TINY, CPU)
    batch = batches(3)
    assert batch.real.shape == (2, 3, 32, 32)
    assert batch.inputs.shape == (2, 19, 8, 8)
    assert torch.equal(batch.inputs[:, :3], downsample(batch.real, 4))
    again = batches_of(paintings(), TINY, CPU)(3)
    assert torch.equal(batch.inputs, again.inputs)
    assert not torch.equal(batch.inputs, batches(4).inputs)


def test_scaled_crops_show_areas_of_random_size() -> None:
    ramp = torch.arange(64.0).expand(64, 3, 64, 64) / 64
    crops = Crops.from_config(SCALES)
    found = crops.large(ramp, 1, 64, slice(None))
    assert found.shape == (64, 3, 32, 32)
    inner = found[:, 0, 16, 8:24]  # beyond the reach of the edges
    steps = (inner[:, -1] - inner[:, 0]) / 15 * 64  # pixels of the ramp a pixel of the crop
    # Areas of 32 to 48 pixels; between pixels, a cubic filter is off a ramp by up to 0.1 of one.
    assert 0.99 < steps.min() < 1.1
    assert 1.4 < steps.max() < 1.51
    assert found.min() >= -0.05  # a cubic filter overshoots at the edges, by less than a pixel
    assert found.max() <= 1.05
    shares = [crops.large(ramp, step, 64, slice(None))[:, 0, 16, 16] for step in range(4)]
    assert torch.cat(shares).std() > 0.05  # areas lie anywhere


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("base", [TINY, SCALES], ids=["plain", "scales"])
def test_rows_are_those_of_the_whole_batch(made: bool, base: Config) -> None:
    pool = paintings(7, 16) if made else None
    config = apply_settings(base, {"batch_size": 4, "input_noise": 0.1})
    whole = batches_of(paintings(), config, CPU, source_images=pool)(2)
    part = batches_of(paintings(), config, CPU, slice(1, 3), source_images=pool)(2)
    assert torch.equal(part.real, whole.real[1:3])
    rows = [1, 2, 5, 6] if made else [1, 2]
    assert torch.equal(part.inputs, whole.inputs[rows])


def test_made_images_follow_the_paintings() -> None:
    white = torch.full((3, 3, 16, 16), 255, dtype=torch.uint8)
    batch = batches_of(paintings(), TINY, CPU, source_images=white)(1)
    assert batch.inputs.shape == (4, 19, 8, 8)
    assert torch.equal(batch.inputs[2:, :3], torch.ones(2, 3, 8, 8))


def test_noise_is_added_to_the_input_alone() -> None:
    plain = Crops.from_config(TINY)
    noisy = Crops.from_config(apply_settings(TINY, {"input_noise": 0.2}))
    large = paintings(2, 32).float() / 127.5 - 1
    change = (noisy.small(large, 1, 2, slice(None)) - plain.small(large, 1, 2, slice(None)))[:, :3]
    deviations = change.flatten(1).std(1)
    assert (deviations > 0).all()
    # 192 numbers a crop: their deviation is within 30 % (six standard errors) of at most 0.2.
    assert (deviations < 0.26).all()


def test_the_loss_is_the_weighted_sum() -> None:
    objective = family_of(TINY).objective(TINY, CPU)
    assert isinstance(objective, UpscalerObjective)
    assert isinstance(family_of(Config()).objective(Config(), CPU), AdversarialObjective)
    batch = batches_of(paintings(), TINY, CPU)(1)
    fake = batch.real + 0.25
    _, logged = objective.generator_loss(build_discriminator(TINY), batch, fake)
    loss, _ = objective.generator_loss(build_discriminator(TINY), batch, fake)
    # Rounding of float32 means over 6,000 pixels.
    assert logged["pixel_distance"].item() == pytest.approx(0.25, rel=1e-5)
    assert logged["consistency"].item() == pytest.approx(0.25, rel=1e-5)
    without = apply_settings(TINY, {"pixel_weight": 0, "consistency_weight": 0})
    torch.manual_seed(0)
    discriminator = build_discriminator(TINY).eval()
    full, _ = objective.generator_loss(discriminator, batch, fake)
    bare, _ = UpscalerObjective.from_config(without, CPU).generator_loss(discriminator, batch, fake)
    weights = objective.pixel_weight + objective.consistency_weight
    assert (full - bare).item() == pytest.approx(weights * 0.25, rel=1e-4)
    assert loss.isfinite()


def test_it_learns_paint_that_a_filter_cannot_know(tmp_path: Path) -> None:
    stripes = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    stripes[:, :, :, ::2] = 255  # shrunk, these are grey
    config = apply_settings(
        TINY, {"images": 120, "adversarial_weight": 0.0, "ema_decay": 0.5, "learning_rate": 3e-3}
    )
    more = {"batch_size": 4, "crop_size": 64, "horizontal_flip": False, "consistency_weight": 0.0}
    config = apply_settings(config, more)
    train(config, stripes, replace(DATA, count=4), tmp_path / "run", CPU)
    generator = load_snapshot(tmp_path / "run" / "snapshot.safetensors").generator
    small = downsample(stripes[:1].float() / 127.5 - 1, 4)
    with torch.no_grad():
        made = generator(torch.cat([small, torch.randn(1, 16, 16, 16)], 1))
    target = stripes[:1].float() / 127.5 - 1
    filtered = F.interpolate(small, scale_factor=4.0, mode="bicubic")
    # Measured: 0.18.
    assert (made - target).abs().mean() < 0.5 * (filtered - target).abs().mean()


@pytest.mark.parametrize("base", [TINY, SCALES], ids=["plain", "scales"])
def test_a_run_writes_samples_and_resumes_alike(tmp_path: Path, base: Config) -> None:
    for name, stops in (("once", [8]), ("twice", [4, 8])):
        for images in stops:
            config = apply_settings(base, {"images": images})
            train(config, paintings(), DATA, tmp_path / name, CPU, source_images=paintings(7, 16))
    once, twice = (load_snapshot(tmp_path / n / "snapshot.safetensors") for n in ("once", "twice"))
    for one, other in zip(once.generator.parameters(), twice.generator.parameters(), strict=True):
        assert torch.equal(one, other)
    with Image.open(tmp_path / "once" / "samples" / "000000008.png") as grid:
        assert grid.size == (2 * 66 + 2, 66 + 2)


# --- In a snapshot


def test_a_snapshot_with_an_upscaler_enlarges_by_it(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    attach_upscaler(generator, upscaler)
    loaded = load_snapshot(generator)
    assert loaded.config.output.upscale == "learned"
    assert loaded.score == {"fid": 1.5}
    assert loaded.upscaler is not None
    assert loaded.upscaler.images_seen == 16
    indices = list(range(UPSCALER_BATCH + 2))
    images = NoiseSampler(loaded, 5, CPU)(indices)
    assert images[0].shape == (128, 128, 3)
    by_filter = NoiseSampler(loaded, 5, CPU, OutputConfig(output_size=128, upscale="bicubic"))
    assert np.abs(images[0].astype(int) - by_filter([0])[0]).mean() > 1
    # Image i depends on seed and i alone, up to the rounding of float32 or bfloat16.
    alone = NoiseSampler(loaded, 5, CPU)([9])[0]
    assert np.abs(alone.astype(int) - images[9]).max() <= 3


def test_an_upscaler_with_noise_at_each_size_enlarges_too(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    save_snapshot(upscaler, lively(SCALES), SCALES, 16)
    attach_upscaler(generator, upscaler)
    (image,) = NoiseSampler(load_snapshot(generator), 5, CPU)([0])
    assert image.shape == (128, 128, 3)


def test_another_size_comes_from_the_enlarged_image(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    attach_upscaler(generator, upscaler)
    output = OutputConfig(output_size=64, upscale="learned")
    (image,) = NoiseSampler(load_snapshot(generator), 0, CPU, output)([0])
    assert image.shape == (64, 64, 3)


def test_half_precision_keeps_statistics(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    attach_upscaler(generator, upscaler)
    loaded = load_snapshot(generator)
    write_snapshot(tmp_path / "half.safetensors", loaded, WeightPrecision.FLOAT16)
    half = load_snapshot(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * generator.stat().st_size
    for name, value in loaded.generator.state_dict().items():
        found = half.generator.state_dict()[name]
        assert found.dtype == value.dtype
        if "running" in name:
            assert torch.equal(found, value)
        else:
            assert torch.allclose(
                found, value, rtol=2**-10, atol=1e-7
            )  # float16: 11 bits, 6e-8 at least
    one, other = (NoiseSampler(s, 0, CPU)([0])[0].astype(int) for s in (loaded, half))
    assert np.abs(one - other).mean() < 2


def test_wrong_pairs_are_refused(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    with pytest.raises(ConfigError, match="expected an upscaler"):
        attach_upscaler(generator, generator)
    with pytest.raises(ConfigError, match="an upscaler itself"):
        attach_upscaler(upscaler, upscaler)
    with pytest.raises(RunError, match="no snapshot"):
        attach_upscaler(generator, tmp_path / "none.safetensors")
    learned = OutputConfig(output_size=128, upscale="learned")
    with pytest.raises(ConfigError, match="has no upscaler"):
        NoiseSampler(
            Snapshot(load_snapshot(generator).generator, TINY_GENERATOR, 0), 0, CPU, learned
        )


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator, upscaler = snapshots(tmp_path)
    arguments = ["generate", "--snapshot", str(generator), "--count", "3"]
    out = tmp_path / "images.zip"
    assert run_command([*arguments, "--upscaler", str(upscaler), "--out", str(out)]) == 0
    assert (
        run_command([*arguments, "--upscale", "lanczos", "--out", str(tmp_path / "plain.zip")]) == 0
    )
    contents = [zipfile.ZipFile(f).read("2.jpg") for f in (out, tmp_path / "plain.zip")]
    assert contents[0] != contents[1]
    assert run_command([*arguments, "--upscale", "magic", "--out", str(out)]) != 0
    assert "learned" in capsys.readouterr().err


def test_a_snapshot_that_was_replaced_meanwhile_is_not_put_back(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    loaded, sha256 = load_hashed_snapshot(generator)
    save_snapshot(generator, loaded.generator, loaded.config, 99)
    given = with_upscaler(loaded, load_snapshot(upscaler))
    with pytest.raises(RunError, match="was replaced while it was read"):
        keep_upscaler(generator, given, sha256)
    assert load_snapshot(generator).images_seen == 99


def test_a_run_that_is_being_trained_is_given_no_upscaler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its next checkpoint would be without, and this one older than that."""
    generator, upscaler = snapshots(tmp_path)
    before, run = generator.read_bytes(), RunFolder(generator.parent)
    write_json(run.config, TINY_GENERATOR.to_dict())
    give = ["generate", "--snapshot", str(generator), "--upscaler", str(upscaler), "--count", "3"]
    with run.locked():
        assert run_command([*give, "--out", str(tmp_path / "a.zip")]) == 2
    assert "Another process is at work" in capsys.readouterr().err
    assert generator.read_bytes() == before
    assert not (tmp_path / "a.zip").exists()
    assert run_command([*give, "--out", str(tmp_path / "a.zip")]) == 0
    assert load_snapshot(generator).upscaler is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upscale_factor", 3), ("residual_blocks", -1), ("crop_size", 48), ("crop_size", 256),
        ("pixel_weight", -1.0), ("input_noise", -0.1), ("discriminator_scales", 0),
        ("crop_scale", 0.9), ("crop_scale", 2.1),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        apply_settings(TINY, {name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 1}, {"conditional": True}, {"latent_size": 10}, {"loss": "wgan-gp"},
        {"diffaugment": ["colour"]},
    ],
)  # fmt: skip
def test_what_an_upscaler_cannot_do_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="upscaler"):
        apply_settings(TINY, changes)


@pytest.mark.parametrize("name", ["pixel_weight", "crop_size", "residual_blocks"])
def test_its_settings_are_refused_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        apply_settings(Config(), {name: 32})


def test_made_images_are_the_generators_own_size(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    config = apply_settings(TINY, {"image_size": 128})
    made = generate_inputs(load_snapshot(generator), config, 70)
    assert (made.shape, made.dtype) == ((70, 3, 32, 32), torch.uint8)
    own = OutputConfig(output_size=32)
    (image,) = NoiseSampler(load_snapshot(generator), SEED, CPU, own)([0])
    # Rounding of batches of different size.
    assert np.abs(made[0].permute(1, 2, 0).numpy().astype(int) - image).max() <= 2
    for wrong, message in ((TINY, "32 pixels"), (Config(), "for training an upscaler")):
        with pytest.raises(ConfigError, match=message):
            generate_inputs(load_snapshot(generator), wrong)
    with pytest.raises(ConfigError, match="expected a generator"):
        generate_inputs(load_snapshot(upscaler), config)


def test_made_images_are_truncated_as_the_generators_own(tmp_path: Path) -> None:
    loaded = load_snapshot(snapshots(tmp_path)[0])
    config = apply_settings(TINY, {"image_size": 128})
    truncated = replace(loaded, config=apply_settings(loaded.config, {"truncation": 0.0}))
    made = generate_inputs(truncated, config, 2)
    assert torch.equal(made[0], made[1])  # of no noise there is one image
    assert not torch.equal(*generate_inputs(loaded, config, 2))


def test_grain_depends_on_its_place_alone() -> None:
    assert torch.equal(noise_map(1, "a", 2, (3, 4)), noise_map(1, "a", 2, (3, 4)))
    assert not torch.equal(noise_map(1, "a", 2, (3, 4)), noise_map(1, "a", 3, (3, 4)))


def test_training_on_a_generators_images_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, upscaler = snapshots(tmp_path)
    monkeypatch.setattr(generated_inputs, "IMAGE_COUNT", 8)
    fill(tmp_path / "data", 4, (128, 128))
    settings = {
        "image_size": 128, "crop_size": 32, "generator_channels": 16, "discriminator_channels": 4,
        "residual_blocks": 1, "batch_size": 2, "minutes": "none", "images": 4, "sample_count": 2,
    }  # fmt: skip
    assigned = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    base = ["train", "--data", str(tmp_path / "data"), "--preset", "upscaler64to256", *assigned]
    words = [*base, "--run", str(tmp_path / "run")]
    assert run_command([*words, "--generator", str(upscaler)]) == 2
    assert "expected a generator" in capsys.readouterr().err
    assert run_command([*words, "--generator", str(generator)]) == 0
    assert "trained on 4 images" in capsys.readouterr().out
    assert run_command(words) == 2  # another run: without a generator
    assert "generator: " in capsys.readouterr().err
    enlarge = ["generate", "--snapshot", str(generator), "--upscaler", str(tmp_path / "run")]
    assert run_command([*enlarge, "--count", "2", "--out", str(tmp_path / "images.zip")]) == 0


def test_a_generators_hash_is_its_own(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    before = generator_hash(load_snapshot(generator))
    attach_upscaler(generator, upscaler)
    assert generator_hash(load_snapshot(generator)) == before
    assert generator_hash(load_snapshot(upscaler)) != before


def test_a_run_that_goes_on_keeps_its_upscaler(tmp_path: Path) -> None:
    _, upscaler = snapshots(tmp_path)
    config = apply_settings(TINY_GENERATOR, {"batch_size": 4, "images": 8})
    run = RunFolder(tmp_path / "run")
    pixels = paintings(6, 32)
    train(config, pixels, DATA, run.path, CPU)
    attach_upscaler(run.snapshot, upscaler)
    train(apply_settings(config, {"images": 16}), pixels, DATA, run.path, CPU)
    kept = load_snapshot(run.snapshot)
    assert kept.images_seen == 16
    assert kept.upscaler is not None
    assert kept.config.output.upscale == "learned"


def test_attaching_keeps_the_precision_of_the_file(tmp_path: Path) -> None:
    generator, upscaler = snapshots(tmp_path)
    write_snapshot(generator, load_snapshot(generator), WeightPrecision.FLOAT16)
    half = generator.stat().st_size
    attach_upscaler(generator, upscaler)
    # Half of an upscaler is less than a quarter of what both would take in float32.
    assert generator.stat().st_size < half + 0.6 * upscaler.stat().st_size


def test_an_upscaler_is_refused_where_a_generator_is_needed(tmp_path: Path) -> None:
    _, upscaler = snapshots(tmp_path)
    with pytest.raises(ConfigError, match="makes no images of its own"):
        make_sampler(load_snapshot(upscaler), 0, CPU)
    with pytest.raises(ConfigError, match=r"The generator is an upscaler; expected a generator"):
        KernelSettings("train", TINY.to_dict(), upscaler=TINY.to_dict(), upscaler_minutes=1.0)
    config = apply_settings(TINY, {"score_every": 100})
    reason = make_validation_score(config, ImageSet((), lambda _: b"", "none"), None, CPU)
    assert reason == "an upscaler makes no images of its own"


def test_a_training_cannot_enlarge_by_an_upscaler(tmp_path: Path) -> None:
    config = apply_settings(TINY_GENERATOR, {"upscale": "learned", "images": 8, "batch_size": 4})
    with pytest.raises(ConfigError, match="in training has no upscaler"):
        train(config, paintings(6, 32), DATA, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_refused_command_leaves_the_snapshot_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator, upscaler = snapshots(tmp_path)
    before = generator.read_bytes()
    give = ["generate", "--snapshot", str(generator), "--upscaler", str(upscaler)]
    out = ["--out", str(tmp_path / "images.zip")]
    for wrong in ([], [*out, "--class", "none"], [*out, "--count", "0"], [*out, "--upscale", "x"]):
        assert run_command([*give, *wrong]) == 2
        assert generator.read_bytes() == before
    capsys.readouterr()
