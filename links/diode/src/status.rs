//! What a link shows of itself: numbers for metrics and the status page, never content.

use protocol::oneway::Counters;

/// The sending end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStatus {
    /// The link epoch of this start.
    pub epoch: u32,
    /// Datagrams handed to the kernel.
    pub datagrams: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
    /// Datagrams the kernel refused.
    pub send_errors: u64,
    /// Beacons among them.
    pub beacons: u64,
    /// Blocks kept: in the air or waiting for their next round.
    pub blocks: u64,
    /// Blocks cut since the start.
    pub blocks_cut: u64,
    /// Entries in the outbox at the last look.
    pub entries: u64,
    /// True while everything in the outbox has been out at least once.
    pub idle: bool,
    /// Datagrams that leave in one system call; 1 where the kernel has no segmentation offload.
    pub segments_max: u64,
}

/// The receiving end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// Frames and blocks since the start.
    pub counters: Counters,
    /// Datagrams the kernel dropped because the socket buffer was full.
    pub kernel_drops: u64,
    /// Bytes of the socket buffer.
    pub socket_bytes: u64,
    /// They are less than 100 ms of the rate: datagrams will be lost under load.
    pub small_buffer: bool,
    /// Blocks of which symbols are missing.
    pub open_blocks: u64,
    /// Bytes of their symbols in memory.
    pub open_memory_bytes: u64,
    /// Bytes of their symbols on disk.
    pub open_disk_bytes: u64,
    /// Entries handed to the arrivals since the start.
    pub entries: u64,
    /// Blocks whose pieces could not be kept; a later round brings them again.
    pub keep_errors: u64,
    /// Milliseconds since the last beacon, or since the start where none came.
    pub last_beacon_age_ms: u64,
    /// How far the sender's clock is ahead of ours, at its last beacon.
    pub skew_ms: i64,
    /// The link epoch of the last beacon; 0 where none came.
    pub epoch: u32,
    /// No beacon for longer than `silence_s`.
    pub silent: bool,
    /// Two senders with the same keys spoke since the last start of one.
    pub two_senders: bool,
}
