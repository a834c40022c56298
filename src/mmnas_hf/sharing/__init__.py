"""Sharing on the Hub: architectures, trained networks and searches, and galleries of architectures."""
