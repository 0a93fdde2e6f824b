"""What all GANs here share: adversarial losses, penalties, DiffAugment, the objective."""
