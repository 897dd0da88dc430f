//! The shape of a block: how many symbols of how many bytes. Fixed when the block is cut, repeated in every frame.

use super::frame;

/// Symbols are cut in steps of this: the SIMD kernels of the code work on 64 bytes at a time.
pub const SYMBOL_STEP: u16 = 64;
/// The largest symbol: what fits a jumbo frame of 9,000 bytes.
pub const SYMBOL_BYTES_MAX: u16 = 8_896;
/// The largest block, directory and digest included. Also the most a receiver allocates for one block's content.
pub const BLOCK_BYTES_MAX: u32 = 4 << 20;
/// The smallest MTU taken: below it headers outweigh content, and IPv6 asks for 1,280 anyway.
pub const MTU_MIN: u16 = 1_200;
/// The largest MTU taken: jumbo frames.
pub const MTU_MAX: u16 = 9_000;
/// Below two recovery symbols a block of one symbol could not survive the loss of two datagrams.
const RECOVERY_MIN: u32 = 2;

/// How a block is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// K: source symbols. They carry the block as it is.
    pub source: u16,
    /// M: recovery symbols that exist. Any K of the K + M give the block back.
    pub recovery: u16,
    /// Bytes of a symbol; a multiple of 64.
    pub symbol_bytes: u16,
    /// Bytes of the block; the last source symbol is filled up with zeros.
    pub block_bytes: u32,
}

/// Numbers that no block of ours has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no block has {source_symbols} + {recovery} symbols of {symbol_bytes} bytes for {block_bytes} bytes")]
pub struct BadGeometry {
    source_symbols: u16,
    recovery: u16,
    symbol_bytes: u16,
    block_bytes: u32,
}

impl Geometry {
    /// Takes numbers off the wire, if a block of ours may have them.
    pub fn checked(source: u16, recovery: u16, symbol_bytes: u16, block_bytes: u32) -> Result<Geometry, BadGeometry> {
        let whole = u32::from(source) * u32::from(symbol_bytes);
        let good = source > 0
            && recovery > 0
            && symbol_bytes > 0
            && symbol_bytes.is_multiple_of(SYMBOL_STEP)
            && symbol_bytes <= SYMBOL_BYTES_MAX
            && block_bytes > 0
            && block_bytes <= BLOCK_BYTES_MAX
            && block_bytes <= whole
            && whole - block_bytes < u32::from(symbol_bytes)
            && u32::from(recovery) <= u32::from(source).max(RECOVERY_MIN);
        if good {
            Ok(Geometry { source, recovery, symbol_bytes, block_bytes })
        } else {
            Err(BadGeometry { source_symbols: source, recovery, symbol_bytes, block_bytes })
        }
    }

    /// The shape of a block of so many bytes, with `repair_percent` recovery symbols: at least two, at most K.
    pub fn of_block(block_bytes: u32, symbol_bytes: u16, repair_percent: u16) -> Result<Geometry, BadGeometry> {
        let bad = BadGeometry { source_symbols: 0, recovery: 0, symbol_bytes, block_bytes };
        let source = block_bytes.checked_add(u32::from(symbol_bytes)).ok_or(bad)?.saturating_sub(1)
            / u32::from(symbol_bytes.max(1));
        let recovery = percent_of(source, repair_percent).clamp(RECOVERY_MIN, source.max(RECOVERY_MIN));
        let source = u16::try_from(source).map_err(|_| bad)?;
        Geometry::checked(source, u16::try_from(recovery).map_err(|_| bad)?, symbol_bytes, block_bytes)
    }

    /// All symbols: K + M.
    #[must_use]
    pub fn symbols(&self) -> u32 {
        u32::from(self.source) + u32::from(self.recovery)
    }

    /// Bytes of the source symbols together, the zeros at the end included.
    #[must_use]
    pub fn source_bytes(&self) -> usize {
        usize::from(self.source) * usize::from(self.symbol_bytes)
    }

    /// Recovery symbols of the first round.
    #[must_use]
    pub fn first_recovery(&self, percent: u16) -> u16 {
        u16::try_from(percent_of(u32::from(self.source), percent).max(1))
            .map_or(self.recovery, |r| r.min(self.recovery))
    }
}

fn percent_of(count: u32, percent: u16) -> u32 {
    (count * u32::from(percent)).div_ceil(100)
}

/// The largest symbol that fits a datagram unfragmented: 1,408 at MTU 1,500 over IPv4, 1,344 over IPv6.
#[must_use]
pub fn symbol_bytes_for(mtu: u16, ipv6: bool) -> u16 {
    let headers = if ipv6 { 48 } else { 28 };
    let overhead = u16::try_from(frame::OVERHEAD_BYTES).expect("the overhead of a frame is a small constant");
    let room = mtu.clamp(MTU_MIN, MTU_MAX) - headers - overhead;
    room / SYMBOL_STEP * SYMBOL_STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_fill_the_datagram_that_the_mtu_allows() {
        assert_eq!(symbol_bytes_for(1_500, false), 1_408);
        assert_eq!(symbol_bytes_for(1_500, true), 1_344);
        assert_eq!(symbol_bytes_for(9_000, false), SYMBOL_BYTES_MAX);
        assert_eq!(symbol_bytes_for(0, false), symbol_bytes_for(MTU_MIN, false));
    }

    #[test]
    fn a_block_is_never_padded_beyond_its_last_symbol() {
        for bytes in [1, 1_407, 1_408, 1_409, 10_240, BLOCK_BYTES_MAX] {
            let shape = Geometry::of_block(bytes, 1_408, 15).unwrap();
            assert!(shape.source_bytes() - (bytes as usize) < 1_408, "{shape:?}");
            assert_eq!(
                Geometry::checked(shape.source, shape.recovery, shape.symbol_bytes, shape.block_bytes),
                Ok(shape)
            );
        }
        assert!(Geometry::of_block(0, 1_408, 15).is_err());
        assert!(Geometry::of_block(BLOCK_BYTES_MAX + 1, 1_408, 15).is_err());
        assert!(Geometry::checked(10, 2, 1_400, 13_999).is_err());
        assert!(Geometry::checked(10, 60_000, 1_408, 14_080).is_err());
        assert!(Geometry::checked(10, 2, 1_408, 12_672).is_err());
    }
}
