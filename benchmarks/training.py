"""Training speed against a plain DCGAN loop, alternating in one run: `make bench-train`.

The baseline is what tutorials do: files decoded by a DataLoader each epoch, float32, NCHW, two
discriminator passes, losses read back every step. All train the same networks at 64 pixels and
batch 64 on drawn landscapes, each in a process of its own. Prints images a second and their
ratio: median and spread.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from benchmarks.measure import alternating, machine, ratios, seconds, table
from pipeline.config import load_preset
from pipeline.data.images import decode_rgb, load_images, open_images
from pipeline.data.painterly import draw_landscape
from pipeline.memory import keep_freed_memory
from pipeline.networks import build_discriminator, build_generator
from pipeline.training.batches import Batches
from pipeline.training.loop import StepSettings, train_step
from pipeline.training.objective import Adversarial
from pipeline.training.precision import Precision, choose_precision, default_device
from pipeline.training.state import TrainingState

CONFIG = load_preset("monet64")
STEPS = StepSettings.from_config(CONFIG)
BATCH = CONFIG.training.batch_size
WARM_UP = 3
"""Steps before any is timed."""


class Files(Dataset[torch.Tensor]):
    """JPEG files, decoded whenever they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.jpg"))
        self._transform = transforms.Compose(
            [
                transforms.Resize(64),
                transforms.CenterCrop(64),
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


class Baseline:
    """A plain training loop."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._device = device
        self._loader = DataLoader(Files(folder), BATCH, shuffle=True, drop_last=True)
        self._g = build_generator(CONFIG.network, CONFIG.data).to(device)
        self._d = build_discriminator(CONFIG).to(device)
        self._adam_g = torch.optim.Adam(self._g.parameters(), 2e-4, (0.5, 0.999))
        self._adam_d = torch.optim.Adam(self._d.parameters(), 2e-4, (0.5, 0.999))
        self._loss = nn.BCEWithLogitsLoss()

    def train(self, steps: int) -> None:
        """Take some steps."""
        done = 0
        while done < steps:
            for paintings in self._loader:
                self._step(paintings.to(self._device))
                done += 1
                if done == steps:
                    return

    def _step(self, real: torch.Tensor) -> None:
        ones = torch.full((len(real),), 0.8, device=self._device)
        tenths = torch.full((len(real),), 0.1, device=self._device)
        self._d.zero_grad()
        loss_real = self._loss(self._d(real), ones)
        loss_real.backward()
        fake = self._g(torch.randn(len(real), CONFIG.network.latent_size, device=self._device))
        loss_fake = self._loss(self._d(fake.detach()), tenths)
        loss_fake.backward()
        self._adam_d.step()
        self._g.zero_grad()
        loss_g = self._loss(self._d(fake), ones)
        loss_g.backward()
        self._adam_g.step()
        _ = loss_real.item() + loss_fake.item() + loss_g.item()


class Painter:
    """The product's own step, without logging and saving, as between two log lines."""

    def __init__(self, folder: Path, device: torch.device, precision: str = "auto") -> None:
        keep_freed_memory()
        self._precision = Precision(choose_precision(precision, device), device)
        self._state = TrainingState.fresh(CONFIG, self._precision)
        images = load_images(open_images(folder), CONFIG.data.image_size)
        self._batches = Batches(images.pixels, CONFIG, device)
        self._objective = Adversarial.from_config(CONFIG)

    def train(self, steps: int) -> None:
        """Take some steps."""
        for _ in range(steps):
            batch = self._batches(self._state.step + 1)
            train_step(self._state, self._objective, batch, self._precision, STEPS)


def trainer(name: str, folder: Path, device: torch.device) -> Baseline | Painter:
    """Return the trainer of that name: `baseline float32` or `painter PRECISION`."""
    if name.startswith("baseline"):
        return Baseline(folder, device)
    return Painter(folder, device, name.rsplit(maxsplit=1)[-1])


def draw(folder: Path, count: int = 300) -> None:
    """Fill a folder with landscapes as JPEG files."""
    for index in range(count):
        buffer = io.BytesIO()
        draw_landscape(index % 20, seed=index // 20).save(buffer, "JPEG", quality=75)
        (folder / f"{index:03d}.jpg").write_bytes(buffer.getvalue())


class Process:
    """A trainer in a process of its own: what it asks of the C library does not help others."""

    def __init__(self, name: str, folder: Path, device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        arguments = (theirs, name, folder, device)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()

    def seconds(self, steps: int) -> float:
        """Return how long some steps take there, while this process waits."""
        self._orders.send(steps)
        taken: float = self._orders.recv()
        return taken

    def rate(self, steps: int) -> float:
        """Return images a second over some steps."""
        return steps * BATCH / self.seconds(steps)

    def close(self) -> None:
        """End the process."""
        self._orders.send(0)
        self._process.join()


def serve(orders: Any, name: str, folder: Path, device: torch.device) -> None:
    """Train as many steps as each order says, and answer with the seconds; 0 ends it."""
    one = trainer(name, folder, device)
    while steps := orders.recv():
        orders.send(seconds(partial(one.train, steps), device))


def operations() -> float:
    """Return the arithmetic operations of a training step, an image."""
    cpu = torch.device("cpu")
    precision = Precision("float32", cpu)
    state = TrainingState.fresh(CONFIG, precision)
    size = CONFIG.data.image_size
    pixels = torch.zeros(BATCH, 3, size, size, dtype=torch.uint8)
    batch = Batches(pixels, CONFIG, cpu)(1)
    with FlopCounterMode(display=False) as counter:
        train_step(state, Adversarial.from_config(CONFIG), batch, precision, STEPS)
    return float(counter.get_total_flops() / BATCH)


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations a second of a large matrix product: the best of several."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def floor(name: str, device: torch.device, each: float) -> str:
    """Return a row: what the machine's matrix products would allow a trainer of this precision."""
    dtype = getattr(torch, choose_precision(name.rsplit(maxsplit=1)[-1], device))
    rate = matrix_rate(dtype, device)
    return f"| {dtype} | {rate / 1e9:,.0f} | {rate / each:,.0f} |".replace("torch.", "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    device = default_device()
    best = f"painter {choose_precision('auto', device)}"
    names = list(dict.fromkeys(("baseline float32", "painter float32", best)))
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        processes = {name: Process(name, Path(folder), device) for name in names}
        for process in processes.values():
            process.seconds(WARM_UP)
        rates = alternating(
            {name: partial(p.rate, arguments.steps) for name, p in processes.items()},
            arguments.rounds,
        )
        for process in processes.values():
            process.close()
    print(machine(device, f"batch {BATCH}"))
    print(table("Training at 64 pixels", "images/s", rates))
    over = {f"{n} over baseline": ratios(rates, n, names[0]) for n in names[1:]}
    print(table("Ratio", "times", over))
    each = operations()
    print(f"\nThe arithmetic alone, {each / 1e9:.2f} GFLOP an image:\n")
    print("| precision | matrix product, GFLOP/s | at that rate, images/s |\n|---|---|---|")
    for name in names[1:]:
        print(floor(name, device, each))


if __name__ == "__main__":
    main()
