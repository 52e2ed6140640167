//! Several datagrams by one call, which neither std nor socket2 offers.
#![expect(
    unsafe_code,
    reason = "the calls are foreign; each block says why it is sound"
)]

use std::io;
use std::mem;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_uint, cmsghdr, iovec, mmsghdr, sockaddr_in6, socklen_t};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use socket2::SockAddr;

/// A datagram, and who it is from or for.
pub(crate) struct Frame {
    name: sockaddr_in6,
    name_len: socklen_t,
    /// Invariant: at most [`FRAME_LEN`].
    len: usize,
    bytes: [u8; FRAME_LEN],
}

impl Frame {
    /// A datagram without bytes, for whom the socket is connected to.
    pub(crate) const fn new() -> Self {
        Self {
            // SAFETY: integers, for which zeros are valid.
            name: unsafe { mem::zeroed() },
            name_len: 0,
            len: 0,
            bytes: [0; FRAME_LEN],
        }
    }

    /// What was received, or is to be sent.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Has `fill` write the payload and say how long it is.
    pub(crate) fn write(&mut self, fill: impl FnOnce(&mut [u8; FRAME_LEN]) -> usize) {
        self.len = fill(&mut self.bytes).min(FRAME_LEN);
    }
}

/// A datagram from an address of the sender's choice.
pub(crate) struct Letter {
    source: IpAddr,
    frame: Frame,
}

impl Letter {
    pub(crate) const fn new() -> Self {
        Self {
            source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            frame: Frame::new(),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.frame.len
    }

    /// Has `fill` write the payload and say whom it comes from and how long it is.
    pub(crate) fn write(&mut self, fill: impl FnOnce(&mut [u8; FRAME_LEN]) -> (IpAddr, usize)) {
        let source = &mut self.source;
        self.frame.write(|bytes| {
            let (ip, len) = fill(bytes);
            *source = ip;
            len
        });
    }
}

/// The control message that names a datagram's source address, ip(7) and ipv6(7).
#[repr(C, align(8))]
struct Source {
    header: cmsghdr,
    /// `in_pktinfo` or `in6_pktinfo`.
    info: [u8; 24],
}

impl Source {
    /// Bytes of `in_pktinfo`, and of `in6_pktinfo`.
    const INFO_LENS: (usize, usize) = (12, 20);

    /// The message, and its length with padding.
    fn of(source: IpAddr) -> (Self, usize) {
        let mut info = [0; 24];
        let (cmsg_level, cmsg_type, len) = match source {
            IpAddr::V4(ip) => {
                info[4..8].copy_from_slice(&ip.octets());
                (libc::IPPROTO_IP, libc::IP_PKTINFO, Self::INFO_LENS.0)
            }
            IpAddr::V6(ip) => {
                info[..16].copy_from_slice(&ip.octets());
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, Self::INFO_LENS.1)
            }
        };
        // SAFETY: integers, for which zeros are valid.
        let mut header: cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = size_of::<cmsghdr>() + len;
        (header.cmsg_level, header.cmsg_type) = (cmsg_level, cmsg_type);
        (
            Self { header, info },
            size_of::<cmsghdr>() + len.next_multiple_of(8),
        )
    }
}

/// Sends up to [`BATCH_MAX`] datagrams, each from its own source, which the host has to take for one of its addresses; how
/// many went.
pub(crate) fn send_as(socket: &UdpSocket, target: &SockAddr, letters: &mut [Letter]) -> io::Result<usize> {
    // SAFETY: integers and raw pointers, for which zeros are valid.
    let (mut parts, mut headers): ([iovec; BATCH_MAX], [mmsghdr; BATCH_MAX]) = unsafe { mem::zeroed() };
    let mut sources: [mem::MaybeUninit<Source>; BATCH_MAX] =
        [const { mem::MaybeUninit::uninit() }; BATCH_MAX];
    let mut count = 0;
    let slots = parts.iter_mut().zip(&mut headers).zip(&mut sources);
    for (letter, ((part, header), slot)) in letters.iter_mut().zip(slots) {
        let (source, len) = Source::of(letter.source);
        part.iov_base = letter.frame.bytes.as_mut_ptr().cast();
        part.iov_len = letter.frame.len;
        let header = &mut header.msg_hdr;
        (header.msg_iov, header.msg_iovlen) = (part, 1);
        (header.msg_name, header.msg_namelen) = (target.as_ptr().cast_mut().cast(), target.len());
        (header.msg_control, header.msg_controllen) = ((&raw mut *slot.write(source)).cast(), len);
        count += 1;
    }
    // SAFETY: `count` headers point to memory of the lengths that they say, borrowed during the call; it writes to none of it
    // but the headers' own lengths.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Gives this thread, and what it starts from now on, a network of its own.
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: no descriptors are unshared.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Receives up to [`BATCH_MAX`] of the datagrams that are there, without saying who they are from.
pub(crate) fn receive(socket: &UdpSocket, frames: &mut [Frame]) -> io::Result<usize> {
    receive_by(socket, frames, 0, libc::MSG_DONTWAIT)
}

/// Receives up to [`BATCH_MAX`] datagrams, and waits for the first if there is none.
pub(crate) fn receive_from(socket: &UdpSocket, frames: &mut [Frame]) -> io::Result<usize> {
    receive_by(socket, frames, NAME_LEN, libc::MSG_WAITFORONE)
}

fn receive_by(
    socket: &UdpSocket,
    frames: &mut [Frame],
    name_len: socklen_t,
    flags: c_int,
) -> io::Result<usize> {
    for frame in frames.iter_mut().take(BATCH_MAX) {
        (frame.len, frame.name_len) = (FRAME_LEN, name_len);
    }
    all_at_once(frames, |headers, count| {
        // SAFETY: `count` headers point to memory of the lengths that they say, exclusively borrowed during the call.
        unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, count, flags, ptr::null_mut()) }
    })
}

/// Sends datagrams, [`BATCH_MAX`] at most, to whom they came from or the socket is connected to; how many went.
pub(crate) fn send(socket: &UdpSocket, frames: &mut [Frame]) -> io::Result<usize> {
    all_at_once(frames, |headers, count| {
        // SAFETY: `count` headers point to memory of the lengths that they say, exclusively borrowed during the call.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, count, 0) }
    })
}

/// Has what is sent from now on cut into datagrams of this length: the network is passed once for all of them.
pub(crate) fn cut_into(socket: &UdpSocket, len: c_int) -> io::Result<()> {
    #[expect(clippy::cast_possible_truncation, reason = "four bytes")]
    const LEN: socklen_t = size_of::<c_int>() as socklen_t;
    // SAFETY: the pointer is to an integer, whose size is given.
    let result = unsafe {
        let value = (&raw const len).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, LEN)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Processor time that all threads of a process have used, those that ended included. `/proc/PID/stat` has it only in
/// hundredths of a second.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: integers, for which zeros are valid.
    let (mut clock, mut time): (libc::clockid_t, libc::timespec) = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a clock's id, exclusively borrowed.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: the pointer is to a time, exclusively borrowed.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Ok(Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default()))
}

/// Makes a header for each frame, and takes over the lengths that the call sets.
fn all_at_once(frames: &mut [Frame], call: impl FnOnce(*mut mmsghdr, c_uint) -> c_int) -> io::Result<usize> {
    // SAFETY: integers and raw pointers, for which zeros are valid.
    let (mut parts, mut headers): ([iovec; BATCH_MAX], [mmsghdr; BATCH_MAX]) = unsafe { mem::zeroed() };
    let mut count = 0;
    for ((frame, part), header) in frames.iter_mut().zip(&mut parts).zip(&mut headers) {
        part.iov_base = frame.bytes.as_mut_ptr().cast();
        part.iov_len = frame.len;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_namelen = frame.name_len;
        if frame.name_len != 0 {
            header.msg_hdr.msg_name = (&raw mut frame.name).cast();
        }
        count += 1;
    }
    let Ok(done) = usize::try_from(call(headers.as_mut_ptr(), count)) else {
        return Err(io::Error::last_os_error());
    };
    for (frame, header) in frames.iter_mut().zip(&headers).take(done) {
        frame.len = (header.msg_len as usize).min(FRAME_LEN);
        frame.name_len = header.msg_hdr.msg_namelen.min(NAME_LEN);
    }
    Ok(done)
}

/// Datagrams of one call: more gain nothing.
pub(crate) const BATCH_MAX: usize = 64;
/// More than any tracker's datagram, which is not to be fragmented.
pub(crate) const FRAME_LEN: usize = 2048;
#[expect(clippy::cast_possible_truncation, reason = "28 bytes")]
const NAME_LEN: socklen_t = size_of::<sockaddr_in6>() as socklen_t;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        (0..BATCH_MAX).map(|_| Frame::new()).collect()
    }

    #[test]
    fn a_batch_goes_out_whole_and_back_to_its_senders() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let clients = ["127.0.0.2:0", "127.0.0.3:0"].map(|address| UdpSocket::bind(address).unwrap());
        for (client, count) in clients.iter().zip([3_u8, 2]) {
            client.connect(server.local_addr().unwrap()).unwrap();
            let mut sent = frames();
            for (frame, number) in sent.iter_mut().zip(0..count) {
                frame.write(|bytes| {
                    bytes.fill(number);
                    usize::from(number) + 1
                });
            }
            assert_eq!(
                send(client, &mut sent[..usize::from(count)]).unwrap(),
                usize::from(count)
            );
        }
        let mut received = frames();
        assert_eq!(receive_from(&server, &mut received).unwrap(), 5);
        assert_eq!(send(&server, &mut received[..5]).unwrap(), 5);
        for (client, count) in clients.iter().zip([3_u8, 2]) {
            let mut back = frames();
            assert_eq!(receive_from(client, &mut back).unwrap(), usize::from(count));
            for (frame, number) in back.iter().zip(0..count) {
                assert_eq!(frame.payload(), vec![number; usize::from(number) + 1]);
            }
        }
    }

    #[test]
    fn a_letter_comes_from_the_address_that_it_names() {
        for (at, from) in [
            ("127.0.0.1:0", ["127.9.8.7", "127.0.0.2"]),
            ("[::1]:0", ["::1", "::1"]),
        ] {
            let server = UdpSocket::bind(at).unwrap();
            let any = if at.starts_with('[') {
                "[::]:0"
            } else {
                "0.0.0.0:0"
            };
            let client = UdpSocket::bind(any).unwrap();
            let mut letters: Vec<_> = from.map(|_| Letter::new()).into();
            for (letter, source) in letters.iter_mut().zip(from) {
                letter.write(|bytes| {
                    bytes[..2].copy_from_slice(b"hi");
                    (source.parse().unwrap(), 2)
                });
            }
            let target = SockAddr::from(server.local_addr().unwrap());
            assert_eq!(send_as(&client, &target, &mut letters).unwrap(), 2);
            for source in from {
                let (len, came_from) = server.recv_from(&mut [0; 16]).unwrap();
                assert_eq!((len, came_from.ip()), (2, source.parse::<IpAddr>().unwrap()));
            }
        }
    }

    #[test]
    fn nothing_there_is_an_error_unless_one_waits() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = receive(&socket, &mut frames()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
