//! Calls of the operating system that neither std nor socket2 offers.
#![expect(
    unsafe_code,
    reason = "the calls are foreign; each block says why it is sound"
)]

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{Frames, accept, defer_accept, load_average, want_destination};

/// Asks the processor to fetch what is at `address` soon, which need not be valid. Nothing on most architectures.
#[inline]
pub fn prefetch(address: *const u8) {
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

/// See [`crate::load_average`].
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn load_average() -> Option<[f64; 3]> {
    let mut loads = [0.0; 3];
    // SAFETY: the pointer is to writable memory for three numbers.
    let got = unsafe { libc::getloadavg(loads.as_mut_ptr(), 3) };
    (got == 3).then_some(loads)
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

    use etracker_core::udp::{BATCH_MAX, Datagram, REPLY_MAX, Silence, Verdict};
    use libc::{c_int, iovec, mmsghdr, socklen_t};
    use socket2::Socket;

    use crate::udp::{Datagrams, Mechanism, PAYLOAD_MAX, Sent, error_number};

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

    /// Batches by `recvmmsg` and `sendmmsg`, in memory that is set up once.
    #[derive(Debug)]
    pub(crate) struct Frames {
        /// Invariant: points to a live `Memory` that is this struct's own; every pointer inside it points into it.
        memory: NonNull<Memory>,
        /// How many of `Memory::received` the last batch used.
        used: usize,
        /// How many of `Memory::sent` are to be sent.
        queued: usize,
    }

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
    unsafe impl Send for Frames {}

    impl Drop for Frames {
        fn drop(&mut self) {
            // SAFETY: the memory comes from a box and is given back once.
            drop(unsafe { Box::from_raw(self.memory.as_ptr()) });
        }
    }

    impl Mechanism for Frames {
        fn new() -> Self {
            let mut frames = Self {
                memory: Memory::new(),
                used: 0,
                queued: 0,
            };
            for slot in 0..BATCH_MAX {
                frames.make_ready(slot);
            }
            frames
        }

        fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            for slot in 0..self.used {
                self.make_ready(slot);
            }
            self.used = 0;
            let (fd, count) = (socket.as_raw_fd(), fit(BATCH_MAX));
            self.used = retried(|| {
                // SAFETY: the headers and all that they point to are in `memory`, exclusively borrowed; `set_up` and
                // `make_ready` gave them the lengths of what they point to.
                unsafe {
                    let headers = (&raw mut (*self.memory.as_ptr()).received).cast();
                    libc::recvmmsg(fd, headers, count, 0, ptr::null_mut())
                }
            })?;
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
                datagrams.push(Datagram {
                    sender: name.address(),
                    payload: &payload.0[..(header.msg_len as usize).min(PAYLOAD_MAX)],
                    reply: &mut reply.0,
                    verdict: Verdict::Silent(Silence::Unhandled),
                });
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
                let with_source = from.msg_controllen != 0 && (*memory).controls[slot].turn();
                (*to).msg_control = from.msg_control;
                (*to).msg_controllen = if with_source { from.msg_controllen } else { 0 };
            }
            self.queued += 1;
        }

        fn send(&mut self, socket: &UdpSocket) -> Sent {
            let mut sent = Sent::default();
            let mut next = 0;
            while next < self.queued {
                match self.send_from(next, socket) {
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

    impl Frames {
        /// Undoes what receiving into a slot did to its lengths.
        fn make_ready(&mut self, slot: usize) {
            // SAFETY: the memory is live and, while `self` is borrowed, referred to by nothing else; the index is checked.
            unsafe {
                let header = &raw mut (*self.memory.as_ptr()).received[slot].msg_hdr;
                (*header).msg_namelen = NAME_LEN;
                (*header).msg_controllen = fit(size_of::<Control>());
            }
        }

        /// Sends what is queued from `next` on, as far as the socket takes it: how many, and their bytes.
        fn send_from(&mut self, next: usize, socket: &UdpSocket) -> io::Result<(usize, usize)> {
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
    fn retried(mut call: impl FnMut() -> c_int) -> io::Result<usize> {
        loop {
            if let Ok(count) = usize::try_from(call()) {
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

    #[cfg(test)]
    mod tests {
        use std::os::unix::net::UnixDatagram;

        use super::*;

        fn server() -> UdpSocket {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            server.set_nonblocking(true).unwrap();
            server
        }

        /// Replies to `count` datagrams, queued.
        fn queued(server: &UdpSocket, count: usize) -> Frames {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..count {
                client.send_to(b"x", server.local_addr().unwrap()).unwrap();
            }
            let mut frames = Frames::new();
            assert_eq!(frames.receive(server).unwrap(), count);
            for slot in 0..count {
                frames.queue(slot, 100 + slot);
            }
            frames
        }

        #[test]
        fn a_reply_that_cannot_be_sent_does_not_keep_the_others_back() {
            let server = server();
            let mut frames = queued(&server, 5);
            // SAFETY: nothing else refers to the memory.
            let memory = unsafe { frames.memory.as_mut() };
            for unanswerable in [0, 2, 3] {
                memory.sent[unanswerable].msg_hdr.msg_namelen = 1;
            }
            let sent = frames.send(&server);
            assert_eq!((sent.datagrams, sent.bytes, sent.failed.len()), (2, 101 + 104, 3));
            assert_eq!(frames.send(&server), Sent::default());
        }

        #[test]
        fn replies_that_a_full_socket_does_not_take_are_dropped() {
            let server = server();
            let mut frames = queued(&server, BATCH_MAX);
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
