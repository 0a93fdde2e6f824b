"""What families that translate images of one domain into another share: photos to paintings."""
