"""The hinge loss with margins that are drawn at random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.losses import Hinge, hinge_of_margins
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.families.registry import build_discriminator, family_of
from pipeline.training import loop
from pipeline.training.recorded_steps import RecordedSteps
from tests.support.factories import CPU, batches_of, data_about, noise_paintings, tiny_config
from tests.support.tape import TapeRecorder


def tiny(**changes: Any) -> Config:
    """Return a config whose margins are random, unless changes say otherwise."""
    return tiny_config(**{"loss": "hinge", "hinge_margin_spread": 0.2, **changes})


def test_each_image_has_a_margin_of_its_own_for_all_its_logits() -> None:
    draws = torch.tensor([[0.0, 0.5], [0.25, 0.75]])
    real, fake = torch.tensor([0.5, 2.0, 0.95, -1.0]), torch.tensor([-0.5, -2.0, 0.25, -1.0])
    loss = hinge_of_margins(draws, 0.2, logits=4).discriminator(real, fake)
    # Margins 1 and 0.9 of real images, 0.95 and 0.85 of generated ones; two logits of each.
    expected = (0.5 + 0 + 0 + 1.9) / 4 + (0.45 + 0 + 1.1 + 0) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-6)  # float32


def test_margins_at_their_upper_end_are_the_plain_loss() -> None:
    real, fake = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    drawn = hinge_of_margins(torch.zeros(2, 3), 0.2, logits=6)
    assert torch.equal(drawn.discriminator(real, fake), Hinge().discriminator(real, fake))


@pytest.mark.parametrize("family", ["dcgan", "dense-start", "fully-connected", "fastgan"])
def test_every_family_from_noise_has_it(family: str) -> None:
    config = tiny(family=family)
    torch.manual_seed(0)
    discriminator = build_discriminator(config).eval()
    objective = family_of(config).objective(config, CPU)
    assert isinstance(objective, AdversarialObjective)
    batch = batches_of(noise_paintings(), config)(1)
    batch, fake = replace(batch, real=0.01 * batch.real), 0.01 * batch.real.flip(0)
    losses = {}
    for spread in (0.0, 0.2):
        objective.margin_spread = spread
        losses[spread] = objective.discriminator_loss(discriminator, batch, fake)[0].item()
    # All logits of images that are nearly grey are short of their margins: each draw counts.
    below = 0.2 * batch.draws["margin"].mean(1).sum().item()
    assert losses[0.0] - losses[0.2] == pytest.approx(below, abs=1e-5)  # float32 sums near 2


def test_without_a_spread_nothing_is_drawn() -> None:
    assert batches_of(noise_paintings(), tiny(hinge_margin_spread=0))(1).draws == {}


def test_margins_follow_from_seed_and_step_and_ranks_share_them() -> None:
    config = tiny()
    whole = batches_of(noise_paintings(), config)
    parts = [batches_of(noise_paintings(), config, rows=r) for r in (slice(2), slice(2, 4))]
    drawn = [whole(step).draws["margin"] for step in (1, 2)]
    assert not torch.equal(*drawn)
    shared = torch.cat([part(2).draws["margin"] for part in parts], 1)
    assert torch.equal(drawn[1], shared)
    assert tuple(shared.shape) == (2, 4)


def test_a_resumed_run_equals_an_uninterrupted_one_recorded_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise_paintings()

    def run(name: str, images: int, **changes: Any) -> bytes:
        config = tiny(images=images, minutes=None, **changes)
        loop.train(config, pixels, data_about(10), tmp_path / name, CPU)
        return (tmp_path / name / "snapshot.safetensors").read_bytes()

    whole = run("whole", 40)
    monkeypatch.setattr(loop, "step_function", lambda *_: RecordedSteps(TapeRecorder(), 1))
    run("parts", 20)
    assert run("parts", 40) == whole
    assert run("fixed", 40, hinge_margin_spread=0) != whole


def test_it_is_refused_where_there_is_no_margin() -> None:
    with pytest.raises(ConfigError, match=r"hinge_margin_spread is 0\.2, and loss is 'lsgan'"):
        tiny(loss="lsgan")
    with pytest.raises(ConfigError, match=r"hinge_margin_spread is 1\.5; expected from 0 to 1"):
        tiny(hinge_margin_spread=1.5)
    assert load_preset("paint256").values()["hinge_margin_spread"] == 0
