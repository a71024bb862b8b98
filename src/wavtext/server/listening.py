"""The listening socket.  Settings -> an open socket, and the settings with the port it got."""

import socket
from dataclasses import replace

from wavtext.server.settings import ServerSettings


def bind(settings: ServerSettings) -> tuple[socket.socket, ServerSettings]:
    """Take the port before anything else is told about it; port 0 takes a free one.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(1024)  # who comes before the server is ready waits
    except OSError:
        listener.close()
        raise
    return listener, replace(settings, port=listener.getsockname()[1])
