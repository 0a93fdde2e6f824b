"""Adversarial losses against their formulas, written out in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.losses import Loss, gradient_penalty, make_loss, r1_penalty
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.families.adversarial.settings import AdversarialTraining
from pipeline.families.family import Batch
from tests.support.factories import CPU, batches_of

REAL, FAKE = np.array([0.3, -1.2, 2.5]), np.array([-0.4, 1.7, -3.0])


def loss_of(config: Config) -> Loss:
    assert isinstance(config.training, AdversarialTraining)
    return make_loss(config.training)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def cross_entropy(logits: np.ndarray, label: float) -> float:
    p = sigmoid(logits)
    return float(-(label * np.log(p) + (1 - label) * np.log(1 - p)).mean())


def softened(loss: str) -> Config:
    settings = {"loss": loss, "real_label": 0.9, "fake_label": 0.1, "discriminator_norm": "none"}
    return apply_settings(Config(), settings)


@pytest.mark.parametrize(
    ("name", "of_discriminator", "of_generator", "mean_output"),
    [
        (
            "non-saturating",
            cross_entropy(REAL, 0.9) + cross_entropy(FAKE, 0.1),
            cross_entropy(FAKE, 0.9),
            sigmoid(FAKE).mean(),
        ),
        (
            "minimax",
            cross_entropy(REAL, 0.9) + cross_entropy(FAKE, 0.1),
            -cross_entropy(FAKE, 0.0),
            sigmoid(FAKE).mean(),
        ),
        (
            "lsgan",
            ((REAL - 0.9) ** 2).mean() / 2 + ((FAKE - 0.1) ** 2).mean() / 2,
            ((FAKE - 0.9) ** 2).mean() / 2,
            FAKE.mean(),
        ),
        (
            "hinge",
            np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean(),
            -FAKE.mean(),
            FAKE.mean(),
        ),
        ("wgan-gp", FAKE.mean() - REAL.mean(), -FAKE.mean(), FAKE.mean()),
    ],
)
def test_each_loss_is_its_formula(
    name: str, of_discriminator: float, of_generator: float, mean_output: float
) -> None:
    loss = loss_of(softened(name))
    real, fake = torch.tensor(REAL), torch.tensor(FAKE)
    # Both in float64.
    assert loss.discriminator(real, fake).item() == pytest.approx(of_discriminator, rel=1e-12)
    assert loss.generator(fake).item() == pytest.approx(of_generator, rel=1e-12)
    assert loss.mean_output(fake).item() == pytest.approx(mean_output, rel=1e-12)


def test_the_penalty_of_a_plane_is_that_of_its_slope() -> None:
    """A linear discriminator has the same slope everywhere: the length of its weights."""
    linear = nn.Linear(48, 1)
    plane = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
    length = linear.weight.detach().norm().item()
    real, fake = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    penalty = gradient_penalty(plane, real, fake, torch.rand(5))
    assert penalty.item() == pytest.approx((length - 1) ** 2, rel=1e-5)  # float32
    torch.autograd.backward(penalty)
    # By the chain rule: 2 (length - 1) times the direction of the weights.
    expected = 2 * (length - 1) * linear.weight.detach() / length
    torch.testing.assert_close(linear.weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_the_slope_is_taken_where_mix_says() -> None:
    seen: list[torch.Tensor] = []

    class Watcher(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.detach())
            return images.flatten(1).sum(1)

    real, fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gradient_penalty(Watcher(), real, fake.bfloat16(), torch.tensor([0.25, 1.0]))
    assert seen[0].dtype == torch.float32
    assert set(seen[0][0].flatten().tolist()) == {0.25}
    assert set(seen[0][1].flatten().tolist()) == {1.0}


def test_the_penalty_is_part_of_the_discriminator_s_loss_alone() -> None:
    objective = AdversarialObjective.from_config(softened("wgan-gp"))
    plane = nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Flatten(0))
    images = torch.rand(2, 3, 2, 2)
    batch = Batch(images, torch.zeros(2, 1), draws={"mix": torch.rand(1, 2)})
    without = replace(objective, penalty_weight=0.0)
    loss, _ = objective.discriminator_loss(plane, batch, images)
    bare, _ = without.discriminator_loss(plane, batch, images)
    penalty = gradient_penalty(plane, images, images, torch.rand(2))
    torch.testing.assert_close(loss - bare, 10 * penalty, rtol=1e-5, atol=1e-5)
    same = objective.generator_loss(plane, batch, images)[0]
    assert same == without.generator_loss(plane, batch, images)[0]


def test_a_penalty_with_batchnorm_is_refused() -> None:
    with pytest.raises(ConfigError, match="discriminator_norm=layer"):
        apply_settings(Config(), {"loss": "wgan-gp"})
    apply_settings(Config(), {"loss": "wgan-gp", "family": "fully-connected"})


def test_classes_add_their_cross_entropy_to_both_losses() -> None:
    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.5, 2.0, 0.0], [0.5, 0.0, 1.0]]) + 0 * images.sum()

    plain = AdversarialObjective(loss_of(Config()), "separate")
    conditional = AdversarialObjective(loss_of(Config()), "separate", classes=2)
    images, wanted = torch.rand(2, 3, 2, 2), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    batch = Batch(images, wanted, torch.tensor([1, 1]))
    linear = nn.Linear(12, 1).requires_grad_(False)
    linear.weight.zero_()
    linear.bias.fill_(0.5)
    single = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
    of_first, of_second = np.log1p(np.exp(-2)), np.log1p(np.exp(-1))  # logits 2, 0 and 0, 1
    wrong_first = 2 + of_first
    of_real = (wrong_first + of_second) / 2  # both are of the second class
    of_fake = (of_first + of_second) / 2  # as the latents asked
    bare = Batch(images, wanted)
    extra_d = (
        conditional.discriminator_loss(Fixed(), batch, images)[0]
        - plain.discriminator_loss(single, bare, images)[0]
    )
    extra_g = (
        conditional.generator_loss(Fixed(), batch, images)[0]
        - plain.generator_loss(single, bare, images)[0]
    )
    assert extra_d.item() == pytest.approx(of_real + of_fake, rel=1e-5)  # float32
    assert extra_g.item() == pytest.approx(of_fake, rel=1e-5)


class Quadratic(torch.nn.Module):
    """Answers the sum of squares of an image, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight * images.square().flatten(1).sum(1)


def test_r1_is_half_the_squared_slope_at_paintings() -> None:
    torch.manual_seed(0)
    images, network = torch.rand(5, 3, 4, 4), Quadratic()
    penalty = r1_penalty(network, images)
    # The slope is 2 w x; float32 sums of 48 squares.
    expected = (2 * 0.5 * images).square().sum((1, 2, 3)).mean() / 2
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(penalty, [network.weight])
    assert gradient.item() == pytest.approx(2 * penalty.item() / 0.5, rel=1e-5)


def test_r1_comes_every_so_many_steps_and_as_many_times_as_heavy() -> None:
    settings = {
        "image_size": 32, "batch_size": 2, "r1_weight": 0.25, "r1_every": 4,
        "discriminator_norm": "none",
    }  # fmt: skip
    config = apply_settings(Config(), settings)
    pixels = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    batches = batches_of(pixels, config, CPU)
    objective, network = AdversarialObjective.from_config(config), Quadratic()
    batch = batches(1)
    fake = torch.zeros_like(batch.real)
    losses = [
        objective.discriminator_loss(network, replace(batch, step=step), fake)[0].item()
        for step in range(1, 9)
    ]
    assert len({*losses[:3], *losses[4:7]}) == len({losses[3], losses[7]}) == 1
    # Black paintings: 3 * 32 * 32 pixels of -1, so the slope has as many components of size 1.
    assert losses[3] - losses[0] == pytest.approx(0.25 * 4 * 3072 / 2, rel=1e-4)


def test_boundaries_lie_between_both_kinds() -> None:
    config = apply_settings(Config(), {"loss": "lsgan", "real_label": 0.9, "fake_label": 0.1})
    assert loss_of(config).threshold == 0.5
    for loss in ("non-saturating", "minimax", "hinge"):
        assert loss_of(apply_settings(Config(), {"loss": loss})).threshold == 0


def test_r1_is_refused_where_images_are_mixed() -> None:
    with pytest.raises(ConfigError, match="discriminator_norm=layer"):
        apply_settings(Config(), {"r1_weight": 1.0})
    apply_settings(Config(), {"r1_weight": 1.0, "discriminator_norm": "spectral"})
