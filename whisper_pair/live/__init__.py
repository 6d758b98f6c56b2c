"""A page that hears with the main alone and with the pair, and shows how the two come to the same text."""

from .server import Server

__all__ = [
    "Server",
]
