"""`python -m cai.cli`: for launchers, which start modules."""

from cai.cli import main

main()
