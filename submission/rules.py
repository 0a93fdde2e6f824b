"""The competition "I'm Something of a Painter Myself", as far as its format goes."""

COMPETITION = "gan-getting-started"
SUBMISSION_FILE = "images.zip"
MINIMUM_IMAGES = 7_000
MAXIMUM_IMAGES = 10_000
IMAGE_SIZE = (256, 256)
