"""Listen: an application's runner on a port, or one clear line why not."""

from aiohttp import web

from worker.start import cannot_listen

BACKLOG = 1024
"""Connections that may wait to be taken; the kernel caps it at net.core.somaxconn."""


async def listen(runner: web.AppRunner, host: str, port: int, *, share_port: bool, keys: str) -> str:
    """Listen, and write the address as one that this machine can open.

    Args:
        runner: set up already.
        host: an address of this machine.
        port: 0: any that is free.
        share_port: let siblings listen on the same port.
        keys: what an operator may set to have another address.

    Raises:
        NotReady: the address cannot be had.
    """
    site = web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_port=share_port or None)
    try:
        await site.start()
    except OSError as error:
        raise cannot_listen(error, host, port, keys) from None
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    actual = next(address[1] for address in runner.addresses)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{actual}"
