"""Objective, averaging, batches, budget and precision, one at a time."""

import math

import pytest
import torch
from torch import nn

from pipeline.config import IMAGE_SIZES, Config, apply_settings
from pipeline.core.errors import ConfigError
from pipeline.families.adversarial.losses import CrossEntropy
from pipeline.families.adversarial.objective import AdversarialObjective, discriminate
from pipeline.families.dcgan import Generator
from pipeline.families.family import Batch
from pipeline.models.precision import Precision, choose_precision
from pipeline.system.devices import all_devices
from pipeline.training.budget import Budget
from pipeline.training.ema import (
    RECALIBRATION_IMAGES,
    GeneratorEma,
    recalibrate_batch_norm,
    recalibration_batch_size,
)
from pipeline.training.state import TrainingState
from pipeline.training.step import frozen
from tests.support.factories import CPU, batches_of


class ConstantLogit(nn.Module):
    """Answers one learnable logit whatever the image."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(logit))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logit + 0 * images.flatten(1).sum(1)


def cross_entropy(probability: float, label: float) -> float:
    return -(label * math.log(probability) + (1 - label) * math.log(1 - probability))


def test_losses_are_the_cross_entropies_with_softened_labels() -> None:
    objective = AdversarialObjective(CrossEntropy(0.8, 0.1, saturating=False))
    images = torch.rand(4, 3, 8, 8)
    batch = Batch(images, torch.zeros(4, 2))
    discriminator, p = ConstantLogit(0.7), 1 / (1 + math.exp(-0.7))
    loss_d, logged_d = objective.discriminator_loss(discriminator, batch, images)
    loss_g, logged_g = objective.generator_loss(discriminator, batch, images)
    # float32 logits and logarithms: a few units in the seventh digit.
    assert loss_d.item() == pytest.approx(cross_entropy(p, 0.8) + cross_entropy(p, 0.1), rel=1e-6)
    assert loss_g.item() == pytest.approx(cross_entropy(p, 0.8), rel=1e-6)
    assert logged_d.pop("d_real_sign").item() == 1
    for name, value in (logged_d | logged_g).items():
        assert value.item() == pytest.approx(p, rel=1e-6), name
    assert set(logged_d | logged_g) == {"d_real", "d_fake_before", "d_fake_after"}


def judge(bn: bool, passes: str) -> tuple[torch.Tensor, list[int]]:
    """Return the logits of both kinds, joined, and the sizes of the batches that went through."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2) if bn else nn.Identity()
    network = nn.Sequential(nn.Conv2d(3, 2, 3), norm, nn.Flatten(), nn.Linear(72, 1), nn.Flatten(0))
    real, fake = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    sizes: list[int] = []
    network.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
    return torch.cat(discriminate(network, real, fake, passes)), sizes


def test_a_discriminator_without_batch_norm_judges_both_kinds_in_one_pass() -> None:
    joined, sizes = judge(bn=False, passes="auto")
    assert sizes == [8]
    separate, sizes = judge(bn=False, passes="separate")
    assert sizes == [4, 4]
    # The same sums in float32, perhaps in another order: some units in the seventh digit.
    torch.testing.assert_close(joined, separate, rtol=1e-6, atol=1e-6)


def test_batch_norm_sees_each_kind_by_itself_unless_told_otherwise() -> None:
    by_default, sizes = judge(bn=True, passes="auto")
    assert sizes == [4, 4]
    joined, sizes = judge(bn=True, passes="joined")
    assert sizes == [8]
    assert (joined - by_default).abs().max() > 0.01


def test_frozen_discriminator_passes_gradients_on_and_keeps_none() -> None:
    discriminator = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 1))
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    with frozen([discriminator]):
        discriminator(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())


def test_average_follows_the_recursion_with_a_warm_up() -> None:
    generator = nn.Linear(1, 1, bias=False)
    generator.weight.data.fill_(1.0)
    average = GeneratorEma(generator, decay=0.5)
    expected = 1.0
    for step, weight in enumerate([3.0, -2.0, 5.0, 7.0, 11.0, 4.0, 9.0, 8.0, 6.0, 2.0], 1):
        generator.weight.data.fill_(weight)
        average.update(generator, average.weight(step))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
        assert next(average.network.parameters()).item() == pytest.approx(expected, rel=1e-6)


def test_calibration_gives_the_statistics_of_the_generated_images_and_changes_nothing() -> None:
    torch.manual_seed(1)
    network = Generator(32, 4, 2)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    z = torch.randn(24, 4)
    fitted = recalibrate_batch_norm(network, z, batch_size=8)
    first = network.layers[0](z[:, :, None, None])
    norm = next(m for m in fitted.modules() if isinstance(m, nn.BatchNorm2d))
    # The mean over equal batches is the mean over all; float32 sums, so seven digits less three.
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)), atol=1e-6, rtol=1e-4)
    assert not fitted.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_calibration_takes_fewer_large_images_at_once() -> None:
    assert [recalibration_batch_size(side) for side in (32, 64, 128, 256)] == [64, 64, 16, 16]
    assert all(RECALIBRATION_IMAGES % recalibration_batch_size(side) == 0 for side in IMAGE_SIZES)


def test_calibration_is_without_dropout_as_the_generator_will_run() -> None:
    torch.manual_seed(1)
    plain = Generator(32, 4, 2)
    torch.manual_seed(1)
    with_dropout = Generator(32, 4, 2, dropout=0.5)
    z = torch.randn(16, 4)
    both = [recalibrate_batch_norm(network, z, batch_size=8) for network in (plain, with_dropout)]
    assert torch.equal(both[0](z), both[1](z))


def numbered_images(count: int) -> torch.Tensor:
    """Images whose left half is bright by their number, their right half black."""
    pixels = torch.zeros(count, 3, 4, 4, dtype=torch.uint8)
    pixels[..., :2] = torch.arange(1, count + 1, dtype=torch.uint8)[:, None, None, None]
    return pixels


def shown(batch: Batch) -> list[int]:
    return ((batch.real + 1) * 127.5).round().amax((1, 2, 3)).int().tolist()


@pytest.mark.parametrize("batch_size", [3, 10, 25])
def test_every_epoch_shows_every_image_once_in_another_order(batch_size: int) -> None:
    config = apply_settings(Config(), {"batch_size": batch_size, "latent_size": 2})
    batches = batches_of(numbered_images(10), config, CPU)
    sequence = [n for step in range(1, 31) for n in shown(batches(step))]
    epochs = [sequence[i : i + 10] for i in range(0, len(sequence) - 9, 10)]
    assert all(sorted(epoch) == list(range(1, 11)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_a_batch_is_a_function_of_its_step() -> None:
    config = apply_settings(Config(), {"batch_size": 4})
    first, second = (batches_of(numbered_images(10), config, CPU) for _ in range(2))
    for step in range(1, 6):
        first(step)
    assert torch.equal(first(9).real, second(9).real)
    assert torch.equal(first(9).inputs, second(9).inputs)
    assert not torch.equal(first(9).inputs, first(10).inputs)


def test_shares_of_a_batch_are_rows_of_it() -> None:
    config = apply_settings(Config(), {"batch_size": 6, "latent_size": 2})
    whole = batches_of(numbered_images(10), config, CPU)(2)  # spans two epochs
    rows = [slice(0, 3), slice(3, 6)]
    shares = [batches_of(numbered_images(10), config, CPU, r)(2) for r in rows]
    assert torch.equal(torch.cat([share.real for share in shares]), whole.real)
    assert torch.equal(torch.cat([share.inputs for share in shares]), whole.inputs)


def test_half_of_the_images_are_mirrored_unless_switched_off() -> None:
    def mirrored(flip: bool) -> float:
        config = apply_settings(Config(), {"batch_size": 100, "horizontal_flip": flip})
        batches = batches_of(numbered_images(10), config, CPU)
        real = torch.cat([batches(step).real for step in range(1, 11)])
        return (real[:, 0, 0, 3] > real[:, 0, 0, 0]).float().mean().item()

    # Four standard errors of a fair coin thrown 1,000 times: 4 * 0.5 / sqrt(1000).
    assert abs(mirrored(True) - 0.5) < 0.064
    assert mirrored(False) == 0


def test_pixels_map_to_minus_one_and_one() -> None:
    config = apply_settings(Config(), {"batch_size": 2})
    pixels = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    real = batches_of(pixels, config, CPU)(1).real
    assert sorted(real.amax((1, 2, 3)).tolist()) == [-1, 1]


def test_budget_ends_at_whichever_limit_comes_first() -> None:
    config = apply_settings(
        Config(), {"images": 1000, "epochs": 2.0, "minutes": 0.5, "batch_size": 64}
    )
    budget = Budget.from_config(config, dataset_size=300)
    assert budget == Budget(steps=10, seconds=30.0)  # 2 x 300 images need 10 steps of 64
    assert not budget.ended(9, 20, reserve=5)
    assert budget.ended(10, 0, reserve=0)
    assert budget.ended(1, 26, reserve=5)
    assert budget.used(5, 3) == 0.5
    assert budget.used(1, 24) == 0.8


def test_the_time_left_is_that_of_the_limit_that_comes_first_at_the_pace_of_now() -> None:
    assert Budget(steps=100, seconds=None).seconds_left(40, 999, seconds_per_step=2) == 120
    assert Budget(steps=None, seconds=600).seconds_left(40, 400, seconds_per_step=2) == 200
    assert Budget(steps=100, seconds=600).seconds_left(40, 400, seconds_per_step=2) == 120
    assert Budget(steps=100, seconds=450).seconds_left(40, 400, seconds_per_step=2) == 50
    assert Budget(steps=10, seconds=450).seconds_left(40, 400, seconds_per_step=2) == 0


def test_a_run_without_a_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="no budget"):
        Budget.from_config(Config(), 300)


def test_float16_on_a_cpu_is_refused_and_auto_resolves() -> None:
    with pytest.raises(ConfigError, match="needs a GPU"):
        choose_precision("float16", CPU)
    assert choose_precision("float32", CPU) == "float32"
    assert choose_precision("auto", CPU) in ("bfloat16", "float32")
    assert not Precision("bfloat16", CPU).scaler().is_enabled()


def test_all_devices_are_every_gpu_or_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert all_devices() == (CPU,)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert all_devices() == (torch.device("cuda:0"), torch.device("cuda:1"))


def test_a_state_of_another_precision_is_taken_up() -> None:
    """A run begun without loss scaling, here or on a CPU, goes on in float16 on a GPU."""
    config = apply_settings(Config(), {"image_size": 32, "generator_channels": 2})
    saved = TrainingState.fresh(config, Precision("float32", CPU)).to_dict()
    assert saved["scaler"] == {}
    state = TrainingState.fresh(config, Precision("float32", CPU))
    state.scaler = torch.amp.GradScaler("cpu", enabled=True)
    state.load(saved)
    assert state.scaler.get_scale() == 2.0**16  # torch's first scale
