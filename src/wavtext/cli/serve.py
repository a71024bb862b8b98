"""`wavtext serve --library DIR`: the web page and the HTTP API over a library."""

import gc
import os
import secrets
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from wavtext.server.settings import ServerSettings


@click.command(short_help="Search in a browser, and over HTTP.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="[DIR]", required=False)
@click.option(
    "--library",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Folder of sounds, or the library's file.",
)
@click.option("--model", metavar="NAME", help="A model's name or folder.  [default: the library's]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="0: any that is free.",
)
@click.option(
    "--token",
    envvar="WAVTEXT_TOKEN",
    metavar="TEXT",
    help="What clients must show; 'new' makes one.  Also read from WAVTEXT_TOKEN.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without a token.")
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A further name that clients call it by."
)
@click.option(
    "--allow-folder",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A folder that the page may add, and that links may lead to.",
)
@click.option("--max-upload", type=click.IntRange(1), default=64, show_default=True, help="MiB.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=500.0,
    show_default=True,
    help="Requests a second of one client.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def serve(
    folder: Path | None,
    library: Path | None,
    model: str | None,
    host: str,
    port: int,
    token: str | None,
    insecure: bool,
    allow_host: tuple[str, ...],
    allow_folder: tuple[Path, ...],
    max_upload: int,
    rate: float,
    open_page: bool,
) -> None:
    """Search in a browser, and over HTTP: wavtext serve DIR, or wavtext serve --library DIR.

    Only this machine can connect unless --host says otherwise, and then a --token is needed.
    """
    from wavtext.errors import MissingExtraError, ServerError

    try:
        from wavtext.server.settings import ServerSettings
    except ImportError as error:
        raise MissingExtraError("server", "wavtext serve") from error
    if folder is None:
        if library is None:
            raise click.UsageError("Name the folder of sounds: wavtext serve DIR")
        from wavtext.library.place import folder_of

        folder, library = (library, None) if library.is_dir() else (folder_of(library), library)
    settings = ServerSettings(
        host=host,
        port=port,
        token=secrets.token_urlsafe(24) if token == "new" else token,
        insecure=insecure,
        allowed_hosts=allow_host,
        allowed_folders=allow_folder,
        max_upload_bytes=max_upload * 2**20,
        rate=rate,
        burst=max(1, round(rate * 2)),
    )
    try:
        _run(folder, library, model, settings, open_page=open_page)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host}:{port}: {error.strerror}.", help="Choose another --port."
        ) from error


def _run(
    folder: Path,
    library: Path | None,
    model: str | None,
    settings: "ServerSettings",
    *,
    open_page: bool,
) -> None:
    """Listen until Ctrl-C."""
    # Threads of a matrix product that wait for each other cost more than they save here: many
    # searches run at once, and each shares its scan with the others (docs/decisions/0063).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from wavtext.errors import MissingExtraError
    from wavtext.library.library import SoundLibrary
    from wavtext.model.model import Model
    from wavtext.model.runtime import num_cores

    try:
        import uvicorn

        from wavtext.server.app import create_app
        from wavtext.server.listening import bind
        from wavtext.server.queries import CachedModel
    except ImportError as error:
        raise MissingExtraError("server", "wavtext serve") from error
    with SoundLibrary.open(folder, library=library, model=model) as first:
        if isinstance(first.model, Model):
            first.model.text_threads = max(1, num_cores() - 1)  # one is left for searching
            first.model.check()  # before anybody asks
        cached: Any = CachedModel(first.model, settings.query_cache)  # an Embedder by delegation
    sounds = SoundLibrary.open(folder, library=library, model=cached)
    socket, settings = bind(settings)
    app = create_app(sounds, settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}/"
    page = f"{address}login#{settings.token}" if settings.token else address
    click.echo(f"Serving {folder} at {page}")
    click.echo("Press Ctrl-C to stop.", err=True)
    if settings.insecure and not settings.loopback and not settings.token:
        click.echo("Anyone who can reach this machine can hear every sound.", err=True)
    if settings.allowed_hosts and settings.loopback and not settings.token:
        click.echo("Whoever reaches it through a proxy can hear every sound: --token.", err=True)
    if open_page:
        threading.Timer(0.5, webbrowser.open, [page]).start()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        limit_concurrency=512,
        h11_max_incomplete_event_size=32_768,
    )
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: collections need not look at it again
    gc.set_threshold(20_000, 20, 50)
    uvicorn.Server(config).run(sockets=[socket])
