//! Calls of the operating system that neither std nor socket2 offers.
#![expect(
    unsafe_code,
    reason = "the calls are foreign; each block says why it is sound"
)]

#[cfg(target_os = "linux")]
pub use self::linux::UdpBatch;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use self::linux::WithoutBatches;
#[cfg(target_os = "linux")]
pub(crate) use self::linux::{accept, defer_accept, load_average, receive_queue, want_destination};

/// Asks the processor to fetch what is at `address` soon, which need not be valid. Nothing on most architectures.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing as far as the program can see and takes any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch reads nothing as far as the program can see and takes any address.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// The number of an interface that is named, or that has this number.
#[cfg(unix)]
pub(crate) fn interface(zone: &str) -> Option<u32> {
    let name = std::ffi::CString::new(zone).ok()?;
    // SAFETY: the name ends with a zero.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if number > 0 {
        return Some(number);
    }
    // RFC 4007, section 11.2: a zone is a name or a number. A number counts if the system has a name for it.
    let number = zone.parse().ok()?;
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the pointer is to writable memory for the longest name.
    let found = unsafe { libc::if_indextoname(number, name.as_mut_ptr()) };
    (!found.is_null()).then_some(number)
}

/// The number of an interface, which other systems know by nothing else.
#[cfg(not(unix))]
pub(crate) fn interface(zone: &str) -> Option<u32> {
    zone.parse().ok()
}

/// See [`crate::load_average`].
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn load_average() -> Option<[f64; 3]> {
    let mut loads = [0.0; 3];
    // SAFETY: the pointer is to writable memory for three numbers.
    let got = unsafe { libc::getloadavg(loads.as_mut_ptr(), 3) };
    (got == 3).then_some(loads)
}

/// What the system tells of the receive queue of a socket: nothing.
#[cfg(not(target_os = "linux"))]
pub(crate) fn receive_queue(_: &std::net::UdpSocket) -> std::io::Result<etracker_core::overload::Queue> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// See [`crate::load_average`].
#[cfg(not(unix))]
pub(crate) fn load_average() -> Option<[f64; 3]> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem::{MaybeUninit, offset_of};
    use std::net::{
        Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
    };
    use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
    use std::ptr::{self, NonNull};
    use std::sync::OnceLock;

    use etracker_core::overload::Queue;
    use etracker_core::udp::{BATCH_MAX, Datagram, REPLY_MAX};
    use libc::{c_int, iovec, mmsghdr, socklen_t};
    use socket2::Socket;
    use tracing::warn;

    use crate::Plain;
    use crate::datagram_io::{DatagramIo, Datagrams, PAYLOAD_MAX, Sent, error_number};

    /// See [`crate::load_average`]. `sysinfo`, because `getloadavg` may read `/proc`, which a chroot may lack.
    pub(crate) fn load_average() -> Option<[f64; 3]> {
        const FIXED_POINT: f64 = 65536.0;
        let mut info = MaybeUninit::<libc::sysinfo>::zeroed();
        // SAFETY: the pointer is to writable memory of the type's size.
        let result = unsafe { libc::sysinfo(info.as_mut_ptr()) };
        // SAFETY: all fields are integers, for which zeros are valid.
        let info = unsafe { info.assume_init() };
        (result == 0).then(|| {
            info.loads.map(|load| {
                #[expect(clippy::cast_precision_loss, reason = "loads are far below 2^52")]
                let load = load as f64;
                load / FIXED_POINT
            })
        })
    }

    /// Accepts one connection, non-blocking from the start, and says who it is from.
    pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        // SAFETY: integers, for which zeros are valid.
        let mut name: Name = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut len = NAME_LEN;
        // SAFETY: the pointers are to writable memory, `len` bytes of it for the name.
        let fd = unsafe {
            // One call for three, and no moment in which a child process could inherit the connection.
            let (name, flags) = ((&raw mut name).cast(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
            libc::accept4(listener.as_raw_fd(), name, &raw mut len, flags)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let stream = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok((stream.into(), name.address()))
    }

    /// Has datagrams come with the address that they were sent to, so that replies can leave from it.
    pub(crate) fn want_destination(socket: &UdpSocket) -> io::Result<()> {
        // A dual IPv6 socket reports IPv4 destinations too, as mapped addresses.
        let (level, option) = match socket.local_addr()? {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        set_option(socket, level, option, 1)
    }

    /// Has connections accepted when something comes over them, or after some seconds.
    pub(crate) fn defer_accept(listener: &Socket, secs: c_int) -> io::Result<()> {
        set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, secs)
    }

    /// What the system tells of the receive queue of a socket, without regard to filters. Linux does so from 4.12 on.
    pub(crate) fn receive_queue(socket: &UdpSocket) -> io::Result<Queue> {
        // linux/sock_diag.h: SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF and SK_MEMINFO_DROPS.
        const QUEUED: usize = 0;
        const BUFFER: usize = 1;
        const DROPS: usize = 8;
        // SO_RXQ_OVFL tells drops with each datagram, for 60 ns each once there were some; this takes 0.2 µs a look.
        let mut figures = [0u32; DROPS + 1];
        let mut len = fit::<socklen_t>(size_of_val(&figures));
        // SAFETY: the pointers are to writable memory, `len` bytes of it for the figures.
        let result = unsafe {
            let figures = (&raw mut figures).cast();
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                figures,
                &raw mut len,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Queue {
            queued_bytes: figures[QUEUED],
            buffer_bytes: figures[BUFFER],
            drops: figures[DROPS],
            has_filter: false,
        })
    }

    fn set_option(socket: &impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
        // SAFETY: the pointer is to an integer, whose size is given.
        let result = unsafe {
            let (value, len) = ((&raw const value).cast(), fit::<socklen_t>(size_of::<c_int>()));
            libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value, len)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Room for [`BATCH_MAX`] datagrams and their replies, set up once and used for all sockets of a worker. Datagrams are
    /// received by `recvmmsg` and sent by `sendmmsg`, or one at a time where those are forbidden.
    #[derive(Debug)]
    pub struct UdpBatch {
        /// Invariant: points to a live `Memory` that is this struct's own; every pointer inside it points into it.
        memory: NonNull<Memory>,
        /// How many of `Memory::received` the last batch used.
        used: usize,
        /// How many of `Memory::sent` are to be sent.
        queued: usize,
        batches: Batches,
    }

    /// Which of the calls for batches may be made.
    #[derive(Clone, Copy, Debug)]
    struct Batches {
        receive: bool,
        send: bool,
    }

    impl Batches {
        /// Those that neither a filter of system calls forbids nor an old kernel or one that is imitated lacks. One that
        /// cannot be made is told of.
        fn permitted() -> Self {
            // A seccomp filter answers before the kernel looks at the descriptor: a call without one shows it, harmlessly.
            static PERMITTED: OnceLock<Batches> = OnceLock::new();
            *PERMITTED.get_or_init(|| {
                // SAFETY: there is no such descriptor, and no memory is given.
                let receive = unsafe { libc::recvmmsg(NO_SOCKET, ptr::null_mut(), 0, 0, ptr::null_mut()) };
                let receive = is_permitted(receive, "recvmmsg", "received");
                // SAFETY: there is no such descriptor, and no memory is given.
                let send = unsafe { libc::sendmmsg(NO_SOCKET, ptr::null_mut(), 0, 0) };
                let send = is_permitted(send, "sendmmsg", "sent");
                Self { receive, send }
            })
        }
    }

    /// Whether a call that was just made without a socket failed for the lack of that, and for no other reason.
    fn is_permitted(result: c_int, call: &str, done: &str) -> bool {
        let error = io::Error::last_os_error();
        let permitted = result == 0 || error.raw_os_error() == Some(libc::EBADF);
        if !permitted {
            let reason = Plain(&error);
            warn!(
                "{call} cannot be used here ({reason}): datagrams are {done} one at a time, which takes longer"
            );
        }
        permitted
    }

    /// The descriptor of nothing.
    const NO_SOCKET: c_int = -1;

    struct Memory {
        received: [mmsghdr; BATCH_MAX],
        received_parts: [iovec; BATCH_MAX],
        /// The replies of a batch without gaps; those that the entries stand for are elsewhere, by slot.
        sent: [mmsghdr; BATCH_MAX],
        sent_parts: [iovec; BATCH_MAX],
        names: [Name; BATCH_MAX],
        controls: [Control; BATCH_MAX],
        payloads: [Lines<{ PAYLOAD_MAX + LINE }>; BATCH_MAX],
        replies: [Lines<REPLY_MAX>; BATCH_MAX],
    }

    /// Room that begins with a cache line. Where there are many in a row, each is of an odd number of lines: at a
    /// distance of a power of two, their first lines would have to share a few places of the cache.
    #[repr(C, align(64))]
    struct Lines<const LEN: usize>([u8; LEN]);

    const LINE: usize = align_of::<Lines<0>>();
    const _: () = assert!((PAYLOAD_MAX + LINE) / LINE % 2 == 1 && REPLY_MAX / LINE % 2 == 1);

    // SAFETY: the memory is owned like a box's.
    unsafe impl Send for UdpBatch {}

    impl Drop for UdpBatch {
        fn drop(&mut self) {
            // SAFETY: the memory comes from a box and is given back once.
            drop(unsafe { Box::from_raw(self.memory.as_ptr()) });
        }
    }

    impl DatagramIo for UdpBatch {
        type Socket = UdpSocket;

        fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            // The kernel overwrote the lengths of these slots alone.
            for slot in 0..self.used {
                self.make_ready(slot);
            }
            // If receiving fails, datagrams of the batch before must not be handled a second time.
            self.used = 0;
            self.used = if self.batches.receive {
                self.receive_together(socket)?
            } else {
                self.receive_one_by_one(socket)?
            };
            self.queued = 0;
            Ok(self.used)
        }

        fn datagrams(&mut self) -> Datagrams<'_> {
            // SAFETY: nothing else refers to the memory while `self` is borrowed.
            let memory = unsafe { self.memory.as_mut() };
            let received = memory.received.iter().take(self.used).zip(&memory.names);
            let frames = memory.payloads.iter().zip(&mut memory.replies);
            let mut datagrams = Datagrams::new();
            for ((header, name), (payload, reply)) in received.zip(frames) {
                datagrams.push(Datagram::new(
                    name.address(),
                    &payload.0[..(header.msg_len as usize).min(PAYLOAD_MAX)],
                    &mut reply.0,
                ));
            }
            datagrams
        }

        fn queue(&mut self, slot: usize, len: usize) {
            // Not through references to the memory as a whole: the kernel is handed the pointers made here.
            let memory = self.memory.as_ptr();
            // SAFETY: the memory is live and, while `self` is borrowed, referred to by nothing else; indices are checked.
            unsafe {
                let from = (*memory).received[slot].msg_hdr;
                let to = &raw mut (*memory).sent[self.queued].msg_hdr;
                (*to).msg_name = from.msg_name;
                (*to).msg_namelen = from.msg_namelen;
                (*memory).sent_parts[slot].iov_len = len.min(REPLY_MAX);
                (*to).msg_iov = &raw mut (*memory).sent_parts[slot];
                (*to).msg_iovlen = 1;
                // Sockets of one address have received none, and need none.
                let with_source = from.msg_controllen != 0 && (*memory).controls[slot].turn();
                (*to).msg_control = from.msg_control;
                (*to).msg_controllen = if with_source { from.msg_controllen } else { 0 };
            }
            self.queued += 1;
        }

        fn system_socket(socket: &UdpSocket) -> Option<&UdpSocket> {
            Some(socket)
        }

        fn send(&mut self, socket: &UdpSocket) -> Sent {
            let mut sent = Sent::default();
            let mut next = 0;
            while next < self.queued {
                let sent_now = if self.batches.send {
                    self.send_together(next, socket)
                } else {
                    self.send_one(next, socket)
                };
                match sent_now {
                    Ok((count, bytes)) => {
                        sent.datagrams += count;
                        sent.bytes += bytes;
                        next += count;
                    }
                    // The socket is full. Who is not answered asks again.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let rest = (next..self.queued).map(|_| error_number(&error));
                        sent.failed.extend(rest);
                        break;
                    }
                    // An error is always that of the first one.
                    Err(error) => {
                        sent.failed.push(error_number(&error));
                        next += 1;
                    }
                }
            }
            self.queued = 0;
            sent
        }
    }

    impl Memory {
        /// Memory of its own, with the headers of each slot pointing to the slot.
        fn new() -> NonNull<Self> {
            // SAFETY: integers, arrays of them and raw pointers: zeros are valid for all.
            let new: Box<Self> = unsafe { Box::new_zeroed().assume_init() };
            let new = NonNull::from(Box::leak(new));
            let memory = new.as_ptr();
            for slot in 0..BATCH_MAX {
                // SAFETY: the memory is live and referred to by nothing else yet; indices are checked.
                unsafe {
                    (*memory).received_parts[slot].iov_base = (&raw mut (*memory).payloads[slot]).cast();
                    (*memory).received_parts[slot].iov_len = PAYLOAD_MAX;
                    (*memory).sent_parts[slot].iov_base = (&raw mut (*memory).replies[slot]).cast();
                    let header = &raw mut (*memory).received[slot].msg_hdr;
                    (*header).msg_name = (&raw mut (*memory).names[slot]).cast();
                    (*header).msg_iov = &raw mut (*memory).received_parts[slot];
                    (*header).msg_iovlen = 1;
                    (*header).msg_control = (&raw mut (*memory).controls[slot]).cast();
                }
            }
            new
        }
    }

    impl Default for UdpBatch {
        fn default() -> Self {
            Self::new()
        }
    }

    impl UdpBatch {
        /// Room that is empty.
        #[must_use]
        pub fn new() -> Self {
            Self::with(Batches::permitted())
        }

        fn with(batches: Batches) -> Self {
            let mut frames = Self {
                memory: Memory::new(),
                used: 0,
                queued: 0,
                batches,
            };
            for slot in 0..BATCH_MAX {
                frames.make_ready(slot);
            }
            frames
        }

        /// Undoes what receiving into a slot did to its lengths.
        fn make_ready(&mut self, slot: usize) {
            // SAFETY: the memory is live and, while `self` is borrowed, referred to by nothing else; the index is checked.
            unsafe {
                let header = &raw mut (*self.memory.as_ptr()).received[slot].msg_hdr;
                (*header).msg_namelen = NAME_LEN;
                (*header).msg_controllen = fit(size_of::<Control>());
            }
        }

        fn receive_together(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            let (fd, count) = (socket.as_raw_fd(), fit(BATCH_MAX));
            retried(|| {
                // SAFETY: the headers and all that they point to are in `memory`, exclusively borrowed; `Memory::new` and
                // `make_ready` gave them the lengths of what they point to.
                unsafe {
                    let headers = (&raw mut (*self.memory.as_ptr()).received).cast();
                    libc::recvmmsg(fd, headers, count, 0, ptr::null_mut())
                }
            })
        }

        /// How many there were until nothing was there, or the batch full.
        fn receive_one_by_one(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            for slot in 0..BATCH_MAX {
                // SAFETY: the memory is live and referred to by nothing else; the index is checked.
                let header = unsafe { &raw mut (*self.memory.as_ptr()).received[slot] };
                // SAFETY: the header and all that it points to are in `memory`, exclusively borrowed; `Memory::new` and
                // `make_ready` gave it the lengths of what it points to.
                let received =
                    retried(|| unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut (*header).msg_hdr, 0) });
                match received {
                    // SAFETY: the header is live, and nothing else refers to it.
                    Ok(len) => unsafe { (*header).msg_len = fit(len) },
                    // Mostly that nothing is left. The datagrams before it are answered; a lasting error comes again.
                    Err(_) if slot > 0 => return Ok(slot),
                    Err(error) => return Err(error),
                }
            }
            Ok(BATCH_MAX)
        }

        /// Sends what is queued from `next` on, as far as the socket takes it: how many, and their bytes.
        fn send_together(&mut self, next: usize, socket: &UdpSocket) -> io::Result<(usize, usize)> {
            let (fd, count) = (socket.as_raw_fd(), fit(self.queued - next));
            let sent = retried(|| {
                // SAFETY: `queue` made `queued` headers, whose pointers are into `memory`, exclusively borrowed.
                unsafe {
                    let headers = &raw mut (*self.memory.as_ptr()).sent[next];
                    libc::sendmmsg(fd, headers, count, 0)
                }
            })?;
            // SAFETY: nothing else refers to the memory while `self` is borrowed.
            let headers = unsafe { &self.memory.as_ref().sent[next..next + sent] };
            Ok((sent, headers.iter().map(|header| header.msg_len as usize).sum()))
        }

        /// Sends the one reply at `next`: that it is one, and its bytes.
        fn send_one(&mut self, next: usize, socket: &UdpSocket) -> io::Result<(usize, usize)> {
            // SAFETY: `queue` made the header, whose pointers are into `memory`, exclusively borrowed.
            let bytes = retried(|| unsafe {
                let header = &raw const (*self.memory.as_ptr()).sent[next].msg_hdr;
                libc::sendmsg(socket.as_raw_fd(), header, 0)
            })?;
            Ok((1, bytes))
        }
    }

    /// The address of a socket; IPv4 where the family says so.
    #[derive(Clone, Copy)]
    #[repr(C)]
    union Name {
        v4: libc::sockaddr_in,
        v6: libc::sockaddr_in6,
    }

    impl Name {
        /// The address, never mapped. The unspecified one if it is of no family that is known.
        fn address(&self) -> SocketAddr {
            // SAFETY: both variants begin with the family and are integers, for which all bits are valid.
            let (v4, v6) = unsafe { (self.v4, self.v6) };
            match c_int::from(v6.sin6_family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
                    SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
                }
                libc::AF_INET6 => {
                    let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                    match ip.to_ipv4_mapped() {
                        // An IPv4 client of a dual socket (RFC 4291, section 2.5.5.2): its swarm is that of IPv4.
                        Some(ip) => SocketAddrV4::new(ip, port).into(),
                        None => SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into(),
                    }
                }
                _ => SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0).into(),
            }
        }
    }

    /// One control message: the address that a datagram was sent to, or that a reply is to leave from.
    #[repr(C)]
    struct Control {
        header: libc::cmsghdr,
        /// `in_pktinfo` or `in6_pktinfo`, whichever the header says.
        info: [u8; size_of::<libc::in6_pktinfo>()],
    }

    // The kernel puts the information behind the header, aligned like a word.
    const _: () = assert!(
        offset_of!(Control, info) == size_of::<libc::cmsghdr>().next_multiple_of(align_of::<usize>())
    );

    impl Control {
        /// Makes the destination of what was received the source of what is sent, by whatever interface: the route
        /// back need not be the way here. Whether there is one.
        fn turn(&mut self) -> bool {
            match (self.header.cmsg_level, self.header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    self.info[offset_of!(libc::in_pktinfo, ipi_ifindex)..][..4].fill(0);
                    true
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    // Every link has the same fe80::/10: such a source needs its interface (RFC 4007, section 6).
                    let is_link_local = self.info[0] == 0xfe && self.info[1] & 0xc0 == 0x80;
                    if !is_link_local {
                        self.info[offset_of!(libc::in6_pktinfo, ipi6_ifindex)..][..4].fill(0);
                    }
                    true
                }
                _ => false,
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "28 bytes")]
    const NAME_LEN: socklen_t = size_of::<Name>() as socklen_t;

    /// A call that is repeated when a signal interrupted it.
    fn retried<N: TryInto<usize>>(mut call: impl FnMut() -> N) -> io::Result<usize> {
        loop {
            if let Ok(count) = call().try_into() {
                return Ok(count);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// A small number in whatever type this libc has for it.
    fn fit<T: TryFrom<usize> + Default>(number: usize) -> T {
        T::try_from(number).unwrap_or_default()
    }

    /// As where no call for batches may be made.
    #[cfg(test)]
    #[derive(Debug)]
    pub(crate) struct WithoutBatches(UdpBatch);

    #[cfg(test)]
    impl Default for WithoutBatches {
        fn default() -> Self {
            let (receive, send) = (false, false);
            Self(UdpBatch::with(Batches { receive, send }))
        }
    }

    #[cfg(test)]
    impl DatagramIo for WithoutBatches {
        type Socket = UdpSocket;

        fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            self.0.receive(socket)
        }

        fn datagrams(&mut self) -> Datagrams<'_> {
            self.0.datagrams()
        }

        fn queue(&mut self, slot: usize, len: usize) {
            self.0.queue(slot, len);
        }

        fn send(&mut self, socket: &UdpSocket) -> Sent {
            self.0.send(socket)
        }
    }

    #[cfg(test)]
    mod tests {
        use std::os::unix::net::UnixDatagram;

        use super::*;

        fn server() -> UdpSocket {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            server.set_nonblocking(true).unwrap();
            server
        }

        const EACH: [Batches; 2] = [
            Batches {
                receive: true,
                send: true,
            },
            Batches {
                receive: false,
                send: false,
            },
        ];

        /// Replies to `count` datagrams, queued.
        fn queued(server: &UdpSocket, count: usize, batches: Batches) -> UdpBatch {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..count {
                client.send_to(b"x", server.local_addr().unwrap()).unwrap();
            }
            let mut frames = UdpBatch::with(batches);
            assert_eq!(frames.receive(server).unwrap(), count);
            for slot in 0..count {
                frames.queue(slot, 100 + slot);
            }
            frames
        }

        #[test]
        fn calls_for_batches_may_be_made_here() {
            let Batches { receive, send } = Batches::permitted();
            assert!(receive && send);
        }

        #[test]
        fn a_call_that_is_forbidden_or_missing_is_told_from_one_that_has_no_socket() {
            for (error, permitted) in [(libc::EBADF, true), (libc::EPERM, false), (libc::ENOSYS, false)] {
                // SAFETY: the pointer is to the number of this thread's last error.
                unsafe { *libc::__errno_location() = error };
                assert_eq!(is_permitted(-1, "the call", "done"), permitted);
            }
        }

        #[test]
        fn a_reply_that_cannot_be_sent_does_not_keep_the_others_back() {
            for batches in EACH {
                let server = server();
                let mut frames = queued(&server, 5, batches);
                // SAFETY: nothing else refers to the memory.
                let memory = unsafe { frames.memory.as_mut() };
                for unanswerable in [0, 2, 3] {
                    memory.sent[unanswerable].msg_hdr.msg_namelen = 1;
                }
                let sent = frames.send(&server);
                assert_eq!((sent.datagrams, sent.bytes, sent.failed.len()), (2, 101 + 104, 3));
                assert_eq!(frames.send(&server), Sent::default());
            }
        }

        #[test]
        fn replies_that_a_full_socket_does_not_take_are_dropped() {
            for batches in EACH {
                let server = server();
                let mut frames = queued(&server, BATCH_MAX, batches);
                // SAFETY: nothing else refers to the memory.
                let memory = unsafe { frames.memory.as_mut() };
                for header in &mut memory.sent {
                    header.msg_hdr.msg_namelen = 0;
                }
                // Unlike one over the loopback interface, such a socket is full until the other end has read.
                let (full, other_end) = UnixDatagram::pair().unwrap();
                socket2::SockRef::from(&full).set_send_buffer_size(1).unwrap();
                full.set_nonblocking(true).unwrap();
                let sent = frames.send(&UdpSocket::from(OwnedFd::from(full)));
                assert!(0 < sent.datagrams && sent.datagrams < BATCH_MAX, "{sent:?}");
                assert_eq!(sent.failed.len(), BATCH_MAX - sent.datagrams);
                drop(other_end);
            }
        }
    }
}
