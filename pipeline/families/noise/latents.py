"""Interpolation, walks and arithmetic in latent space: pure functions on z, in float64.

Between two z of normal noise the straight line passes through vectors shorter than any that the
generator was trained on; spherical interpolation keeps their length (White 2016, "Sampling
generative networks"). Uniform and gamma noise fill a box and a quadrant, inside which the
straight line stays. Sums of averages: Radford et al. 2016, "Unsupervised representation learning
with deep convolutional generative adversarial networks", section 6.3.2. Truncation: Karras et al.
2019, "A style-based generator architecture for generative adversarial networks", section B, who
scale another latent towards its mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.core.errors import ConfigError
from pipeline.families.noise.distributions import NoiseDistribution

_DEGENERATE = 1e-6
"""Angles as near as this to 0 or pi, in radians, define no plane: the precision of float32 z."""


def lerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return points on the straight line from a (D,) to b (D,), at t (N,) in [0, 1]: (N, D)."""
    t = t.double().unsqueeze(1)
    return (1 - t) * a.double() + t * b.double()


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return points on the arc from a (D,) to b (D,), at t (N,) in [0, 1]: float64 (N, D).

    Equal steps of t are equal angles if a and b are equally long. Where the two point the same
    way, or one is zero, the arc is the straight line. Where they are opposite, every great circle
    through a is as short; the one towards the axis to which a is most nearly perpendicular is
    taken, so that the walk does not pass through zero. With D = 1 only the line is left.
    """
    a, b = a.double(), b.double()
    angle = _angle(a, b)
    if float(angle) < _DEGENERATE or len(a) == 1:
        return lerp(a, b, t)
    if float(torch.pi - angle) < _DEGENERATE:
        return _half_circle(a, b, t)
    t = t.double().unsqueeze(1)
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()


def _angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the angle between a and b in [0, pi]; 0 if one of them is zero.

    By the tangent of its half (Kahan 2006), which stays exact where the cosine is flat: near 0
    and pi.
    """
    if not (a.any() and b.any()):
        return torch.zeros((), dtype=a.dtype)
    first, second = a / a.norm(), b / b.norm()
    return 2 * torch.atan2((first - second).norm(), (first + second).norm())


def _half_circle(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return the arc between opposite vectors, its length changing evenly from |a| to |b|."""
    direction: torch.Tensor = a / a.norm()
    axis = torch.zeros_like(a)
    axis[direction.abs().argmin()] = 1
    side = axis - (axis @ direction) * direction
    side = side / side.norm()
    t = t.double().unsqueeze(1)
    length = torch.lerp(a.norm(), b.norm(), t)
    points: torch.Tensor = length * ((torch.pi * t).cos() * direction + (torch.pi * t).sin() * side)
    return points


def interpolate(
    distribution: NoiseDistribution, a: torch.Tensor, b: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """Interpolate from a (D,) to b (D,) within the distribution, at t (N,) in [0, 1]: (N, D).

    Normal noise lies around its mean, so that is the centre of the arc.
    """
    if distribution.name != "normal":
        return lerp(a, b, t)
    return distribution.first + slerp(
        a.double() - distribution.first, b.double() - distribution.first, t
    )


def walk(
    noise: NoiseDistribution, keys: torch.Tensor, frames_per_step: int, loop: bool, classes: int = 0
) -> torch.Tensor:
    """Return the z of each frame of a walk through key frames.

    Args:
        noise: its distribution decides between arcs and straight lines.
        keys: z of the key frames, (K, D); K at least 2.
        frames_per_step: frames from one key frame to the next; at least 1.
        loop: walk back from the last to the first. The first is not shown again at the end, since
            the repeated video begins with it.
        classes: how many of the last components are the class; they change along the line.

    Returns:
        float32 (K * frames_per_step, D) if it loops, else ((K - 1) * frames_per_step + 1, D). Key
        frame k is row k * frames_per_step, unchanged.

    Raises:
        ConfigError: if there are fewer than two key frames.
    """
    if len(keys) < 2:
        raise ConfigError(
            f"A walk needs at least 2 images as key frames; found {len(keys)}. Name more of them."
        )
    t = torch.arange(frames_per_step, dtype=torch.float64) / frames_per_step
    starts, last = (keys, keys[:0]) if loop else (keys[:-1], keys[-1:])
    ends = keys.roll(-1, 0)[: len(starts)]
    size = keys.shape[1] - classes

    def inner(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        arc = interpolate(noise, start[:size], end[:size], t[1:])
        return torch.cat([arc, lerp(start[size:], end[size:], t[1:])], 1)

    steps = [
        torch.cat([start[None], inner(start, end).float()])
        for start, end in zip(starts, ends, strict=True)
    ]
    return torch.cat([*steps, last])


def truncate(
    distribution: NoiseDistribution, z: torch.Tensor, truncation: float, classes: int = 0
) -> torch.Tensor:
    """Return z moved towards the mean of its distribution: mean + truncation * (z - mean).

    Args:
        distribution: of the noise; its mean is what 0 gives.
        z: (N, D).
        truncation: 1 leaves z unchanged, less makes images more alike, more exaggerates.
        classes: how many of the last components are the class; they stay as they are.

    Returns:
        float32 (N, D).
    """
    size = z.shape[1] - classes
    noise = distribution.mean + truncation * (z[:, :size].double() - distribution.mean)
    return torch.cat([noise.float(), z[:, size:].float()], 1)


def average(z: torch.Tensor) -> torch.Tensor:
    """Return the mean (D,) of z (N, D) in float64."""
    return z.double().mean(0)


def signed_sum(signs: Sequence[int], terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the sum of terms (D,), each times its sign, +1 or -1."""
    return sum((sign * term for sign, term in zip(signs, terms, strict=True)), torch.tensor(0.0))
