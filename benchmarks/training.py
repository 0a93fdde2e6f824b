"""Training speed against a plain DCGAN loop, alternating in one run: `make bench-train`.

The baseline does what tutorials do: files decoded by a DataLoader each epoch, float32, NCHW, two
discriminator passes, losses read back every step. All train the networks of one preset
(`--preset`, else `monet64`) on synthetic landscapes, each in a process of its own. Prints images a
second and their ratio, median and spread, and the memory of each process.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from benchmarks.measure import alternating, machine, ratios, seconds, table
from pipeline.config import Config, apply_settings, load_preset
from pipeline.data.decoding import decode_rgb
from pipeline.data.images import load_images, open_images
from pipeline.data.synthetic_landscapes import draw_landscape
from pipeline.families.family import Batch
from pipeline.families.registry import family_of, takes_photos
from pipeline.models.precision import Precision, choose_precision, default_device
from pipeline.system.memory import peak_rss
from pipeline.training.setup import set_up
from pipeline.training.step import StepSettings, train_step

WARM_UP = 3
"""Steps before any is timed."""


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
        self._loader = DataLoader(files, batch, shuffle=True, drop_last=True)
        self._photos = iter(endless(DataLoader(files, batch, shuffle=True, drop_last=True)))
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
        done = 0
        while done < steps:
            for images in self._loader:
                self._step(images.to(self._device))
                done += 1
                if done == steps:
                    return

    def _inputs(self, count: int) -> torch.Tensor:
        """Return noise, or photos: a second set of files."""
        if not self._latent_size:
            return next(self._photos).to(self._device)
        return torch.randn(count, self._latent_size, device=self._device)

    def _any_step(self, real: torch.Tensor) -> None:
        batch = Batch(real, self._inputs(len(real)))
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

    def __init__(
        self, folder: Path, device: torch.device, config: Config, precision: str = "auto"
    ) -> None:
        self._precision = Precision(choose_precision(precision, device), device)
        images = load_images(open_images(folder), config.data.image_size)
        photos = images.pixels if takes_photos(config) else None
        self._state, self._batches = set_up(
            config, images.pixels, self._precision, source_images=photos
        )
        self._steps = StepSettings.from_config(config)

    def train(self, steps: int) -> None:
        """Take some steps."""
        for _ in range(steps):
            batch = self._batches(self._state.step + 1)
            train_step(self._state, batch, self._precision, self._steps)


def trainer(name: str, folder: Path, device: torch.device, config: Config) -> Baseline | Painter:
    """Return the trainer of that name: `baseline float32` or `painter PRECISION`."""
    if name.startswith("baseline"):
        return Baseline(folder, device, config)
    return Painter(folder, device, config, name.rsplit(maxsplit=1)[-1])


def draw(folder: Path, count: int = 300) -> None:
    """Fill a folder with landscapes as JPEG files."""
    for index in range(count):
        buffer = io.BytesIO()
        draw_landscape(index % 20, seed=index // 20).save(buffer, "JPEG", quality=75)
        (folder / f"{index:03d}.jpg").write_bytes(buffer.getvalue())


class Process:
    """A trainer in a process of its own: its settings of the C library do not help others."""

    def __init__(self, name: str, folder: Path, device: torch.device, config: Config) -> None:
        self._batch = config.training.batch_size
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, name, folder, device, config)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()

    def seconds(self, steps: int) -> float:
        """Return how long some steps take there, while this process waits."""
        self._connection.send(steps)
        taken, self.memory = self._connection.recv()
        return float(taken)

    def rate(self, steps: int) -> float:
        """Return images a second over some steps."""
        return steps * self._batch / self.seconds(steps)

    def close(self) -> None:
        """End the process."""
        self._connection.send(0)
        self._process.join()


def serve(connection: Any, name: str, folder: Path, device: torch.device, config: Config) -> None:
    """Train as many steps as each message says; reply with seconds and memory; 0 ends it."""
    one = trainer(name, folder, device, config)
    while steps := connection.recv():
        taken = seconds(partial(one.train, steps), device)
        cuda = device.type == "cuda"
        connection.send((taken, torch.cuda.max_memory_allocated() if cuda else peak_rss()))


def flops_per_image(config: Config) -> float:
    """Return the floating-point operations of a training step per image."""
    cpu = torch.device("cpu")
    precision = Precision("float32", cpu)
    size, count = config.data.image_size, config.training.batch_size
    pixels = torch.zeros(count, 3, size, size, dtype=torch.uint8)
    photos = pixels if takes_photos(config) else None
    state, batches = set_up(config, pixels, precision, source_images=photos)
    batch = batches(1)
    steps = StepSettings.from_config(config)
    with FlopCounterMode(display=False) as counter:
        train_step(state, batch, precision, steps)
    return float(counter.get_total_flops() / count)


def matmul_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Return the FLOP/s of a large matrix product: the best of several."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def roofline_row(name: str, device: torch.device, each: float) -> str:
    """Return a table row: the speed at the machine's matrix-product FLOP/s in this precision."""
    dtype = getattr(torch, choose_precision(name.rsplit(maxsplit=1)[-1], device))
    rate = matmul_flops(dtype, device)
    return f"| {dtype} | {rate / 1e9:,.0f} | {rate / each:,.3g} |".replace("torch.", "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--preset", default="monet64")
    parser.add_argument("--batch-size", type=int, help="by default the preset's")
    arguments = parser.parse_args()
    config = load_preset(arguments.preset)
    if arguments.batch_size:
        config = apply_settings(config, {"batch_size": arguments.batch_size})
    size, batch = config.data.image_size, config.training.batch_size
    device = default_device()
    best = f"painter {choose_precision('auto', device)}"
    names = list(dict.fromkeys(("baseline float32", "painter float32", best)))
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        processes = {name: Process(name, Path(folder), device, config) for name in names}
        for process in processes.values():
            process.seconds(WARM_UP)
        rates = alternating(
            {name: partial(p.rate, arguments.steps) for name, p in processes.items()},
            arguments.rounds,
        )
        for process in processes.values():
            process.close()
    print(machine(device, f"preset {arguments.preset}", f"batch {batch}"))
    print(table(f"Training at {size} pixels", "images/s", rates))
    over = {f"{n} over baseline": ratios(rates, n, names[0]) for n in names[1:]}
    print(table("Ratio", "times", over))
    print("\n| program | peak memory, MB |\n|---|---|")
    for name, process in processes.items():
        print(f"| {name} | {process.memory / 1e6:,.0f} |")
    each = flops_per_image(config)
    print(f"\nThe arithmetic alone, {each / 1e9:.2f} GFLOP an image:\n")
    print("| precision | matrix product, GFLOP/s | at that rate, images/s |\n|---|---|---|")
    for name in names[1:]:
        print(roofline_row(name, device, each))


if __name__ == "__main__":
    main()
