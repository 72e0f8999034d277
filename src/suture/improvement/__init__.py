"""The thing itself: manifest, layer, patch container, build and apply over streams.

Pure: bytes and values in, bytes and values out. Never opens a file, never reads a clock.
"""
