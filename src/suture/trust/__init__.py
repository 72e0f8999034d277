"""What TUF leaves to us: cheap-poll freshness, clock and rollback floors, recall, pause, path grammar.

Pure: bytes and a time in, a verdict out. The TUF client itself is `tuf.ngclient`, driven by one module of adapters.
"""
