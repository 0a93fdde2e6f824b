"""What families that generate from noise share: settings, distributions, sampler, walks."""
