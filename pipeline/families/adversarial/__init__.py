"""What all GANs here share: losses, penalties, augmentation, the objective made of them."""
