"""Delivers again what is still in the oplog or in the dead letters. Start reading at `oplog` and `dead_letters`."""
