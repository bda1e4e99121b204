"""The only code that touches the kernel. pyroute2 stays inside this package."""
