"""Copies to a device and back are the same tensors."""

import pytest
import torch

from pipeline.system.device_copies import to_device, to_host
from tests.support.factories import CPU

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_on_the_processor_nothing_is_copied() -> None:
    tensor = torch.arange(6).reshape(2, 3)
    assert to_device(tensor, CPU) is tensor
    assert all(a is b for a, b in zip(to_host(tensor, tensor), (tensor, tensor), strict=True))


@needs_gpu
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_there_and_back_is_the_same_in_the_same_layout(layout: torch.memory_format) -> None:
    gpu = torch.device("cuda")
    tensor = torch.arange(2 * 3 * 64 * 64, dtype=torch.uint8).reshape(2, 3, 64, 64)
    tensor = tensor.to(memory_format=layout)
    there = to_device(tensor, gpu)
    assert there.device.type == "cuda"
    assert to_device(there, gpu) is there
    doubled, same = to_host(there * 2, there)
    assert same.is_pinned()
    assert torch.equal(same, tensor)
    assert torch.equal(doubled, tensor * 2)
    assert same.stride() == tensor.stride()


@needs_gpu
def test_a_copy_back_waits_for_what_is_computed_on_its_own_device() -> None:
    gpu = torch.device("cuda")
    x = torch.rand(2048, 2048, device=gpu)
    expected = x
    for _ in range(200):
        expected = (expected @ x).softmax(0)
    (found,) = to_host(expected)
    torch.cuda.synchronize()
    assert torch.equal(found, expected.cpu())
