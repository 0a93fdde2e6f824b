"""The feature networks, each loaded once: tests only look through them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pipeline.bench.scoring import write_random_inception
from pipeline.scoring.extractors import Extractor, make_extractor
from tests.support.factories import CPU
from tests.support.scoring_helpers import batch


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file in the released format with weights of Inception drawn at random."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    return write_random_inception(path, batch(*range(100, 104)))


@pytest.fixture(scope="session")
def make(weights: Path) -> Callable[[str, bool], Extractor]:
    """Return a function of an extractor's name, and whether it is exact: one of these weights."""
    made: dict[tuple[str, bool], Extractor] = {}

    def once(name: str, exact: bool) -> Extractor:
        if (name, exact) not in made:
            file = weights if name == "inception" else None
            made[name, exact] = make_extractor(name, file, CPU, exact)
        return made[name, exact]

    return once


@pytest.fixture(scope="session")
def original(weights: Path) -> nn.Module:
    """Return torch-fidelity's own network, fed by the same file."""
    network: nn.Module = FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=str(weights),
    )
    return network
