"""A peer that knows no other way to find peers than the tracker in its torrent file.

Usage: libtorrent_peer.py TORRENT FOLDER ADDRESS PORT

Prints `complete` when it has all of the torrent, and goes on until it is killed.
"""

import sys
import time

import libtorrent

torrent, folder, address, port = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": f"[{address}]:{port}" if ":" in address else f"{address}:{port}",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
})
parameters = libtorrent.add_torrent_params()
parameters.ti = libtorrent.torrent_info(torrent)
parameters.save_path = folder
flags = libtorrent.torrent_flags
parameters.flags |= flags.disable_dht | flags.disable_lsd | flags.disable_pex
parameters.flags &= ~(flags.paused | flags.auto_managed)
handle = session.add_torrent(parameters)
while not handle.status().is_seeding:
    time.sleep(0.1)
print("complete", flush=True)
while True:
    time.sleep(1)
