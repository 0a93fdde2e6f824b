"""What painter promises of any machine, checked on this one.

A resumed run is an uninterrupted one; a replayed step is a plain one; an image depends on its
number alone, whatever its batch and its device. On a GPU each holds up to rounding: the library may
sum in another order, and Adam turns the sign of a gradient near zero into a whole step. So weights
are compared by how far apart they are, as a share of how far training has moved them; and in whole
float32: with TF32 in convolutions six steps were a fifth of their way apart and more (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.bench.steps import plain_step, replayed_step
from pipeline.config import Config, apply_settings
from pipeline.data.images import content_hash, load_images, open_images
from pipeline.families.registry import build_generator, make_sampler, takes_photos
from pipeline.models.precision import Precision, choose_precision
from pipeline.models.snapshot import Snapshot
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.training.checkpoints import load_state
from pipeline.training.loop import train
from pipeline.training.setup import set_up
from pipeline.training.state import TrainingState

STEPS = 6
"""Of each compared training; even."""
BATCH = 8
CHANNELS = 16
IMAGES = 64
"""That are compared."""
BATCH_SIZES = (1, 7, 64)
SAME = 0.05
"""Share of their way that weights may be apart where the order of sums differs."""
LEVELS = {"float32": 1, "float16": 1, "bfloat16": 4}
"""Of 255, that a pixel may differ by: sums in another order move a value across the edge between
two levels, and in bfloat16, whose numbers near 1 lie half a level apart, across a few."""


@dataclass(frozen=True)
class CheckResult:
    """What became of one check."""

    name: str
    holds: bool | None
    """None where there is nothing to check on this machine."""
    found: str


Weights = Mapping[str, torch.Tensor]


def apart(start: Weights, one: Weights, other: Weights) -> float:
    """Return how far two trainings of the same start are apart, as a share of the way of one."""
    a, b, c = (
        torch.cat([value.detach().float().flatten().cpu() for value in weights.values()])
        for weights in (start, one, other)
    )
    moved = float((b - a).abs().mean())
    return float((b - c).abs().mean()) / moved if moved else float("nan")


def small_run(config: Config, steps: int = STEPS) -> Config:
    """Return a config that takes so many steps of a small batch in float32, and logs little."""
    return apply_settings(
        config,
        {
            "batch_size": BATCH, "precision": "float32", "images": BATCH * steps, "minutes": None,
            "score_every": None, "sample_every": 10**6, "sample_count": 4,
        },
    )  # fmt: skip


def thin(config: Config) -> Config:
    """Return a config with few channels: what is the same does not depend on their number."""
    values = config.values()
    names = ("generator_channels", "discriminator_channels")
    return apply_settings(config, {name: min(CHANNELS, values[name]) for name in names})


def fresh_weights(config: Config, device: torch.device) -> Weights:
    """Return the generator's weights before the first step."""
    return TrainingState.fresh(config, Precision("float32", device)).generator.state_dict()


def judge(name: str, share: float, device: torch.device) -> CheckResult:
    """Return whether two trainings are the same, on a GPU up to rounding."""
    limit = 0.0 if device.type == "cpu" else SAME
    found = "equal, bit for bit" if share == 0 else f"{share:.2g} of the way apart"
    return CheckResult(name, share <= limit, f"{found} (at most {limit:g})")


@torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
def check_resumed(config: Config, drawn: Path, scratch: Path, device: torch.device) -> CheckResult:
    """Train without a break, and with one; compare the generators."""
    images = open_images(drawn)
    data = TrainingData(str(drawn), None, len(images), content_hash(images))
    pixels = load_images(images, config.data.image_size).pixels
    config = thin(config)

    def trained(name: str, *parts: int) -> Weights:
        for steps in parts:
            photos = pixels if takes_photos(config) else None
            run = scratch / name
            train(small_run(config, steps), pixels, data, run, device, source_images=photos)
        weights: Weights = load_state(RunFolder(scratch / name).state)["generator"]
        return weights

    whole, resumed = trained("whole", STEPS), trained("resumed", STEPS // 2, STEPS)
    share = apart(fresh_weights(small_run(config), device), whole, resumed)
    return judge("a resumed run is an uninterrupted one", share, device)


@torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
def check_replayed(name: str, config: Config, drawn: Path, device: torch.device) -> CheckResult:
    """Take plain steps, and steps that are recorded and replayed; compare the generators.

    Args:
        name: of the recipe.
        config: its settings.
        drawn: folder of JPEG files.
        device: where.
    """
    title = f"replayed steps of {name} are plain ones"
    chosen, precision = small_run(config), Precision("float32", device)
    pixels = load_images(open_images(drawn), config.data.image_size).pixels
    weights = []
    for make in (replayed_step, plain_step):
        photos = pixels if takes_photos(config) else None
        state, batches = set_up(chosen, pixels, precision, source_images=photos)
        step = make(chosen, state, batches, precision)
        if step is None:
            return CheckResult(title, None, "no step is recorded here")
        for _ in range(STEPS):
            step()
        weights.append(state.generator.state_dict())
    replayed, plain = weights
    return judge(title, apart(fresh_weights(chosen, device), plain, replayed), device)


def livened(config: Config) -> nn.Module:
    """Return a drawn generator whose normalisations fit its own activations: its images differ."""
    torch.manual_seed(0)
    network = build_generator(config)
    momenta = {m: m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    for norm in momenta:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(IMAGES, config.values()["latent_size"]))
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    return network.eval()


def check_images(config: Config, devices: Sequence[torch.device]) -> CheckResult:
    """Make images in batches of several sizes, on one device and on all; compare their pixels.

    Args:
        config: of a generator that starts from noise.
        devices: all that may be used.
    """
    chosen = apply_settings(config, {"output_size": config.data.image_size})
    snapshot = Snapshot(livened(chosen), chosen, 0)
    expected = np.stack(make_sampler(snapshot, 0, devices[:1])(range(IMAGES))).astype(int)
    most, sizes = 0, [size for size in BATCH_SIZES if size <= IMAGES]
    for used in {len(devices[:1]): devices[:1], len(devices): devices}.values():
        sampler = make_sampler(snapshot, 0, used)
        for size in sizes:
            batches = (range(i, min(i + size, IMAGES)) for i in range(0, IMAGES, size))
            found = np.concatenate([np.stack(sampler(indices)) for indices in batches])
            most = max(most, int(np.abs(found - expected).max()))
    precision = choose_precision("auto", devices[0])
    several = f" and on {len(devices)} devices" if len(devices) > 1 else ", on one device"
    return CheckResult(
        f"images are the same in batches of {', '.join(map(str, sizes))}{several}",
        most <= LEVELS[precision],
        f"{most} of 255 levels at most apart in {precision} (at most {LEVELS[precision]})",
    )


def run_checks(
    checks: Sequence[tuple[str, Callable[[], CheckResult]]],
    note: Callable[[list[CheckResult]], object] = lambda known: None,
) -> list[CheckResult]:
    """Run checks; one that raises anything does not hold, and says why.

    Args:
        checks: each with a name for its failure.
        note: called after each check with all that is known.
    """
    found: list[CheckResult] = []
    for name, check in checks:
        try:
            found.append(check())
        except Exception as error:  # whatever a machine that was never seen comes up with
            found.append(CheckResult(name, False, f"{type(error).__name__}: {error}"))
        note(found)
    return found
