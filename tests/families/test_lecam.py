"""The LeCam penalty: by hand, in every family's loss, and its anchors in a run's state."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config import Config, apply_settings, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.lecam import lecam_penalty, update_ema
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.families.family import Batch
from pipeline.families.registry import build_discriminator, family_of
from pipeline.models.precision import Precision
from pipeline.training.checkpoints import load_state, save_state
from pipeline.training.state import TrainingState
from pipeline.training.step import StepSettings, train_step
from tests.support import factories
from tests.support.factories import CPU, batches_of, noise_paintings, tiny_config

TINY = factories.TINY | {"images": 48, "precision": "float32", "loss": "hinge", "lecam_weight": 0.3}
PRECISION = Precision("float32", CPU)


def tiny(**changes: Any) -> Config:
    return tiny_config(TINY, **changes)


def test_each_kind_is_pulled_to_the_others_anchor() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.0])
    penalty = lecam_penalty(real, fake, torch.tensor([2.0, -1.0]))
    # Paintings to -1: (4 + 16) / 2; generated images to 2: (16 + 4) / 2.
    assert penalty.item() == 20


def test_anchors_are_moving_averages() -> None:
    ema_logits, means = torch.zeros(2), torch.tensor([1.0, -2.0])
    for _ in range(50):
        ema_logits = update_ema(ema_logits, means)
    # Fifty float32 multiplications.
    torch.testing.assert_close(ema_logits, means * (1 - 0.99**50), rtol=1e-5, atol=0)


class Sum(nn.Module):
    """Answers the mean of an image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).mean(1)


def test_the_discriminator_s_loss_gets_it_with_its_weight() -> None:
    real = torch.tensor([1.0, 3.0])[:, None, None, None].expand(2, 3, 4, 4)
    fake = torch.tensor([-2.0, 0.0])[:, None, None, None].expand(2, 3, 4, 4)
    batch = Batch(real, torch.zeros(2, 4))
    objective = AdversarialObjective.from_config(tiny())
    objective.ema_logits = torch.tensor([2.0, -1.0])
    loss, logged = objective.discriminator_loss(Sum(), batch, fake)
    plain, bare = AdversarialObjective.from_config(tiny(lecam_weight=0.0)).discriminator_loss(
        Sum(), batch, fake
    )
    # As above; float32.
    assert (loss - plain).item() == pytest.approx(0.3 * 20, rel=1e-6)
    assert set(logged) - set(bare) == {"d_real_logit", "d_fake_logit"}
    assert (logged["d_real_logit"].item(), logged["d_fake_logit"].item()) == (2, -1)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"family": "dense-start"}, {"family": "fully-connected"}, {"family": "fastgan"},
        {"conditional": True, "class_names": ["a", "b"]}, {"loss": "non-saturating"},
        {"loss": "wgan-gp", "discriminator_norm": "layer"},
    ],
)  # fmt: skip
def test_every_family_from_noise_has_it(changes: dict[str, Any]) -> None:
    config = tiny(**changes)
    torch.manual_seed(0)
    discriminator = build_discriminator(config).eval()
    labels = torch.tensor([0, 1]) if config.data.class_names else None
    z = torch.zeros(2, 4 + len(config.data.class_names))
    near, far = torch.zeros(2), torch.tensor([50.0, -50.0])
    real, fake = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    objective = family_of(config).objective(config, CPU)
    assert isinstance(objective, AdversarialObjective)
    draws = {"mix": torch.zeros(1, 2)}
    losses: list[float] = []
    for ema_logits in (near, far):
        objective.ema_logits = ema_logits
        batch = Batch(real, z, labels, draws)
        loss, logged = objective.discriminator_loss(discriminator, batch, fake)
        losses.append(loss.item())
    # By the squares, far less near is 2 * 50**2 + 100 * (mean real - mean fake).
    gap = (logged["d_real_logit"] - logged["d_fake_logit"]).item()
    # Float32 sums of numbers up to 5,000.
    assert losses[1] - losses[0] == pytest.approx(0.3 * (5000 + 100 * gap), rel=1e-5)


def trained(config: Config, steps: int, state: TrainingState | None = None) -> TrainingState:
    pixels = noise_paintings()
    state = state or TrainingState.fresh(config, PRECISION)
    batches = batches_of(pixels, config, CPU)
    for _ in range(steps):
        batch, settings = batches(state.step + 1), StepSettings.from_config(config)
        state.objective.update(train_step(state, batch, PRECISION, settings), 4)
    return state


def anchors_of(state: TrainingState) -> torch.Tensor:
    assert isinstance(state.objective, AdversarialObjective)
    return state.objective.ema_logits


def test_the_anchors_are_resumed(tmp_path: Path) -> None:
    config = tiny()
    whole, first = trained(config, 7), trained(config, 4)
    assert anchors_of(first).all()
    save_state(tmp_path / "state.pt", first.to_dict())
    second = TrainingState.fresh(config, PRECISION)
    second.load(load_state(tmp_path / "state.pt"))
    assert torch.equal(anchors_of(second), anchors_of(first))
    trained(config, 3, second)
    assert torch.equal(anchors_of(whole), anchors_of(second))
    pairs = zip(*(s.networks["discriminator"].parameters() for s in (whole, second)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_an_older_state_without_anchors_is_taken_up() -> None:
    saved = trained(tiny(lecam_weight=0.0), 1).to_dict()
    assert not saved["objective"]["anchors"].any()
    del saved["objective"]
    state = TrainingState.fresh(tiny(), PRECISION)
    state.load(saved)
    assert state.step == 1
    assert not anchors_of(state).any()


def test_it_is_refused_where_it_does_nothing_or_harm() -> None:
    with pytest.raises(
        ConfigError, match=r"lecam_weight is 0\.3, and family 'upscaler' has no such"
    ):
        apply_settings(load_preset("upscaler64to256"), {"lecam_weight": 0.3})
    with pytest.raises(ConfigError, match=r"lecam_weight is -1\.0; expected 0 or more"):
        tiny(lecam_weight=-1.0)
