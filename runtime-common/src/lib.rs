//! What every runtime needs from the operating system: sockets, batched datagrams, the clock and the load average.
