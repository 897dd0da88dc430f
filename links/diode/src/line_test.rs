//! The line test, without sockets: numbered datagrams, and what a receiver makes of the numbers. Nothing of it is
//! delivered, kept or answered; a running receiver refuses these datagrams as foreign, because their magic is another.
//!
//! ```text
//!  0 magic "TLLT"   4 version 1   5 zero(3)
//!  8 run(16)       24 number(8)  32 frames of the run(8)
//! 40 seconds(2)    42 K(2)       44 recovery symbols of round 1(2)  46 interleave(2)  48 rate Mbit/s(4) | filler
//! ```
//! Big-endian. The filler is zeros up to the size of a frame of the link. There is no tag: whoever can write to the
//! wire can spoil a test, and a test changes nothing but its own report.

use std::time::Duration;

use protocol::oneway::Moment;
use serde::Serialize;

use crate::odds;

const MAGIC: [u8; 4] = *b"TLLT";
const VERSION: u8 = 1;
/// Bytes before the filler.
pub(crate) const HEAD_BYTES: usize = 52;
/// The longest test: an hour shows what a minute does not, and a forged datagram holds a receiver no longer.
pub const SECONDS_MAX: u16 = 3_600;
/// Numbers of one run: 32 MiB of marks at the receiver, 100 minutes at 500 Mbit/s and MTU 1,500.
pub const FRAMES_MAX: u64 = 1 << 28;
/// After the last frame that should come this long is waited for late ones.
const QUIET: Duration = Duration::from_secs(2);
/// A block of the real link may stay open this often after round 1: one in a million, a day's work of blocks.
const OPEN_AT_MOST: f64 = 1e-6;
/// The link's own default of recovery symbols in round 1, in percent. Nobody is advised to go below.
const FIRST_PERCENT_MIN: u64 = 5;
/// The link's own default of all recovery symbols, in percent.
const REPAIR_PERCENT_MIN: u64 = 15;
/// What would need more than this in round 1 is an outage: rounds are for that, repair would only cost.
const FIRST_PERCENT_MAX: u64 = 33;

/// What every datagram of a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Drawn anew for each run.
    pub run: [u8; 16],
    /// Which datagram, from 0.
    pub number: u64,
    /// How many there are.
    pub frames: u64,
    /// How long they take at the rate.
    pub seconds: u16,
    /// K of a full block with the sender's settings.
    pub source: u16,
    /// Recovery symbols that go with its first round.
    pub first: u16,
    /// Blocks in the air at once.
    pub interleave: u16,
    /// The sender's rate.
    pub rate_mbit: u32,
}

impl Head {
    /// Appends the datagram, filled up to `bytes`.
    pub fn write(&self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes.max(HEAD_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.extend_from_slice(&self.run);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.frames.to_be_bytes());
        for short in [self.seconds, self.source, self.first, self.interleave] {
            out.extend_from_slice(&short.to_be_bytes());
        }
        out.extend_from_slice(&self.rate_mbit.to_be_bytes());
        out.resize(end, 0);
    }

    /// Takes a datagram apart; `None` where it is none of a test, or says what no sender of ours says.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Head> {
        let (magic, rest) = datagram.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (run, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (frames, rest) = rest.split_first_chunk::<8>()?;
        let mut shorts = [0; 4];
        let mut rest = rest;
        for short in &mut shorts {
            let (bytes, after) = rest.split_first_chunk::<2>()?;
            *short = u16::from_be_bytes(*bytes);
            rest = after;
        }
        let (rate, _filler) = rest.split_first_chunk::<4>()?;
        let [seconds, source, first, interleave] = shorts;
        let head = Head {
            run: *run,
            number: u64::from_be_bytes(*number),
            frames: u64::from_be_bytes(*frames),
            seconds,
            source,
            first,
            interleave,
            rate_mbit: u32::from_be_bytes(*rate),
        };
        let ours = *magic == MAGIC && *version == [VERSION, 0, 0, 0];
        (ours && head.is_possible()).then_some(head)
    }

    fn is_possible(&self) -> bool {
        let counted = self.number < self.frames && self.frames <= FRAMES_MAX;
        counted && (1..=SECONDS_MAX).contains(&self.seconds) && self.source > 0 && self.interleave > 0
    }

    fn is_of_one_run_with(&self, other: &Head) -> bool {
        Head { number: 0, ..*self } == Head { number: 0, ..*other }
    }
}

/// What has come of one run so far.
pub struct Tally {
    head: Head,
    /// A bit for each number.
    seen: Vec<u64>,
    highest: u64,
    arrived: u64,
    bytes: u64,
    duplicates: u64,
    reordered: u64,
    reordered_by_max: u64,
    foreign: u64,
    first_at: Moment,
    last_at: Moment,
}

impl Tally {
    /// Begins with the first datagram of a run.
    #[must_use]
    pub fn begin(now: Moment, head: Head) -> Tally {
        let words = usize::try_from(head.frames.div_ceil(64)).unwrap_or_default();
        Tally {
            head,
            seen: vec![0; words],
            highest: 0,
            arrived: 0,
            bytes: 0,
            duplicates: 0,
            reordered: 0,
            reordered_by_max: 0,
            foreign: 0,
            first_at: now,
            last_at: now,
        }
    }

    /// One more datagram. What is not of this run is counted and otherwise ignored.
    pub fn take(&mut self, now: Moment, datagram: &[u8]) {
        let Some(head) = Head::parse(datagram).filter(|head| head.is_of_one_run_with(&self.head)) else {
            self.foreign += 1;
            return;
        };
        let mark = 1_u64 << (head.number % 64);
        let Some(word) = usize::try_from(head.number / 64).ok().and_then(|at| self.seen.get_mut(at)) else { return };
        if *word & mark != 0 {
            self.duplicates += 1;
            return;
        }
        *word |= mark;
        if head.number < self.highest {
            self.reordered += 1;
            self.reordered_by_max = self.reordered_by_max.max(self.highest - head.number);
        }
        self.highest = self.highest.max(head.number);
        self.arrived += 1;
        self.bytes += datagram.len() as u64;
        self.last_at = now;
    }

    /// Is nothing more to be expected? In an outage the rest of the run is waited for.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        let left = self.head.frames - 1 - self.highest;
        let share = left as f64 / self.head.frames as f64;
        now >= self.last_at + Duration::from_secs(self.head.seconds.into()).mul_f64(share) + QUIET
    }

    fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|at| self.seen.get(at));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// What it comes to.
    #[must_use]
    pub fn report(&self, socket: Socket) -> Report {
        let frames = self.head.frames;
        let lost = frames - self.arrived;
        let (burst_lengths, longest) = self.bursts();
        let blocks = self.blocks();
        let elapsed_s = self.last_at.saturating_sub(self.first_at).as_secs_f64();
        let mut report = Report {
            frames,
            arrived: self.arrived,
            lost,
            loss_percent: 100.0 * lost as f64 / frames as f64,
            bursts: burst_lengths.iter().map(|lengths| lengths.count).sum(),
            burst_lengths,
            burst_longest: longest,
            burst_longest_ms: longest as f64 * f64::from(self.head.seconds) * 1_000.0 / frames as f64,
            reordered: self.reordered,
            reordered_by_max: self.reordered_by_max,
            duplicates: self.duplicates,
            foreign: self.foreign,
            rate_mbit_sent: self.head.rate_mbit,
            rate_mbit_seen: if elapsed_s > 0.0 { self.bytes as f64 * 8e-6 / elapsed_s } else { 0.0 },
            kernel_drops: socket.drops,
            socket_bytes: socket.bytes,
            socket_bytes_wanted: u64::from(self.head.rate_mbit) * 12_500,
            source: self.head.source,
            first_recovery: self.head.first,
            interleave: self.head.interleave,
            blocks: blocks.count,
            blocks_open: blocks.open,
            block_worst: blocks.worst,
            advice: Advice::default(),
            good: false,
        };
        report.advice = Advice::of(&report);
        // A run so short that no block of it was full: that none stayed open says little, the odds of full ones count.
        let (source, first) = (u32::from(report.source), u32::from(report.first_recovery));
        let full = report.frames >= u64::from(source + first) * u64::from(report.interleave);
        let borne = full || odds::undecodable(source, first, report.loss_percent / 100.0) <= OPEN_AT_MOST;
        report.good = borne && report.blocks_open == 0 && report.kernel_drops == 0 && !report.advice.buffer;
        report
    }

    /// Runs of numbers that never came, by length in doubling classes; and the longest.
    fn bursts(&self) -> (Vec<Lengths>, u64) {
        let mut classes: Vec<Lengths> = Vec::new();
        let (mut run, mut longest) = (0_u64, 0);
        for number in 0..=self.head.frames {
            if number < self.head.frames && !self.has(number) {
                run += 1;
                continue;
            }
            if run > 0 {
                let class = run.ilog2();
                let at = class as usize;
                while classes.len() <= at {
                    let from = 1_u64 << classes.len();
                    classes.push(Lengths { from, to: from * 2 - 1, count: 0 });
                }
                if let Some(lengths) = classes.get_mut(at) {
                    lengths.count += 1;
                }
                longest = longest.max(run);
                run = 0;
            }
        }
        classes.retain(|lengths| lengths.count > 0);
        (classes, longest)
    }

    /// The run cut as the sender's link would have cut it: `interleave` blocks at a time, a frame of each in turn.
    fn blocks(&self) -> Blocks {
        let interleave = u64::from(self.head.interleave);
        let window = interleave * (u64::from(self.head.source) + u64::from(self.head.first));
        let mut found = Blocks { count: 0, open: 0, worst: 0 };
        let mut start = 0;
        while start < self.head.frames {
            let end = (start + window).min(self.head.frames);
            for block in 0..interleave.min(end - start) {
                let step = usize::from(self.head.interleave);
                let lost = (start + block..end).step_by(step).filter(|number| !self.has(*number)).count() as u64;
                found.count += 1;
                found.open += u64::from(lost > u64::from(self.head.first));
                found.worst = found.worst.max(lost);
            }
            start = end;
        }
        found
    }
}

struct Blocks {
    count: u64,
    open: u64,
    worst: u64,
}

/// What the receiver's kernel did during the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Socket {
    /// Datagrams it had no room for.
    pub drops: u64,
    /// The buffer it gave.
    pub bytes: u64,
}

/// Runs of lost frames of `from` to `to` in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// The shortest of the class.
    pub from: u64,
    /// The longest.
    pub to: u64,
    /// How many.
    pub count: u64,
}

/// What a line test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Sent, as every one of them says.
    pub frames: u64,
    /// Came, each counted once.
    pub arrived: u64,
    /// Never came.
    pub lost: u64,
    /// The same, in percent.
    pub loss_percent: f64,
    /// Runs of lost ones.
    pub bursts: u64,
    /// By their length.
    pub burst_lengths: Vec<Lengths>,
    /// The longest.
    pub burst_longest: u64,
    /// How long that is at the rate.
    pub burst_longest_ms: f64,
    /// Came after a later one.
    pub reordered: u64,
    /// By how many numbers at most.
    pub reordered_by_max: u64,
    /// Came again.
    pub duplicates: u64,
    /// Datagrams of something else on the port.
    pub foreign: u64,
    /// What the sender was set to.
    pub rate_mbit_sent: u32,
    /// What came, between the first and the last.
    pub rate_mbit_seen: f64,
    /// Datagrams the receiver's kernel had no room for. They are among the lost.
    pub kernel_drops: u64,
    /// The socket buffer that the kernel gave.
    pub socket_bytes: u64,
    /// 100 ms of the sender's rate.
    pub socket_bytes_wanted: u64,
    /// K of the sender's blocks.
    pub source: u16,
    /// Recovery symbols of their first round.
    pub first_recovery: u16,
    /// Blocks in the air at once.
    pub interleave: u16,
    /// Blocks that this run would have been.
    pub blocks: u64,
    /// Of these, how many would have stayed open after round 1.
    pub blocks_open: u64,
    /// The most frames that one block lost.
    pub block_worst: u64,
    /// What to set.
    pub advice: Advice,
    /// True where round 1 bears this line as it is set and the receiver keeps up.
    pub good: bool,
}

/// What to set, by the arithmetic of docs/diode.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// `repair_first_percent` of the sender.
    pub repair_first_percent: u64,
    /// `repair_percent` of the sender.
    pub repair_percent: u64,
    /// The longest run of losses is an outage: rounds bring it, repair does not.
    pub outage: bool,
    /// The socket buffer is to grow.
    pub buffer: bool,
    /// `socket_mib` of the receiver.
    pub socket_mib: u64,
    /// `net.core.rmem_max` for that.
    pub rmem_max: u64,
}

impl Advice {
    fn of(report: &Report) -> Advice {
        let source = u64::from(report.source);
        let percent = |symbols: u64| (symbols * 100).div_ceil(source);
        let outage = percent(report.block_worst) > FIRST_PERCENT_MAX;
        let alone = odds::recovery_for(report.source.into(), report.loss_percent / 100.0, OPEN_AT_MOST)
            .map_or(source, u64::from);
        // In an outage the average says nothing of the rest of the time.
        let needed = if outage { 0 } else { percent(alone.max(report.block_worst)) };
        let first = needed.clamp(FIRST_PERCENT_MIN, FIRST_PERCENT_MAX);
        let buffer = report.socket_bytes < report.socket_bytes_wanted || report.kernel_drops > 0;
        // Twice the 100 ms where even that was not enough.
        let enough = report.socket_bytes_wanted.max(if report.kernel_drops > 0 { report.socket_bytes * 2 } else { 0 });
        let socket_mib = enough.div_ceil(1 << 20).clamp(32, 1_024);
        Advice {
            repair_first_percent: first,
            repair_percent: (first * 3).clamp(REPAIR_PERCENT_MIN, 100),
            outage,
            buffer,
            socket_mib,
            rmem_max: socket_mib << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Head = Head {
        run: [7; 16],
        number: 0,
        frames: 1_000,
        seconds: 1,
        source: 100,
        first: 5,
        interleave: 4,
        rate_mbit: 10,
    };

    fn datagram(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        Head { number, ..RUN }.write(200, &mut bytes);
        bytes
    }

    fn heard(numbers: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::begin(Moment::ZERO, RUN);
        for (at, number) in numbers.into_iter().enumerate() {
            tally.take(Moment::from_millis(at as u64), &datagram(number));
        }
        tally
    }

    const ROOMY: Socket = Socket { drops: 0, bytes: 1 << 20 };

    #[test]
    fn a_datagram_is_read_back_and_a_running_receiver_takes_it_for_neither_frame_nor_beacon() {
        let bytes = datagram(999);
        assert_eq!(bytes.len(), 200);
        assert_eq!(Head::parse(&bytes), Some(Head { number: 999, ..RUN }));
        assert!(!protocol::oneway::frame::is_frame(&bytes) && !protocol::oneway::beacon::is_beacon(&bytes));
        for length in 0..HEAD_BYTES {
            assert_eq!(Head::parse(&bytes[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_datagram_that_says_what_no_sender_says_is_refused() {
        let bad = [
            Head { number: 1_000, ..RUN },
            Head { frames: FRAMES_MAX + 1, ..RUN },
            Head { frames: 0, ..RUN },
            Head { seconds: 0, ..RUN },
            Head { seconds: SECONDS_MAX + 1, ..RUN },
            Head { source: 0, ..RUN },
            Head { interleave: 0, ..RUN },
        ];
        for head in bad {
            let mut bytes = Vec::new();
            head.write(100, &mut bytes);
            assert_eq!(Head::parse(&bytes), None, "{head:?}");
        }
        assert_eq!(Head::parse(&[&[0], &datagram(1)[1..]].concat()), None);
    }

    #[test]
    fn a_clean_line_needs_nothing() {
        let report = heard(0..1_000).report(ROOMY);
        assert_eq!((report.lost, report.bursts, report.reordered, report.duplicates), (0, 0, 0, 0));
        assert!(report.good, "{report:?}");
        assert_eq!((report.advice.repair_first_percent, report.advice.repair_percent), (5, 15));
        // 200 bytes a millisecond.
        assert!((report.rate_mbit_seen - 1.6).abs() < 0.01, "{}", report.rate_mbit_seen);
    }

    #[test]
    fn losses_are_counted_in_runs_and_by_length_and_the_end_counts_too() {
        let lost = |n: &u64| *n == 3 || (10..13).contains(n) || (20..22).contains(n) || *n >= 996;
        let report = heard((0..1_000).filter(|n| !lost(n))).report(ROOMY);
        assert_eq!((report.lost, report.bursts, report.burst_longest), (10, 4, 4));
        let class = |from, to, count| Lengths { from, to, count };
        assert_eq!(report.burst_lengths, [class(1, 1, 1), class(2, 3, 2), class(4, 7, 1)]);
    }

    #[test]
    fn a_late_one_is_reordered_and_not_lost_and_a_second_one_is_a_duplicate() {
        let report = heard((0..500).chain([510]).chain(500..510).chain([510, 3]).chain(511..1_000)).report(ROOMY);
        assert_eq!((report.lost, report.reordered, report.reordered_by_max, report.duplicates), (0, 10, 10, 2));
    }

    #[test]
    fn a_run_of_losses_is_spread_over_the_blocks_in_the_air() {
        // Four blocks of 100 + 5: twenty in a row take five of each, one more opens a block.
        let report = heard((0..1_000).filter(|n| !(40..60).contains(n))).report(ROOMY);
        assert_eq!((report.block_worst, report.blocks_open), (5, 0));
        assert!(report.good, "{report:?}");
        let report = heard((0..1_000).filter(|n| !(40..61).contains(n))).report(ROOMY);
        assert_eq!((report.block_worst, report.blocks_open, report.good), (6, 1, false));
        assert!(report.advice.repair_first_percent >= 6 && !report.advice.outage, "{report:?}");
    }

    #[test]
    fn an_outage_is_left_to_rounds_and_repair_stays_small() {
        let report = heard((0..1_000).filter(|n| !(100..500).contains(n))).report(ROOMY);
        assert!(report.advice.outage && !report.good, "{report:?}");
        assert_eq!((report.advice.repair_first_percent, report.advice.repair_percent), (5, 15));
    }

    #[test]
    fn a_small_buffer_or_a_kernel_that_dropped_is_never_good() {
        let small = heard(0..1_000).report(Socket { drops: 0, bytes: 100_000 });
        assert!(!small.good && small.advice.buffer && small.socket_bytes_wanted == 125_000, "{small:?}");
        let dropped = heard(0..1_000).report(Socket { drops: 1, bytes: 64 << 20 });
        assert!(
            !dropped.good && dropped.advice.socket_mib == 128 && dropped.advice.rmem_max == 128 << 20,
            "{dropped:?}"
        );
    }

    #[test]
    fn another_run_and_other_noise_on_the_port_are_counted_and_change_nothing() {
        let mut tally = heard(0..10);
        let mut other = Vec::new();
        Head { run: [8; 16], ..RUN }.write(200, &mut other);
        tally.take(Moment::ZERO, &other);
        tally.take(Moment::ZERO, b"noise");
        let report = tally.report(ROOMY);
        assert_eq!((report.foreign, report.arrived, report.duplicates), (2, 10, 0));
    }

    #[test]
    fn a_test_is_over_when_nothing_more_can_come_and_an_outage_is_sat_out() {
        let tally = heard(0..1_000);
        assert!(!tally.is_over(Moment::from_millis(2_998)) && tally.is_over(Moment::from_millis(2_999)));
        let half = heard(0..500);
        assert!(!half.is_over(Moment::from_millis(2_998)) && half.is_over(Moment::from_millis(3_000)));
    }
}
