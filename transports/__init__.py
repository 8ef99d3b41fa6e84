"""I/O: `sans_io` and one I/O library per file: `httpcore_sync`, `anyio_async`, `trio_async`. See interface.py."""
