"""Checkpoints: written whole or not at all, restored or refused."""
