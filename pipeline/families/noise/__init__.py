"""What families share that make images from a vector of noise: settings, laws, sampler, walks."""
