"""The programs that train in a benchmark: a plain loop, and painter's own steps.

The plain loop does what tutorials do: files decoded by a DataLoader each epoch, float32, NCHW, two
discriminator passes, losses read back every step, no DiffAugment. Both train the same networks on
the same files.
"""

from __future__ import annotations

import gc
import io
import itertools
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from pipeline.bench.device_work import profile_steps
from pipeline.bench.machine import matrix_rate
from pipeline.bench.measure import seconds
from pipeline.bench.steps import plain_step, usual_step
from pipeline.config import Config
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import load_images, open_images
from pipeline.data.synthetic_landscapes import draw_landscape
from pipeline.families.family import Batch
from pipeline.families.registry import family_of, takes_photos
from pipeline.models.precision import Precision, choose_precision
from pipeline.system.devices import default_device
from pipeline.system.memory import peak_rss
from pipeline.system.parallel import map_in_order, usable_cores
from pipeline.training.setup import set_up

BASELINE = "plain loop"
"""Name of the program that is no precision of painter's."""
JPEG_QUALITY = 75
"""Of the drawn images; the competition's paintings have the same."""


class Trainer(Protocol):
    """Trains, some steps at a time."""

    def train(self, steps: int) -> None:
        """Take some steps."""


class Files(Dataset[torch.Tensor]):
    """JPEG files, decoded on access."""

    def __init__(self, folder: Path, size: int) -> None:
        self._paths = sorted(folder.glob("*.jpg"))
        self._transform = transforms.Compose(
            [
                transforms.Resize(size),
                transforms.CenterCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = self._transform(decode_rgb(self._paths[index].read_bytes()))
        return image


def endless(loader: DataLoader[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield the batches of a loader, epoch after epoch."""
    while True:
        yield from loader


class Baseline:
    """A plain training loop, for any preset; with the losses written out for DCGANs."""

    def __init__(self, folder: Path, device: torch.device, config: Config) -> None:
        family = family_of(config)
        self._device = device
        self._latent_size = 0 if family.latents is None else family.latents(config).size
        files, batch = Files(folder, config.data.image_size), config.training.batch_size
        self._files, self._photos = (
            iter(endless(DataLoader(files, batch, shuffle=True, drop_last=True))) for _ in range(2)
        )
        self._networks = {n: m.to(device) for n, m in family.networks(config).items()}
        self._g, self._d = self._networks["generator"], self._networks["discriminator"]
        self._objective = family.objective(config, device)
        plain = config.network.family == "dcgan" and config.values()["loss"] == "non-saturating"
        self._step = self._dcgan_step if plain else self._any_step
        self._adams = {
            phase.name: torch.optim.Adam(
                [p for name in phase.trains for p in self._networks[name].parameters()],
                2e-4,
                (0.5, 0.999),
            )
            for phase in self._objective.phases
        }
        self._adam_g, self._adam_d = self._adams["generator"], self._adams["discriminator"]
        self._loss = nn.BCEWithLogitsLoss()

    def train(self, steps: int) -> None:
        """Take some steps."""
        for images in itertools.islice(self._files, steps):
            self._step(images.to(self._device))

    def _inputs(self, count: int) -> torch.Tensor:
        """Return noise, or photos: a second pass over the files."""
        if not self._latent_size:
            return next(self._photos).to(self._device)
        return torch.randn(count, self._latent_size, device=self._device)

    def _draws(self, count: int) -> dict[str, torch.Tensor]:
        """Return the random numbers of a step, but those of DiffAugment: it has none."""
        shapes = self._objective.draws(count)
        shapes = {purpose: shape for purpose, shape in shapes.items() if purpose != "diffaugment"}
        return {
            purpose: torch.rand(shape, device=self._device) for purpose, shape in shapes.items()
        }

    def _any_step(self, real: torch.Tensor) -> None:
        batch = Batch(real, self._inputs(len(real)), draws=self._draws(len(real)))
        fake = self._objective.generate(self._networks, batch)
        losses = 0.0
        for name, adam in self._adams.items():
            loss, _ = self._objective.phase_loss(name, self._networks, batch, fake)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            adam.step()
            losses += loss.item()

    def _dcgan_step(self, real: torch.Tensor) -> None:
        ones = torch.full((len(real),), 0.8, device=self._device)
        tenths = torch.full((len(real),), 0.1, device=self._device)
        self._d.zero_grad()
        loss_real = self._loss(self._d(real), ones)
        loss_real.backward()
        fake = self._g(torch.randn(len(real), self._latent_size, device=self._device))
        loss_fake = self._loss(self._d(fake.detach()), tenths)
        loss_fake.backward()
        self._adam_d.step()
        self._g.zero_grad()
        loss_g = self._loss(self._d(fake), ones)
        loss_g.backward()
        self._adam_g.step()
        _ = loss_real.item() + loss_fake.item() + loss_g.item()


class Painter:
    """Painter's own training step, without logging and saving."""

    def __init__(self, folder: Path, device: torch.device, config: Config, precision: str) -> None:
        self.precision = Precision(choose_precision(precision, device), device)
        images = load_images(open_images(folder), config.data.image_size)
        photos = images.pixels if takes_photos(config) else None
        state, batches = set_up(config, images.pixels, self.precision, source_images=photos)
        self.plain_step = plain_step(config, state, batches, self.precision)
        self.step = usual_step(config, state, batches, self.precision)

    def train(self, steps: int) -> None:
        """Take some steps."""
        for _ in range(steps):
            self.step()


class TrainingProgram:
    """One program of a benchmark, which trains one preset after the other; `Worker` serves it."""

    def __init__(self) -> None:
        self._device = default_device()
        self._trainer: Trainer | None = None

    def start(self, program: str, folder: str, config: dict[str, Any]) -> None:
        """Begin a training.

        Args:
            program: `BASELINE`, or a precision of painter's.
            folder: of JPEG files.
            config: sections of the settings.
        """
        self._trainer = None  # its memory is free before more is taken
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        chosen = Config.from_saved(config)
        self._trainer = (
            Baseline(Path(folder), self._device, chosen)
            if program == BASELINE
            else Painter(Path(folder), self._device, chosen, program)
        )

    def seconds(self, steps: int) -> float:
        """Take some steps, and return how long they took."""
        assert self._trainer is not None
        return seconds(partial(self._trainer.train, steps), self._device)

    def flops(self) -> int:
        """Take a step operation by operation; return its floating-point operations (FLOPs)."""
        with FlopCounterMode(display=False) as counter:
            self._painter.plain_step()
        return int(counter.get_total_flops())

    def profile(self, steps: int) -> dict[str, float] | None:
        """Take some steps; return the fields of `DeviceWork`, or None without a GPU."""
        if self._device.type != "cuda":
            return None
        return asdict(profile_steps(self._painter.step, steps))

    def matrix_rate(self, size: int | None = None) -> float:
        """Return the FLOP/s of large matrix products in painter's precision."""
        return matrix_rate(self._painter.precision.dtype, self._device, size)

    def memory(self) -> int:
        """Return the most bytes that were taken: of the GPU since the start, else of this one."""
        cuda = self._device.type == "cuda"
        return torch.cuda.max_memory_allocated() if cuda else peak_rss()

    @property
    def _painter(self) -> Painter:
        assert isinstance(self._trainer, Painter)
        return self._trainer


def draw(folder: Path, count: int) -> None:
    """Fill a folder with landscapes as JPEG files."""

    def drawn(index: int) -> bytes:
        buffer = io.BytesIO()
        draw_landscape(index % 20, seed=index // 20).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()

    folder.mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(map_in_order(drawn, range(count), usable_cores())):
        (folder / f"{index:06d}.jpg").write_bytes(content)
