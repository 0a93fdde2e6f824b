"""All layers of a network come from one pass, and are told apart."""

import numpy as np
import pytest
import torch

from pipeline.bench.scoring import write_random_inception
from pipeline.scoring.extractors import EfficientNetLite0, Extractor, make_extractor
from pipeline.scoring.layers import Layered, LayerSplit, layers_of, make_layered_extractor
from tests.support.factories import CPU


@pytest.fixture(scope="module", params=["efficientnet-lite0", "inception"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Layered, Extractor, int]:
    """Return a layered extractor, the plain one, and the channels of the middle blocks."""
    name, weights = request.param, None
    if name == "inception":
        weights = tmp_path_factory.mktemp("weights") / "inception.pth"
        write_random_inception(weights, pixels(4))
    channels = {"efficientnet-lite0": 24 + 40 + 80 + 112, "inception": 288 + 768}[name]
    return (
        make_layered_extractor(name, weights, [CPU]),
        make_extractor(name, weights, CPU),
        channels,
    )


def pixels(count: int, side: int = 64) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=numbers)


def test_the_last_layer_is_the_plain_extractors_and_the_middle_is_what_its_blocks_put_out(
    pair: tuple[Layered, Extractor, int],
) -> None:
    layered, plain, channels = pair
    found = layered.extractor.outputs(pixels(2)).features
    assert found.shape == (2, layered.width + 2 * channels)
    maps: list[torch.Tensor] = []
    for block in plain.middle.values():  # type: ignore[attr-defined]
        block.register_forward_hook(lambda *passed: maps.append(passed[2].double().flatten(2)))
    assert torch.equal(found[:, : layered.width], plain.outputs(pixels(2)).features)
    expected = torch.cat([part for seen in maps for part in (seen.mean(2), seen.std(2))], 1)
    # Sums of a thousand float32 numbers in another order: 2^-24 times the root of a thousand.
    torch.testing.assert_close(found[:, layered.width :].double(), expected, rtol=2e-5, atol=2e-5)


def test_features_of_all_layers_are_not_taken_for_those_of_the_last(
    pair: tuple[Layered, Extractor, int],
) -> None:
    layered, plain, _ = pair
    assert layered.extractor.identity != plain.identity
    assert layered.extractor.name == plain.name


def test_several_devices_share_the_work() -> None:
    two = make_layered_extractor(EfficientNetLite0.name, None, [CPU, CPU])
    assert two.extractor.replicas == 2
    assert two.width == 1280
    assert two.extractor.outputs(pixels(1)).features.shape == (1, 1280 + 512)


def test_the_middle_is_taken_in_standard_deviations_of_the_reference() -> None:
    reference = np.array([[1, 10, 7], [1, 30, 7]], np.float32)
    candidates = np.array([[2, 40, 9]], np.float32)
    last, middle = layers_of(LayerSplit(reference, 1), candidates, reference)
    assert (last.candidates.tolist(), last.reference.tolist()) == ([[2]], [[1], [1]])
    # The third number never varies in the reference, so there is no unit to take it in.
    assert middle.candidates.tolist() == [[2]]
    assert middle.reference.tolist() == [[-1], [1]]
