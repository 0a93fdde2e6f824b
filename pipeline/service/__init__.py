"""A generator behind HTTP: an API that others call, and a page to play with. `painter serve`."""
