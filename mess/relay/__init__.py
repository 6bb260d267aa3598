"""The engine: from a batch of events to lanes, steps, retries and checkpoints.

Start reading at `engine` (what runs), `dispatch` (how events reach lanes) and `step_runner` (a step and its retries).
"""
