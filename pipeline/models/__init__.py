"""A trained generator and how it is used."""
