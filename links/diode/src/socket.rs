//! The two sockets. Batches of datagrams go down and up in one system call where the kernel can (GSO, GRO), one by
//! one where it cannot; nothing is ever fragmented. The outgoing socket is never read, the incoming never written.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The most a UDP datagram, and so a batch of segments, may have.
const BATCH_BYTES_MAX: usize = 65_000;
/// Bytes of one receive buffer: the largest batch the kernel hands up.
const BUFFER_BYTES: usize = 65_536;
/// Receive buffers handed to one system call.
const BUFFERS: usize = 32;
/// A chunk is handed on when it holds this much; more only adds delay.
const CHUNK_BYTES: usize = 256 << 10;
/// A reader that was woken lets so much time of the wire come together before it hands it on: at 1 Gbit/s that is
/// 125 KB, where every datagram by itself would wake two threads. Only where the kernel's buffer holds a hundred times
/// as much, as it should.
const GATHER: Duration = Duration::from_millis(1);
/// Asked of the kernel for the outgoing side: a few batches, so that a late thread does not idle the wire.
const SEND_BUFFER_BYTES: usize = 4 << 20;
/// How long a full outgoing buffer is waited for before the batch counts as refused.
const SEND_WAIT: Duration = Duration::from_millis(200);

/// How datagrams go between us and the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// As many in one system call as this kernel can.
    #[default]
    Batches,
    /// Each by a call of its own, as where the kernel can do nothing else.
    OneByOne,
}

/// Sends only.
pub(crate) struct Outgoing {
    socket: UdpSocket,
    /// None where every datagram goes by itself.
    state: Option<UdpSocketState>,
    target: SocketAddr,
}

impl Outgoing {
    pub(crate) fn open(bind: Option<SocketAddr>, target: SocketAddr, offload: Offload) -> io::Result<Outgoing> {
        let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&bind.unwrap_or(any).into())?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let state = (offload == Offload::Batches).then_some(state);
        if state.as_ref().is_some_and(UdpSocketState::may_fragment) {
            tracing::warn!("this kernel may fragment datagrams: keep mtu at or below that of the interface");
        }
        Ok(Outgoing { socket, state, target })
    }

    /// Datagrams of one size that may go in one call.
    pub(crate) fn segments_max(&self, datagram_bytes: usize) -> usize {
        let most = self.state.as_ref().map_or(1, UdpSocketState::max_gso_segments);
        most.min(BATCH_BYTES_MAX / datagram_bytes.max(1)).max(1)
    }

    /// Sends datagrams of `segment` bytes each that stand one after another.
    pub(crate) fn send(&self, datagrams: &[u8], segment: usize) -> io::Result<()> {
        let batch = segment.max(1) * self.segments_max(segment);
        for part in datagrams.chunks(batch) {
            if let Err(error) = self.send_batch(part, segment) {
                // A kernel that promised offload and refuses it: the state has noticed, so one by one from here on.
                if part.len() <= segment {
                    return Err(error);
                }
                part.chunks(segment.max(1)).try_for_each(|datagram| self.send_batch(datagram, segment))?;
            }
        }
        Ok(())
    }

    fn send_batch(&self, contents: &[u8], segment: usize) -> io::Result<()> {
        let segment_size = (contents.len() > segment).then_some(segment);
        let transmit = Transmit { destination: self.target, ecn: None, contents, segment_size, src_ip: None };
        loop {
            let sent = match &self.state {
                Some(state) => state.try_send(UdpSockRef::from(&self.socket), &transmit),
                None => self.socket.send_to(contents, self.target).map(drop),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !wait(&self.socket, PollFlags::OUT, SEND_WAIT)? {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// Datagrams that came together: their bytes and the length of each.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<u32>,
}

impl Chunk {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }

    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map_while(move |length| {
            let (datagram, after) = rest.split_at_checked(*length as usize)?;
            rest = after;
            Some(datagram)
        })
    }
}

/// Receives only.
pub(crate) struct Incoming {
    socket: UdpSocket,
    /// None where every datagram comes by itself.
    state: Option<UdpSocketState>,
    buffers: Vec<Vec<u8>>,
    /// Bytes of the last message: one datagram, or a batch of them.
    message: usize,
    gathers: bool,
}

impl Incoming {
    /// Listens, with a buffer of `asked` bytes or what the kernel gives. 100 ms of the rate are `wanted`.
    pub(crate) fn open(listen: SocketAddr, asked: usize, wanted: usize, offload: Offload) -> io::Result<Incoming> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        ask_for_buffer(&socket, asked)?;
        socket.bind(&listen.into())?;
        let gathers = socket.recv_buffer_size()? >= wanted;
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let state = match offload {
            Offload::Batches => Some(UdpSocketState::new(UdpSockRef::from(&socket))?),
            Offload::OneByOne => None,
        };
        Ok(Incoming { gathers, socket, state, buffers: vec![vec![0; BUFFER_BYTES]; BUFFERS], message: BUFFER_BYTES })
    }

    /// For whoever does not read from it.
    pub(crate) fn handle(&self) -> io::Result<Handle> {
        Ok(Handle { socket: self.socket.try_clone()? })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn buffer_bytes(&self) -> io::Result<usize> {
        SockRef::from(&self.socket).recv_buffer_size()
    }

    /// Waits at most so long for the first datagram, then appends what comes together until the chunk is full.
    pub(crate) fn receive(&mut self, at_most: Duration, chunk: &mut Chunk) -> io::Result<()> {
        if !wait(&self.socket, PollFlags::IN, at_most)? {
            return Ok(());
        }
        self.drain(chunk)?;
        if self.gathers && chunk.bytes.len() < CHUNK_BYTES {
            std::thread::sleep(GATHER);
            self.drain(chunk)?;
        }
        Ok(())
    }

    /// Appends what is there until nothing is left or the chunk is full.
    fn drain(&mut self, chunk: &mut Chunk) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BUFFERS];
        while chunk.bytes.len() < CHUNK_BYTES {
            // No more than the chunk has room for, going by the last one.
            let wanted = (CHUNK_BYTES - chunk.bytes.len()).div_ceil(self.message).min(BUFFERS);
            let mut slices: Vec<IoSliceMut<'_>> =
                self.buffers.iter_mut().take(wanted).map(|buffer| IoSliceMut::new(buffer)).collect();
            let came = match &self.state {
                Some(state) => state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas),
                None => one_by_one(&self.socket, &mut slices, &mut metas),
            };
            let count = match came {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for (meta, buffer) in metas.iter().zip(&self.buffers).take(count) {
                let whole = buffer.get(..meta.len).unwrap_or_default();
                chunk.bytes.extend_from_slice(whole);
                self.message = whole.len().max(1);
                let datagrams = whole.chunks(meta.stride.max(1));
                chunk.lengths.extend(datagrams.map(|d| u32::try_from(d.len()).unwrap_or_default()));
            }
        }
        Ok(())
    }
}

/// A datagram a call, into the first buffer.
fn one_by_one(socket: &UdpSocket, slices: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
    let (Some(buffer), Some(meta)) = (slices.first_mut(), metas.first_mut()) else { return Ok(0) };
    let length = socket.recv(buffer)?;
    (meta.len, meta.stride) = (length, length);
    Ok(1)
}

/// Asks for a buffer of so many bytes, and says what the kernel gave.
fn ask_for_buffer(socket: &impl AsFd, asked: usize) -> io::Result<usize> {
    let options = SockRef::from(socket);
    options.set_recv_buffer_size(asked)?;
    if options.recv_buffer_size()? < asked {
        // With CAP_NET_ADMIN the kernel's ceiling does not hold; without it this fails and the warning stands.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, asked);
    }
    options.recv_buffer_size()
}

/// Turns the screws of a receiving socket while another thread reads it.
pub(crate) struct Handle {
    socket: UdpSocket,
}

impl Handle {
    /// Asks for a larger buffer again: somebody may have raised the kernel's ceiling. Bytes that it holds now.
    pub(crate) fn ask_for_buffer(&self, asked: usize) -> io::Result<usize> {
        ask_for_buffer(&self.socket, asked)
    }
}

fn wait(socket: &impl AsFd, flags: PollFlags, at_most: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(at_most).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(socket, flags)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(out: Offload, into: Offload) -> (Outgoing, Incoming) {
        let incoming = Incoming::open(([127, 0, 0, 1], 0).into(), 1 << 20, 0, into).expect("a socket");
        let outgoing = Outgoing::open(None, incoming.address().expect("bound"), out).expect("a socket");
        (outgoing, incoming)
    }

    /// So many datagrams, each by itself.
    fn come(incoming: &mut Incoming, count: usize) -> Vec<Vec<u8>> {
        let mut chunk = Chunk::default();
        while chunk.lengths.len() < count {
            let before = chunk.lengths.len();
            incoming.receive(Duration::from_secs(30), &mut chunk).expect("received");
            assert!(chunk.lengths.len() > before, "{before} of {count} came");
        }
        chunk.datagrams().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn batches_arrive_as_the_datagrams_they_were_also_where_either_kernel_has_no_offload() {
        let ways = [Offload::Batches, Offload::OneByOne];
        for (out, into) in ways.into_iter().flat_map(|out| ways.map(|into| (out, into))) {
            let (outgoing, mut incoming) = pair(out, into);
            assert!(out == Offload::Batches || outgoing.segments_max(1_000) == 1);
            let sent: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 1_000]).collect();
            outgoing.send(&sent.concat(), 1_000).expect("sent");
            outgoing.send(&[7; 500], 1_000).expect("sent");
            assert_eq!(come(&mut incoming, 41), [sent, vec![vec![7; 500]]].concat(), "{out:?}, {into:?}");
        }
    }
}
