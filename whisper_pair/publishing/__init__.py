"""A finished run on the Hub: which files, with which cards, in one commit a repository."""
