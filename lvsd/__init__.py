"""lvsd: VRRP, health checks and the IPVS table of a Linux Virtual Server director."""

__version__ = "0.1.0"
