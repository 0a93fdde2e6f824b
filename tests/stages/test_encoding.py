"""Images become files in order, wherever they are encoded."""

import os
from collections.abc import Sequence
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
import torch

from pipeline.config import OutputConfig
from pipeline.models.jpeg import encode_jpeg, encode_jpegs
from pipeline.stages import encoding
from pipeline.stages.encoding import encoded_images, helper_count, thread_count
from tests.support.helper_functions import process_as_fault

OUTPUT = OutputConfig(output_size=8)


def numbered(indices: Sequence[int]) -> list[np.ndarray]:
    """Return an image an index, and no two alike."""
    return [np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8) for index in indices]


def test_helper_processes_make_the_same_files_in_the_same_order() -> None:
    files = encoded_images(numbered, 10**6, OUTPUT, 16, process_as_fault, 2)
    seen: set[str | None] = set()
    with closing(files):
        for index, file in enumerate(files):
            assert file.content == encode_jpeg(numbered([index])[0], OUTPUT)
            seen.add(file.fault)
            if len(seen - {str(os.getpid())}) == 2:  # both have started
                break
            assert index < 10**5


def test_a_file_comes_with_its_checksum_and_what_a_check_found() -> None:
    first, second = encode_jpegs(numbered([0, 1]), OUTPUT, lambda c: "long" if len(c) > 5 else None)
    assert (first.fault, second.fault) == ("long", "long")
    assert first.checksum != second.checksum
    (unchecked,) = encode_jpegs(numbered([0]), OUTPUT)
    assert unchecked.fault is None
    assert (unchecked.content, unchecked.checksum) == (first.content, first.checksum)


def test_an_error_of_the_sampler_comes_in_its_place() -> None:
    def failing(indices: Sequence[int]) -> list[np.ndarray]:
        if 6 in indices:
            raise RuntimeError("out of paint")
        return numbered(indices)

    with closing(encoded_images(failing, 20, OUTPUT, 3)) as files:
        assert len(list(islice(files, 6))) == 6
        with pytest.raises(RuntimeError, match="out of paint"):
            next(files)


def test_processes_are_started_where_they_are_worth_while(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {}
    for cores in (1, 3, 4, 64):
        monkeypatch.setattr(encoding, "usable_cores", lambda cores=cores: cores)
        counts[cores] = [helper_count(count, 64) for count in (10, 7000)]
    assert counts == {1: [0, 0], 3: [0, 0], 4: [0, 4], 64: [0, encoding.MAX_HELPERS]}
    assert helper_count(encoding.IMAGES_FOR_HELPERS, 1000) == 1


def test_a_gpu_gets_a_thread_more_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "usable_cores", lambda: 4)
    for kind, threads in (("cpu", 4), ("cuda", 5), ("mps", 5)):
        monkeypatch.setattr(encoding, "default_device", lambda kind=kind: torch.device(kind))
        assert thread_count() == threads
