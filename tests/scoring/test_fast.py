"""The fast form of the feature networks against the exact one."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from pipeline.scoring.extractors import Extractor, Outputs, make_extractor
from pipeline.scoring.fast import FastInception, fold_efficientnet, resize_like_tensorflow1
from pipeline.scoring.metrics import frechet_distance
from tests.support.factories import CPU
from tests.support.scoring_helpers import batch, noise, patches

NAMES = ("inception", "efficientnet-lite0")

# As a share of the largest feature, as in test_extractors: folding changes the order in which
# float32 numbers are rounded, some 50 layers deep. Measured: 5e-5.
FLOAT32 = 2e-4

# As a share of the spread between images. bfloat16 rounds to 0.4 %, and a network of random
# weights enlarges that, on these coloured squares by 25. Measured: 0.105.
BFLOAT16 = 0.2


def pictures(extractor: Extractor, *seeds: int) -> torch.Tensor:
    size = 64 if extractor.name == "inception" else 224
    pixels = np.stack([patches(seed, size) for seed in seeds])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def outputs_of_eight(make: Callable[[str, bool], Extractor]) -> Callable[[str, bool], Outputs]:
    """Return a function as `make`, which gives the outputs of pictures 0 to 7 in one batch."""
    found: dict[tuple[str, bool], Outputs] = {}

    def once(name: str, exact: bool) -> Outputs:
        if (name, exact) not in found:
            extractor = make(name, exact)
            found[name, exact] = extractor.outputs(pictures(extractor, *range(8)))
        return found[name, exact]

    return once


def share_of_spread(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / (expected - expected.mean(0)).norm())


# The resize.


@pytest.mark.parametrize("size", [(256, 256), (24, 40), (299, 299), (8, 8), (500, 333)])
def test_images_are_resized_by_tensorflow_1s_rule(size: tuple[int, int]) -> None:
    pixels = torch.from_numpy(noise(1, *size)).permute(2, 0, 1)[None].float()
    found = resize_like_tensorflow1(pixels, 299)
    expected = interpolate_bilinear_2d_like_tensorflow1x(pixels, (299, 299), align_corners=False)
    # Where a pixel lies is rounded at most 500 * 6e-8 of a pixel, each worth up to 255 levels;
    # another rule of half a pixel's shift would differ by a hundred levels.
    assert float((found - expected).abs().max()) < 500 * 6e-8 * 255


def test_an_image_of_the_networks_own_size_is_not_changed() -> None:
    pixels = torch.from_numpy(noise(1, 299, 299)).permute(2, 0, 1)[None].float()
    assert torch.equal(resize_like_tensorflow1(pixels, 299), pixels)


# Fast and exact.


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_exact_inception_is_torch_fidelitys_network_bit_for_bit(
    make: Callable[[str, bool], Extractor], original: nn.Module, layout: torch.memory_format
) -> None:
    pixels = batch(1, 2)
    plain = copy.deepcopy(original).to(memory_format=torch.channels_last)
    features, logits = plain(pixels.contiguous(memory_format=layout))
    found = make("inception", True).outputs(pixels.contiguous(memory_format=layout))
    assert torch.equal(found.features, features)
    assert found.logits is not None
    assert torch.equal(found.logits, logits)


def test_folding_and_resizing_alone_keep_inceptions_features(original: nn.Module) -> None:
    pixels = batch(1, 2)
    expected = original(pixels)
    with torch.inference_mode():
        found = FastInception(copy.deepcopy(original), torch.float32)(pixels)
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).abs().max()) <= FLOAT32 * float(theirs.abs().max())


def test_folding_keeps_efficientnets_features(make: Callable[[str, bool], Extractor]) -> None:
    pixels = pictures(make("efficientnet-lite0", True), 1, 2, 3)
    exact, fast = (make("efficientnet-lite0", e).outputs(pixels).features for e in (True, False))
    assert float((fast - exact).abs().max()) <= FLOAT32 * float(exact.abs().max())


def test_folding_leaves_no_normalisation_behind() -> None:
    from efficientnet_lite_pytorch import EfficientNet

    network = fold_efficientnet(EfficientNet.from_name("efficientnet-lite0").eval())
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def test_fast_inception_is_close_to_exact(
    outputs_of_eight: Callable[[str, bool], Outputs],
) -> None:
    exact, fast = (outputs_of_eight("inception", e) for e in (True, False))
    assert share_of_spread(fast.features, exact.features) < BFLOAT16
    assert fast.logits is not None
    assert exact.logits is not None
    assert share_of_spread(fast.logits, exact.logits) < BFLOAT16


@pytest.mark.parametrize("name", NAMES)
def test_the_fid_of_the_fast_form_is_close_to_the_exact_one(
    outputs_of_eight: Callable[[str, bool], Outputs], name: str
) -> None:
    fids = []
    for exact in (True, False):
        features = outputs_of_eight(name, exact).features.numpy()
        fids.append(frechet_distance(features[:4], features[4:]))
    # FID grows with the square of the rounding's share of the spread (see above). Measured with
    # these random weights and coloured squares: 0.1 %, as with paintings.
    assert fids[1] == pytest.approx(fids[0], rel=BFLOAT16**2)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_neither_the_batch_nor_the_order_matters(
    make: Callable[[str, bool], Extractor],
    outputs_of_eight: Callable[[str, bool], Outputs],
    name: str,
    exact: bool,
) -> None:
    extractor, together = make(name, exact), outputs_of_eight(name, exact).features[:3]
    pixels = pictures(extractor, *range(3))
    alone = torch.cat([extractor.outputs(p[None]).features for p in pixels])
    turned = extractor.outputs(pixels.flip(0)).features.flip(0)
    # A library may choose another order of summation for another batch. In 16 bits that may
    # tip a rounding, which is as much as computing in 16 bits at all does.
    tolerance = BFLOAT16 if "bfloat16" in extractor.precision else FLOAT32
    assert share_of_spread(alone, together) <= tolerance
    assert share_of_spread(turned, together) <= tolerance


def test_each_precision_has_its_own_identity(make: Callable[[str, bool], Extractor]) -> None:
    extractors = [make(name, exact) for name in NAMES for exact in (True, False)]
    assert len({e.identity for e in extractors}) == 4
    assert [e.precision for e in extractors][0::2] == ["float32"] * 2
    assert all(e.identity.endswith(f":{e.precision}") for e in extractors)


def test_without_hardware_for_16_bits_everything_is_float32(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.models.precision._cpu_has_bfloat16", lambda: False)
    assert make_extractor("inception", weights, CPU).precision == "fast-float32"


@pytest.mark.parametrize("exact", [True, False])
def test_inception_gives_logits_and_efficientnet_none(
    make: Callable[[str, bool], Extractor], exact: bool
) -> None:
    inception = make("inception", exact)
    logits = inception.outputs(pictures(inception, 1, 2)).logits
    assert logits is not None
    assert (logits.shape, logits.dtype) == ((2, 1008), torch.float32)
    efficientnet = make("efficientnet-lite0", exact)
    assert efficientnet.outputs(pictures(efficientnet, 1)).logits is None


def test_the_weights_file_may_be_read_twice(weights: Path) -> None:
    # Folding changes a network in place; what was read must not be.
    content = torch.load(io.BytesIO(weights.read_bytes()), weights_only=True)
    make_extractor("inception", weights, CPU)
    again = torch.load(io.BytesIO(weights.read_bytes()), weights_only=True)
    assert all(torch.equal(content[name], again[name]) for name in content)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_the_same_features(
    make: Callable[[str, bool], Extractor], weights: Path, name: str
) -> None:
    file = weights if name == "inception" else None
    expected = make(name, True).outputs(pictures(make(name, True), *range(6))).features
    for exact, tolerance in ((True, 10 * FLOAT32), (False, BFLOAT16)):
        extractor = make_extractor(name, file, torch.device("cuda"), exact)
        found = extractor.outputs(pictures(extractor, *range(6))).features
        assert share_of_spread(found, expected) <= tolerance
