"""Family cyclegan: images of one domain into another, from unpaired examples."""
