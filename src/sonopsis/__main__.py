"""`python -m sonopsis` is the command `sonopsis`."""

from sonopsis.cli.main import app

app(prog_name="sonopsis")
