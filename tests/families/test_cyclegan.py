"""Family cyclegan: its networks, its losses and the buffer of earlier images, each by itself."""

import pytest
import torch
from torch import nn

from pipeline.config import Config, apply_settings
from pipeline.families.adversarial.diffaugment import DRAWS
from pipeline.families.cyclegan.buffer import ImageBuffer
from pipeline.families.cyclegan.objective import CycleConsistency
from pipeline.families.family import Batch
from pipeline.families.translation.networks import (
    Discriminator,
    ResNet,
    UNet,
    unet_widths,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("kind", ["unet", "resnet"])
def test_a_generator_keeps_the_shape_of_images_of_any_fitting_size(
    kind: str, upsampling: str
) -> None:
    torch.manual_seed(0)
    network = UNet(unet_widths(4, 64), upsampling) if kind == "unet" else ResNet(4, 1, upsampling)
    for height, width in ((64, 64), (128, 64)):
        images = torch.rand(2, 3, height, width) * 2 - 1
        assert not height % network.multiple
        made = network(images)
        assert made.shape == images.shape
        assert made.abs().max() <= 1


def test_the_u_net_of_256_pixels_turns_at_two_by_two() -> None:
    assert unet_widths(64, 256) == [64, 128, 256, 512, 256, 256, 256]
    network = UNet(unet_widths(64, 256))
    # Convolutions: 16 weights a pair of channels; gains and biases: 2 a channel but the first.
    pairs = [3 * 64, 64 * 128, 128 * 256, 256 * 512, 512 * 256, 256 * 256, 256 * 256]
    pairs += [256 * 256, 512 * 256, 512 * 512, 1024 * 256, 512 * 128, 256 * 64, 128 * 3]
    norms = [128, 256, 512, 256, 256, 256, 256, 256, 512, 256, 128, 64]
    expected = 16 * sum(pairs) + 2 * sum(norms) + 64 + 3
    assert sum(p.numel() for p in network.parameters()) == expected
    assert network.multiple == 128


def test_an_image_is_translated_by_itself() -> None:
    torch.manual_seed(0)
    network = UNet(unet_widths(4, 64), dropout=0.0)
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    # float32 sums in another order: a few units in the last place over a dozen layers.
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=0, atol=1e-5)


def test_a_patch_of_the_discriminator_is_seventy_pixels_wide() -> None:
    torch.manual_seed(0)
    network = Discriminator(4).eval()
    for module in network.modules():  # whose statistics see the whole image
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.register_forward_hook(lambda _m, inputs, _o: inputs[0])
    images = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits = network(images)
    assert logits.shape == (1, 1, 14, 14)
    logits[0, 0, 7, 7].backward()
    assert images.grad is not None
    seen = images.grad.abs().sum((0, 1))
    assert (seen.sum(0) > 0).sum() == 70
    assert (seen.sum(1) > 0).sum() == 70


def test_heads_give_logits_of_their_own() -> None:
    assert Discriminator(4, heads=2)(torch.zeros(3, 3, 64, 64)).shape == (3, 2, 6, 6)


def levels(*values: float) -> torch.Tensor:
    """Return flat images (n, 3, 4, 4)."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 4).clone()


def test_a_buffer_is_filled_first_and_then_exchanges_half() -> None:
    buffer = ImageBuffer(4, 4, CPU)
    draws = torch.full((2, 2), 0.9)
    first, second = levels(-1.0, -0.6), levels(-0.2, 0.2)
    assert buffer.exchange(first, draws) is first
    assert buffer.exchange(second, draws) is second
    kept = buffer.images.float().div(127.5).sub(1)[:, 0, 0, 0]
    # Stored in 8 bits: half a level.
    torch.testing.assert_close(kept, torch.tensor([-1.0, -0.6, -0.2, 0.2]), rtol=0, atol=1 / 255)
    new = levels(0.6, 1.0)
    draws = torch.tensor([[0.1, 0.9], [0.3, 0.0]])  # the first is exchanged, for place 1
    found = buffer.exchange(new, draws)
    torch.testing.assert_close(found[0], first[1], rtol=0, atol=1 / 255)
    assert torch.equal(found[1], new[1])
    kept = buffer.images.float().div(127.5).sub(1)[:, 0, 0, 0]
    torch.testing.assert_close(kept, torch.tensor([-1.0, 0.6, -0.2, 0.2]), rtol=0, atol=1 / 255)


def test_a_buffer_loses_no_image_and_doubles_none() -> None:
    buffer = ImageBuffer(5, 4, CPU)
    buffer.exchange(levels(*[number / 127.5 - 1 for number in range(5)]), torch.zeros(2, 5))
    numbers = torch.Generator().manual_seed(0)
    for step in range(2, 20):
        kept = set(buffer.images[:, 0, 0, 0].tolist())
        new = [5 * (step - 1) + place for place in range(5)]
        offered = levels(*[number / 127.5 - 1 for number in new])
        found = buffer.exchange(offered, torch.rand(2, 5, generator=numbers))
        given = {round((value + 1) * 127.5) for value in found[:, 0, 0, 0].tolist()}
        assert len(given) == 5
        assert given | set(buffer.images[:, 0, 0, 0].tolist()) == kept | set(new)


@pytest.mark.parametrize(("size", "filled"), [(2, 2), (4, 3), (8, 3)])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "of an early version"])
def test_a_buffer_that_was_not_full_is_filled_further(
    size: int, filled: int, counted: bool
) -> None:
    """Also after a change of its size, or of the number of ranks: no empty place is given out."""
    saved = torch.zeros(4, 3, 4, 4, dtype=torch.uint8)
    saved[:3] = 200
    buffer = ImageBuffer(size, 4, CPU)
    buffer.load(saved, 3 if counted else None)
    assert (buffer.filled, buffer.is_full) == (filled, filled == size)
    for _ in range(size):
        buffer.exchange(levels(0.5), torch.full((2, 1), 0.9))
    assert buffer.is_full
    assert buffer.images.flatten(1).any(1).all()


# --- The objective, with networks whose outputs are known


class Scale(nn.Module):
    """Multiplies images by a number: a translation that can be computed by hand."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.factor * images
        return scaled


class MeanLogit(nn.Module):
    """The mean of an image as its only logit."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3), keepdim=True)


def objective_of(**changes: object) -> CycleConsistency:
    settings = {"family": "cyclegan", "image_size": 64, "batch_size": 2, "loss": "lsgan"}
    return CycleConsistency.from_config(apply_settings(Config(), {**settings, **changes}), CPU)


def known_networks() -> dict[str, nn.Module]:
    return {
        "generator": Scale(0.5), "back_generator": Scale(3.0),
        "discriminator": MeanLogit(), "source_discriminator": MeanLogit(),
    }  # fmt: skip


def known_batch(**draws: torch.Tensor) -> Batch:
    """Return a batch of flat images: paintings of 0.2, photos of 0.4."""
    return Batch(levels(0.2, 0.2), levels(0.4, 0.4), draws=draws, step=1)


def test_the_generators_lose_by_adversaries_cycle_and_identity() -> None:
    objective = objective_of(cycle_weight=10.0, identity_weight=5.0)
    networks, batch = known_networks(), known_batch()
    generated = objective.generate(networks, batch)
    loss, logged = objective.phase_loss("generator", networks, batch, generated)
    # There and back is 1.5 times: 0.4 becomes 0.2 and 0.6, 0.2 becomes 0.6 and 0.3.
    adversarial = (0.2 - 1) ** 2 / 2 + (0.6 - 1) ** 2 / 2
    cycle = 0.2 + 0.1
    identity = abs(0.1 - 0.2) + abs(1.2 - 0.4)
    # float32 means of 48 numbers.
    assert loss.item() == pytest.approx(adversarial + 10 * cycle + 5 * identity, abs=1e-5)
    assert logged["cycle"].item() == pytest.approx(cycle, abs=1e-6)
    assert logged["identity"].item() == pytest.approx(identity, abs=1e-6)


def test_the_discriminators_lose_half_the_sum_of_both() -> None:
    objective = objective_of()
    networks, batch = known_networks(), known_batch()
    generated = objective.generate(networks, batch)
    loss, logged = objective.phase_loss("discriminator", networks, batch, generated)
    target = ((0.2 - 1) ** 2 + 0.2**2) / 2  # real 0.2, and 0.4 translated to 0.2
    source = ((0.4 - 1) ** 2 + 0.6**2) / 2
    assert loss.item() == pytest.approx((target + source) / 2, abs=1e-6)
    assert logged["d_source_fake"].item() == pytest.approx(0.6, abs=1e-6)
    assert not loss.requires_grad  # neither generator learns in this phase


def test_without_identity_nothing_is_translated_into_its_own_domain() -> None:
    objective = objective_of(identity_weight=0.0)
    generated = objective.generate(known_networks(), known_batch())
    assert generated.same_target is None
    _, logged = objective.phase_loss("generator", known_networks(), known_batch(), generated)
    assert "identity" not in logged


def test_the_augmentation_is_of_the_target_domain_alone() -> None:
    objective = objective_of(diffaugment=["colour"], diffaugment_strength=1.0)
    draws = torch.rand(3, 2, DRAWS, generator=torch.Generator().manual_seed(0))
    networks = known_networks()
    logged = []
    for batch in (known_batch(), known_batch(diffaugment=draws)):
        generated = objective.generate(networks, batch)
        logged.append(objective.phase_loss("discriminator", networks, batch, generated)[1])
    plain, augmented = logged
    assert plain["d_source_real"] == augmented["d_source_real"]
    assert plain["d_source_fake"] == augmented["d_source_fake"]
    assert plain["d_real"] != augmented["d_real"]
    assert plain["d_fake_before"] != augmented["d_fake_before"]


def test_image_buffers_are_saved_and_loaded() -> None:
    objective, other = (objective_of(image_buffer=4, image_size=64) for _ in range(2))
    objective.buffers["target"].load(torch.full((4, 3, 64, 64), 7, dtype=torch.uint8), None)
    assert set(objective.draws(2)) == {"image buffer"}
    other.load_state_dict(objective.state_dict())
    assert (other.buffers["target"].images == 7).all()
    assert (other.buffers["source"].images == 0).all()


def test_both_networks_of_a_direction_learn_in_the_same_phase() -> None:
    discriminators, generators = objective_of(discriminator_steps=2).phases
    assert discriminators.trains == ("discriminator", "source_discriminator")
    assert generators.trains == ("generator", "back_generator")
    assert (discriminators.every, generators.every) == (1, 2)
