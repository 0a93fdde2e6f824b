"""The competition "I'm Something of a Painter Myself", as far as its format goes."""

MINIMUM_IMAGES = 7_000
MAXIMUM_IMAGES = 10_000
IMAGE_SIZE = (256, 256)
