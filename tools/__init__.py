"""What works on a checkout before anything is installed in it: the standard library alone."""
