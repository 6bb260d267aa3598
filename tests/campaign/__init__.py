"""Random faults and rearranged configs against real servers, judged by `tests.checker`: `make campaign MINUTES=10`."""
