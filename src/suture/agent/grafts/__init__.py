"""Grafts: backends that make a layer visible at the component's path, atomically, and take it away again."""
