"""Delivering again: changes still in the oplog, or dead letters. Start reading at `oplog` and `dead_letters`."""
