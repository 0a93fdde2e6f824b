"""`python -m painter` is the same command as `painter`."""

from painter import main

main()
