"""How fast, how small, how quiet: MESS against what MongoDB and aiohttp can do at most, on one machine."""
