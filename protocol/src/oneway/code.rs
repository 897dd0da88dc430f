//! Reed-Solomon over a block's symbols: any K of K + M give the block back. Beside
//! [`crate::parity`] the one file that knows the crate.
//!
//! Both workshops keep their working memory between blocks; a block costs no allocation beyond its own bytes.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::geometry::Geometry;

/// The code refused numbers or symbols that were checked before: our own bug, reported instead of a panic.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the code refused {source_symbols} + {recovery} symbols: {cause}")]
pub struct CodeError {
    source_symbols: u16,
    recovery: u16,
    cause: reed_solomon_simd::Error,
}

fn refused(shape: &Geometry) -> impl Fn(reed_solomon_simd::Error) -> CodeError {
    let (source_symbols, recovery) = (shape.source, shape.recovery);
    move |cause| CodeError { source_symbols, recovery, cause }
}

/// Makes recovery symbols.
#[derive(Default)]
pub struct Encoder {
    inner: Option<ReedSolomonEncoder>,
}

impl Encoder {
    /// All M recovery symbols, one after another. `source` has exactly [`Geometry::source_bytes`].
    pub fn recovery(&mut self, shape: &Geometry, source: &[u8]) -> Result<Vec<u8>, CodeError> {
        let (k, m, size) = (usize::from(shape.source), usize::from(shape.recovery), usize::from(shape.symbol_bytes));
        let refused = refused(shape);
        let encoder = match self.inner.take() {
            Some(mut kept) => {
                kept.reset(k, m, size).map_err(&refused)?;
                self.inner.insert(kept)
            }
            None => self.inner.insert(ReedSolomonEncoder::new(k, m, size).map_err(&refused)?),
        };
        for symbol in source.chunks_exact(size) {
            encoder.add_original_shard(symbol).map_err(&refused)?;
        }
        let result = encoder.encode().map_err(&refused)?;
        let mut out = Vec::with_capacity(m * size);
        result.recovery_iter().for_each(|symbol| out.extend_from_slice(symbol));
        Ok(out)
    }
}

/// Restores source symbols.
#[derive(Default)]
pub struct Decoder {
    inner: Option<ReedSolomonDecoder>,
}

impl Decoder {
    /// Fills the missing source symbols into `source`. `have` says which of them are there; `recovery` holds at least
    /// as many recovery symbols, by their index from 0, as are missing.
    pub fn restore<'a>(
        &mut self,
        shape: &Geometry,
        source: &mut [u8],
        have: impl Fn(u16) -> bool,
        recovery: impl Iterator<Item = (u16, &'a [u8])>,
    ) -> Result<(), CodeError> {
        let (k, m, size) = (usize::from(shape.source), usize::from(shape.recovery), usize::from(shape.symbol_bytes));
        let refused = refused(shape);
        let decoder = match self.inner.take() {
            Some(mut kept) => {
                kept.reset(k, m, size).map_err(&refused)?;
                self.inner.insert(kept)
            }
            None => self.inner.insert(ReedSolomonDecoder::new(k, m, size).map_err(&refused)?),
        };
        for (index, symbol) in (0..shape.source).zip(source.chunks_exact(size)) {
            if have(index) {
                decoder.add_original_shard(usize::from(index), symbol).map_err(&refused)?;
            }
        }
        for (index, symbol) in recovery {
            decoder.add_recovery_shard(usize::from(index), symbol).map_err(&refused)?;
        }
        let result = decoder.decode().map_err(&refused)?;
        for (index, symbol) in result.restored_original_iter() {
            if let Some(place) = source.get_mut(index * size..(index + 1) * size) {
                place.copy_from_slice(symbol);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_k_symbols_give_the_block_back() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for bytes in [1_u32, 1_408, 10_000, 100_000, 300_001] {
            let shape = Geometry::of_block(bytes, 1_408, 15).unwrap();
            let source: Vec<u8> = (0_u8..251).cycle().take(shape.source_bytes()).collect();
            let recovery = encoder.recovery(&shape, &source).unwrap();
            assert_eq!(recovery.len(), usize::from(shape.recovery) * 1_408);
            let lost = |i: u16| u32::from(i) < u32::from(shape.recovery.min(shape.source));
            let mut damaged = source.clone();
            for (i, symbol) in (0..shape.source).zip(damaged.chunks_exact_mut(1_408)) {
                if lost(i) {
                    symbol.fill(0);
                }
            }
            let symbols = (0..shape.recovery).zip(recovery.chunks_exact(1_408));
            decoder.restore(&shape, &mut damaged, |i| !lost(i), symbols).unwrap();
            assert!(damaged == source, "{shape:?}");
        }
    }
}
