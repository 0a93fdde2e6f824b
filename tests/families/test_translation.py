"""What families that translate share: photos of any size, tiles, and which image is whose."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError
from pipeline.families.registry import build_generator, latents_of, make_sampler
from pipeline.families.translation import tiles
from pipeline.families.translation.losses import make_source_loss, make_target_loss
from pipeline.families.translation.sampler import PhotoSampler
from pipeline.families.translation.settings import TranslationTraining
from pipeline.families.translation.tiles import keep_statistics, translate
from pipeline.models.snapshot import Snapshot
from tests.support.factories import image_set
from tests.support.helpers import encoded, painting

CPU = torch.device("cpu")
TINY = {
    "family": "cyclegan", "image_size": 64, "generator_channels": 4, "discriminator_channels": 4,
    "batch_size": 2, "precision": "float32", "output_size": 64,
}  # fmt: skip
STRIDE = 32
"""Of the U-Net for 64 pixels."""


def config_of(**changes: object) -> Config:
    return apply_settings(Config(), {**TINY, **changes})


def snapshot_of(config: Config) -> Snapshot:
    torch.manual_seed(0)
    return Snapshot(build_generator(config).eval(), config, 0)


class Blur(nn.Module):
    """Neighbours are averaged and normalised: what a whole photo needs to know of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(3, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        averaged = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        normed: torch.Tensor = self.norm(averaged)
        return normed


class Coarse(nn.Module):
    """An innermost map alone: a pixel for each stride of the photo, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(3, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(F.avg_pool2d(x, STRIDE))
        return F.interpolate(normed, scale_factor=STRIDE)


def smooth_photo(height: int, width: int) -> torch.Tensor:
    """Return waves of long periods, (1, 3, height, width) in [-1, 1]: the same at any size."""
    down, across = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 5, width)[None, :]
    colours = (down + across).sin(), (2 * down - across).cos(), across.sin() * down / 3
    return torch.stack(colours)[None]


# --- Tiles


@pytest.mark.parametrize("length", [64, 1024, 1025, 1152, 1792, 5000])
def test_tiles_cover_a_side_and_overlap(length: int) -> None:
    found = tiles.spans(length)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(end - start <= tiles.TILE_SIDE for start, end in found)
    assert all(start % 128 == 0 for start, _ in found)
    for (_, end), (start, _) in itertools.pairwise(found):
        assert end - start == tiles.OVERLAP


def test_a_large_photo_is_translated_as_if_it_were_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Blur()
    photo = smooth_photo(320, 448)
    whole = network(photo)
    monkeypatch.setattr(tiles, "MAX_PIXELS", 128 * 128)
    monkeypatch.setattr(tiles, "TILE_SIDE", 128)
    monkeypatch.setattr(tiles, "OVERLAP", 64)
    by_itself = tiles.in_tiles(network, photo)
    made = translate(network, keep_statistics(network), photo, STRIDE)
    # The statistics are those of the photo at 108 by 151 pixels: a percent of a deviation apart;
    # tiles that are normalised each by itself are several deviations apart.
    assert (made - whole).abs().max() < 0.05
    assert (by_itself - whole).abs().max() > 1
    steps = (made - whole).diff(dim=3).abs().max(), (made - whole).diff(dim=2).abs().max()
    assert max(steps) < 0.005  # no seam: the difference changes slowly


def test_a_long_panorama_is_translated_as_if_it_were_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # It differs from top to bottom more than from left to right, as a landscape does.
    photo = smooth_photo(128, 2560) + torch.linspace(-3, 3, 128)[:, None]
    network = Coarse()
    whole = network(photo)
    monkeypatch.setattr(tiles, "MAX_PIXELS", 128 * 128)  # at 28 by 572 pixels
    made = translate(network, keep_statistics(network), photo, STRIDE)
    # Two strides see 80 % of a straight line's variance that four see, one stride nothing of it.
    assert (made - whole).abs().max() < 0.5


def test_statistics_are_forgotten_after_a_large_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MAX_PIXELS", 128 * 128)
    network = Blur()
    statistics = keep_statistics(network)
    small = smooth_photo(128, 128)
    before = network(small)
    translate(network, statistics, 5 * smooth_photo(256, 256), STRIDE)
    assert torch.equal(network(small), before)


@pytest.mark.parametrize("trained_on", [64, 256])  # the U-Net of 256 pixels halves seven times
@pytest.mark.parametrize("size", [(64, 64), (65, 200), (128, 128), (131, 257)])
def test_a_translation_has_the_size_of_its_photo(size: tuple[int, int], trained_on: int) -> None:
    snapshot = snapshot_of(config_of(image_size=trained_on))
    photos = image_set({"a.png": encoded(painting(size), "PNG")})
    (image,) = make_sampler(snapshot, 0, CPU, photos=photos, keep_size=True)([0])
    assert image.dtype == np.uint8
    assert image.shape == (size[1], size[0], 3)


# --- Which image is whose


def test_an_image_depends_on_its_photo_alone() -> None:
    snapshot = snapshot_of(config_of())
    files = {f"{n}.png": encoded(painting((64, 64), n), "PNG") for n in range(3)}
    sampler = make_sampler(snapshot, 0, CPU, photos=image_set(files))
    assert isinstance(sampler, PhotoSampler)
    alone = make_sampler(snapshot, 7, CPU, photos=image_set({"2.png": files["2.png"]}))
    together = sampler([0, 1, 2])
    # float32 sums in another order: rounding may go either way.
    assert np.abs(together[2].astype(int) - alone([0])[0]).max() <= 1
    assert np.abs(together[0].astype(int) - together[1]).max() > 1


def test_beyond_the_photos_come_their_mirror_images() -> None:
    snapshot = snapshot_of(config_of())
    photo = painting((64, 64))
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    one = make_sampler(snapshot, 0, CPU, photos=image_set({"a.png": encoded(photo, "PNG")}))
    other = make_sampler(snapshot, 0, CPU, photos=image_set({"a.png": encoded(mirrored, "PNG")}))
    assert np.array_equal(one([1])[0], other([0])[0])
    assert not np.array_equal(one([1])[0], one([0])[0])


def test_a_photo_is_turned_upright_and_cropped_as_the_data_is() -> None:
    snapshot = snapshot_of(config_of())
    photo = painting((128, 64))
    turned, exif = photo.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[274] = 6  # to be turned by a quarter clockwise
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    photos = image_set({"a.png": encoded(photo, "PNG"), "b.png": buffer.getvalue()})
    whole = make_sampler(snapshot, 0, CPU, photos=photos, keep_size=True)
    assert np.array_equal(whole([0])[0], whole([1])[0])
    assert make_sampler(snapshot, 0, CPU, photos=photos)([0])[0].shape == (64, 64, 3)


# --- What does not fit


def test_a_translator_needs_photos_and_a_generator_from_noise_takes_none() -> None:
    photos = image_set({"a.png": encoded(painting((64, 64)), "PNG")})
    with pytest.raises(ConfigError, match="--photos FOLDER_OR_ZIP"):
        make_sampler(snapshot_of(config_of()), 0, CPU)
    with pytest.raises(ConfigError, match="is no translator"):
        make_sampler(snapshot_of(Config()), 0, CPU, photos=photos)
    with pytest.raises(ConfigError, match="knows no class 'sea'"):
        make_sampler(snapshot_of(config_of()), 0, CPU, wanted_class="sea", photos=photos)
    with pytest.raises(ConfigError, match="does not make its images from noise"):
        latents_of(config_of())


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("image_size", 32, "at least 64"),
        ("loss", "minimax", "expected one of non-saturating, lsgan, hinge, two-headed"),
        ("image_buffer", 1, "less than a batch of 2"),
        ("generator", "transformer", "expected one of unet, resnet"),
        ("shift", 64, "from 0 to below image_size"),
    ],
)
def test_a_wrong_setting_is_refused(setting: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(**{setting: value})


def test_a_two_headed_loss_is_the_sum_of_its_two() -> None:
    training = config_of(loss="two-headed", real_label=0.9).training
    assert isinstance(training, TranslationTraining)
    loss, source = make_target_loss(training), make_source_loss(training)
    real, fake = torch.tensor([[[[0.5]], [[2.0]]]]), torch.tensor([[[[-0.25]], [[-1.0]]]])
    hinge = (1 - 0.5) + (1 - 0.25)
    entropy = F.binary_cross_entropy_with_logits(
        torch.tensor([2.0, -1.0]), torch.tensor([0.9, 0.0]), reduction="sum"
    )
    assert loss.discriminator(real, fake).item() == pytest.approx(hinge + entropy.item(), abs=1e-6)
    wanted = F.binary_cross_entropy_with_logits(torch.tensor(-1.0), torch.tensor(0.9))
    assert loss.generator(fake).item() == pytest.approx(0.25 + wanted.item(), abs=1e-6)
    assert source.generator(torch.tensor([-0.5])).item() == 0.5
