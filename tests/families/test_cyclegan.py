"""Family cyclegan: its networks, its losses and the buffer of earlier images, each by itself."""

import pytest
import torch

from pipeline.families.cyclegan.buffer import ImageBuffer
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
    assert buffer.exchange(first, draws, 1) is first
    assert buffer.exchange(second, draws, 2) is second
    kept = buffer.images.float().div(127.5).sub(1)[:, 0, 0, 0]
    # Stored in 8 bits: half a level.
    torch.testing.assert_close(kept, torch.tensor([-1.0, -0.6, -0.2, 0.2]), rtol=0, atol=1 / 255)
    new = levels(0.6, 1.0)
    draws = torch.tensor([[0.1, 0.9], [0.3, 0.0]])  # the first is exchanged, for place 1
    found = buffer.exchange(new, draws, 3)
    torch.testing.assert_close(found[0], first[1], rtol=0, atol=1 / 255)
    assert torch.equal(found[1], new[1])
    kept = buffer.images.float().div(127.5).sub(1)[:, 0, 0, 0]
    torch.testing.assert_close(kept, torch.tensor([-1.0, 0.6, -0.2, 0.2]), rtol=0, atol=1 / 255)


def test_a_buffer_loses_no_image_and_doubles_none() -> None:
    buffer = ImageBuffer(5, 4, CPU)
    buffer.exchange(levels(*[number / 127.5 - 1 for number in range(5)]), torch.zeros(2, 5), 1)
    numbers = torch.Generator().manual_seed(0)
    for step in range(2, 20):
        kept = set(buffer.images[:, 0, 0, 0].tolist())
        new = [5 * (step - 1) + place for place in range(5)]
        offered = levels(*[number / 127.5 - 1 for number in new])
        found = buffer.exchange(offered, torch.rand(2, 5, generator=numbers), step)
        given = {round((value + 1) * 127.5) for value in found[:, 0, 0, 0].tolist()}
        assert len(given) == 5
        assert given | set(buffer.images[:, 0, 0, 0].tolist()) == kept | set(new)
