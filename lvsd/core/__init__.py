"""The pure core: told the time, returns what to do. Standard library only, no I/O, no clock."""
