"""painter: train a GAN on a few hundred images, score it, pack it for the leaderboard."""

__version__ = "0.2.0"
