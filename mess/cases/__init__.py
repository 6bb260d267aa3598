"""`mess test`: cases, which are files with events and what a pipeline should make of them.

Start reading at `run`.
"""
