"""A page that transcribes with the main alone and with the pair, and shows how both come to the same text."""

from .server import Server

__all__ = [
    "Server",
]
