"""The asyncio shells: the main process (VRRP), its guard, and the child (director)."""
