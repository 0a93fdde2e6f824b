"""Family cut: which patches it looks at, how they are told apart, and what learns from that."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.config import Config, apply_settings, load_preset
from pipeline.core.errors import ConfigError
from pipeline.families.cut.networks import Projections
from pipeline.families.cut.objective import PROJECTIONS, PatchContrast
from pipeline.families.cut.patches import contrast, positions, sample
from pipeline.families.family import Batch
from pipeline.families.registry import family_of
from pipeline.families.translation.networks import (
    Residual,
    ResNet,
    encoded_channels,
    make_generator,
    translator,
)
from pipeline.models.precision import Precision
from pipeline.training.setup import set_up
from pipeline.training.step import StepSettings, frozen, train_step
from tests.support.factories import CPU, noise_paintings

TINY = {
    "family": "cut", "image_size": 64, "generator_channels": 4, "discriminator_channels": 4,
    "residual_blocks": 2, "batch_size": 2, "precision": "float32", "nce_patches": 16,
}  # fmt: skip
TEMPERATURE = 0.07
FLOAT32 = Precision("float32", CPU)


def config_of(**changes: object) -> Config:
    return apply_settings(Config(), {**TINY, **changes})


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def directions(*shape: int, seed: int = 0) -> torch.Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(numbers, dim=-1)


# --- Which patches


@pytest.mark.parametrize(("patches", "count"), [(256, 65536), (256, 256), (100, 961), (7, 16)])
def test_positions_are_all_different_and_spread_over_the_image(patches: int, count: int) -> None:
    found = positions(uniform(3, patches), count)
    assert found.shape == (3, patches)
    for row in found.tolist():
        assert row == sorted(set(row))
        assert all(k * count // patches <= p < (k + 1) * count // patches
                   for k, p in enumerate(row))  # fmt: skip
    extremes = torch.tensor([[0.0], [1 - 2**-24]]).expand(2, patches)
    first, last = positions(extremes, count)
    assert first[0] == 0
    assert last[-1] == count - 1
    assert (last - first).max() == -(-count // patches) - 1


def test_where_a_layer_has_fewer_patches_all_are_taken() -> None:
    assert positions(uniform(2, 256), 16).tolist() == [list(range(16))] * 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_features_are_those_of_the_positions(layout: torch.memory_format) -> None:
    features = uniform(2, 3, 4, 6).contiguous(memory_format=layout)
    draws = uniform(2, 5)
    found = sample(features, draws)
    assert found.shape == (2, 5, 3)
    for image, row in enumerate(positions(draws, 24).tolist()):
        for patch, place in enumerate(row):
            expected = features[image, :, place // 6, place % 6]
            assert torch.equal(found[image, patch], expected)


# --- The contrast


def test_the_contrast_is_the_cross_entropy_of_finding_a_patch_among_those_of_its_image() -> None:
    queries, keys = directions(3, 6, 8), directions(3, 6, 8, seed=1)
    expected = []
    for image in range(3):
        losses = []
        for patch in range(6):
            own = torch.dot(queries[image, patch], keys[image, patch])
            others = [torch.dot(queries[image, patch], keys[image, n])
                      for n in range(6) if n != patch]  # fmt: skip
            logits = torch.stack([own, *others]) / TEMPERATURE
            losses.append(F.cross_entropy(logits[None], torch.tensor([0])))
        expected.append(torch.stack(losses).mean())
    found = contrast(queries, keys, TEMPERATURE)
    # float32: similarities of up to 1 / 0.07 carry seven digits.
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)


def test_patches_that_are_all_alike_are_found_by_chance() -> None:
    same = directions(1, 1, 8).expand(2, 16, 8)
    # The sum of 16 equal exponentials, in float32.
    torch.testing.assert_close(
        contrast(same, same, TEMPERATURE), torch.full((2,), math.log(16)), rtol=0, atol=1e-5
    )


def test_patches_at_right_angles_are_found_but_for_the_temperature() -> None:
    axes = torch.eye(8)[None]
    for temperature in (0.07, 1.0):
        expected = math.log(1 + 7 * math.exp(-1 / temperature))
        found = contrast(axes, axes, temperature)
        # log-sum-exp of 1 / 0.07 less that: seven digits of 14.
        torch.testing.assert_close(found, torch.tensor([expected]), rtol=0, atol=5e-6)


def test_an_image_is_compared_with_itself_alone() -> None:
    queries, keys = directions(3, 6, 8), directions(3, 6, 8, seed=1)
    together = contrast(queries, keys, TEMPERATURE)
    alone = torch.cat([contrast(q[None], k[None], TEMPERATURE)
                       for q, k in zip(queries, keys, strict=True)])  # fmt: skip
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)  # as above


def test_no_gradient_flows_to_the_keys() -> None:
    queries = directions(1, 6, 8).requires_grad_()
    keys = directions(1, 6, 8, seed=1).requires_grad_()
    loss = contrast(queries, keys, TEMPERATURE).sum()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert queries.grad is not None
    assert keys.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_projections_are_directions_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = Projections([3, 8])
    with torch.autocast("cpu", torch.bfloat16):
        found = network([uniform(2, 5, 3).to(dtype), uniform(2, 5, 8).to(dtype)])
    for layer in found:
        assert layer.dtype == torch.float32
        assert layer.shape == (2, 5, 256)
        # Squares of 256 numbers, in float32.
        torch.testing.assert_close(layer.norm(dim=2), torch.ones(2, 5), rtol=0, atol=1e-6)


# --- What the generator encodes

GENERATORS = [
    {"generator": "resnet", "residual_blocks": 9}, {"generator": "resnet", "residual_blocks": 1},
    {"generator": "resnet", "residual_blocks": 0}, {"generator": "unet", "generator_dropout": 0.0},
    {"generator": "unet", "generator_dropout": 0.0, "image_size": 128},
]  # fmt: skip


@pytest.mark.parametrize("settings", GENERATORS)
def test_encoding_is_the_first_part_of_translating(settings: dict[str, object]) -> None:
    config = config_of(**settings)
    torch.manual_seed(0)
    network = translator(make_generator(config))
    side = config.data.image_size
    images = 2 * uniform(2, 3, side, side) - 1
    made, on_the_way = network.translate_and_encode(images)
    assert torch.equal(made, network(images))
    encoded = network.encode(images)
    assert [layer.shape[1] for layer in encoded] == encoded_channels(config)
    for one, other in zip(encoded, on_the_way, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(encoded[0], images)


def test_the_layers_of_a_resnet_are_those_of_the_paper() -> None:
    config = load_preset("photo2monet-cut")
    assert encoded_channels(config) == [3, 128, 256, 256, 256]
    torch.manual_seed(0)
    network = make_generator(config_of(residual_blocks=9))
    assert isinstance(network, ResNet)
    layers = [network.layers[place] for place in network.encoded]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.Conv2d, Residual, Residual]
    blocks = [layer for layer in network.layers if isinstance(layer, Residual)]
    assert layers[2:] == [blocks[0], blocks[4]]


# --- The objective


def made(config: Config) -> tuple[dict[str, nn.Module], PatchContrast, Batch]:
    """Return networks, their objective and a batch of noise."""
    torch.manual_seed(0)
    family = family_of(config)
    networks, objective = family.networks(config), PatchContrast.from_config(config, CPU)
    count, side = config.training.batch_size, config.data.image_size
    shapes = objective.draws(count)
    draws = {name: uniform(*shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}
    real, source = (2 * uniform(count, 3, side, side, seed=n) - 1 for n in (10, 11))
    return networks, objective, Batch(real, source, draws=draws, step=1)


def test_the_contrast_teaches_generator_and_projections_and_not_the_discriminator() -> None:
    networks, objective, batch = made(config_of())
    generated = objective.generate(networks, batch)
    with frozen([networks["discriminator"]]):
        loss, logged = objective.phase_loss("generator", networks, batch, generated)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for name in ("generator", PROJECTIONS):
        for parameter in networks[name].parameters():
            assert parameter.grad is not None
        gradients = [p.grad.abs().max() for p in networks[name].parameters() if p.grad is not None]
        assert min(map(float, gradients[:1])) > 0
        assert float(gradients[-1]) > 0
    assert all(parameter.grad is None for parameter in networks["discriminator"].parameters())
    assert set(logged) == {"d_fake_after", "nce", "identity_nce"}
    parts = loss - logged["nce"] - logged["identity_nce"]
    adversarial = objective.adversary.generator_loss(
        networks["discriminator"], batch, generated.images[:2]
    )[0]
    # The difference of sums of about 6, in float32.
    torch.testing.assert_close(parts, adversarial, rtol=0, atol=5e-6)


def test_a_discriminator_s_step_leaves_the_generator_alone() -> None:
    networks, objective, batch = made(config_of(diffaugment=["colour"], diffaugment_strength=0.5))
    generated = objective.generate(networks, batch)
    loss, logged = objective.phase_loss("discriminator", networks, batch, generated)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert all(parameter.grad is None for parameter in networks["generator"].parameters())
    assert all(parameter.grad is not None for parameter in networks["discriminator"].parameters())
    assert set(logged) == {"d_real", "d_fake_before"}


def test_both_contrasts_are_of_their_own_images() -> None:
    networks, objective, batch = made(config_of())
    both = objective.contrasts(networks, batch, objective.generate(networks, batch))
    assert both.shape == (4,)
    assert both.dtype == torch.float32
    for place in range(2):
        # The numbers of a layer's rows: first those of the source images, then of the real ones.
        draws = {"patches": batch.draws["patches"][place::2]}
        image = (batch.inputs, batch.real)[place]
        single = made(config_of(identity_nce_weight=0.0))[1]
        alone = Batch(batch.real, image, draws=draws, step=1)
        found = single.contrasts(networks, alone, single.generate(networks, alone))
        # float32 sums in another order, over a dozen layers, and divided by 0.07.
        torch.testing.assert_close(both[2 * place : 2 * place + 2], found, rtol=0, atol=1e-4)


def test_ranks_that_share_a_batch_have_its_loss_on_average() -> None:
    networks, objective, batch = made(config_of(diffaugment=["colour", "translation"]))
    parts = []
    for rows in (slice(None), slice(0, 1), slice(1, 2)):
        draws = {name: numbers[:, rows] for name, numbers in batch.draws.items()}
        part = Batch(batch.real[rows], batch.inputs[rows], draws=draws, step=1)
        generated = objective.generate(networks, part)
        parts.append(objective.phase_loss("generator", networks, part, generated)[0])
    whole, first, second = parts
    # float32 sums in another order, over a dozen layers, and divided by 0.07.
    torch.testing.assert_close((first + second) / 2, whole, rtol=0, atol=1e-4)


def test_settings_of_fastcut_leave_real_images_untranslated() -> None:
    networks, objective, batch = made(config_of(identity_nce_weight=0.0, nce_weight=10.0))
    generated = objective.generate(networks, batch)
    assert len(generated.images) == 2
    loss, logged = objective.phase_loss("generator", networks, batch, generated)
    assert "identity_nce" not in logged
    adversarial = objective.adversary.generator_loss(
        networks["discriminator"], batch, generated.images
    )[0]
    # A sum of about 30, in float32.
    torch.testing.assert_close(loss, 10 * logged["nce"] + adversarial, rtol=0, atol=1e-5)


def test_training_teaches_to_tell_patches_apart() -> None:
    config = config_of(nce_patches=64, learning_rate=3e-3)
    state, batches = set_up(
        config, noise_paintings(4, side=64), FLOAT32, source_images=noise_paintings(4, 1, side=64)
    )
    settings = StepSettings.from_config(config)
    logged = [train_step(state, batches(n), FLOAT32, settings) for n in range(1, 15)]
    for name in ("nce", "identity_nce"):
        assert float(logged[0][name]) > math.log(64)  # no better than chance
        assert float(logged[-1][name]) < 0.8 * math.log(64)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("nce_weight", 0.0, "expected above 0"),
        ("identity_nce_weight", -1.0, "expected 0 or more"),
        ("nce_temperature", 0.0, "from 0.01 to 10"),
        ("nce_patches", 1, "from 2 to 4096"),
        ("cycle_weight", 10.0, "belongs to cyclegan"),
    ],
)
def test_a_wrong_setting_is_refused(setting: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(**{setting: value})
