"""Distributed training: one process per device."""
