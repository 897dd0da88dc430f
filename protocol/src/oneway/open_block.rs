//! A block of which symbols are still missing. Source symbols lie where they belong; a block that lost none is whole
//! without decoding. Symbols that were put on disk are known here by their index alone.

use super::code::{CodeError, Decoder};
use super::geometry::Geometry;

/// One bit a symbol.
#[derive(Clone, Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
    count: u32,
}

impl Bits {
    /// Is it set?
    #[must_use]
    pub fn has(&self, index: u16) -> bool {
        self.words.get(usize::from(index / 64)).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Sets it; false if it was set before.
    pub fn set(&mut self, index: u16) -> bool {
        let at = usize::from(index / 64);
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        match self.words.get_mut(at) {
            Some(word) if *word >> (index % 64) & 1 == 0 => {
                *word |= 1 << (index % 64);
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// How many are set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// Its symbols, in memory and on disk.
#[derive(Debug)]
pub struct OpenBlock {
    /// Its shape.
    pub geometry: Geometry,
    /// The head of its digest.
    pub digest_head: [u8; 8],
    known: Bits,
    on_disk: Bits,
    /// Empty until a source symbol comes.
    source: Vec<u8>,
    recovery: Vec<(u16, Vec<u8>)>,
    in_memory: u32,
}

/// A symbol on its way to or from the disk.
pub type Symbol = (u16, Vec<u8>);

impl OpenBlock {
    /// Nothing here yet.
    #[must_use]
    pub fn new(geometry: Geometry, digest_head: [u8; 8]) -> OpenBlock {
        OpenBlock {
            geometry,
            digest_head,
            known: Bits::default(),
            on_disk: Bits::default(),
            source: Vec::new(),
            recovery: Vec::new(),
            in_memory: 0,
        }
    }

    /// Takes a symbol; false if it was known. The first source symbol takes memory of a block that went before, if
    /// there is any: it need not be fetched from the system and cleared, and what stands in it is never read, for only
    /// symbols that came or were restored are.
    pub fn add(&mut self, index: u16, symbol: &[u8], emptied: &mut Vec<Vec<u8>>) -> bool {
        if u32::from(index) >= self.geometry.symbols() || !self.known.set(index) {
            return false;
        }
        self.place(index, symbol, emptied);
        self.in_memory += 1;
        true
    }

    /// The disk holds this symbol.
    pub fn note_on_disk(&mut self, index: u16) {
        if u32::from(index) < self.geometry.symbols() && self.known.set(index) {
            self.on_disk.set(index);
        }
    }

    /// Enough symbols to decode?
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.known.count() >= u32::from(self.geometry.source)
    }

    /// Are some of them on disk?
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        self.on_disk.count() > 0
    }

    /// Symbols known, of how many are needed.
    #[must_use]
    pub fn progress(&self) -> (u32, u16) {
        (self.known.count(), self.geometry.source)
    }

    /// Symbols in memory that the disk does not have.
    #[must_use]
    pub fn fresh(&self) -> u32 {
        self.in_memory
    }

    /// Bytes it holds in memory, also where its room was that of a larger block.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.source.capacity() + self.recovery.len() * usize::from(self.geometry.symbol_bytes)
    }

    /// Did recovery symbols come into memory? A block that lost nothing is whole before them.
    #[must_use]
    pub fn has_recovery(&self) -> bool {
        !self.recovery.is_empty()
    }

    /// Bytes it holds on disk, about.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        u64::from(self.on_disk.count()) * (u64::from(self.geometry.symbol_bytes) + 2)
    }

    /// Takes everything out of memory, to be appended to the block's file.
    pub fn spill(&mut self) -> Vec<Symbol> {
        let size = usize::from(self.geometry.symbol_bytes);
        let source = std::mem::take(&mut self.source);
        let mut symbols: Vec<Symbol> = (0..self.geometry.source)
            .zip(source.chunks_exact(size))
            .filter(|(index, _)| self.known.has(*index) && !self.on_disk.has(*index))
            .map(|(index, symbol)| (index, symbol.to_vec()))
            .collect();
        symbols.append(&mut self.recovery);
        for (index, _) in &symbols {
            self.on_disk.set(*index);
        }
        self.in_memory = 0;
        symbols
    }

    /// The block's bytes. `recalled` are the symbols from the disk; those that do not fit are passed over. `None`
    /// where too few are left of them: the file was damaged or lost.
    pub fn decode(mut self, decoder: &mut Decoder, recalled: &[Symbol]) -> Result<Option<Vec<u8>>, CodeError> {
        let size = usize::from(self.geometry.symbol_bytes);
        let mut here = Bits::default();
        for index in (0..=u16::MAX).take(self.geometry.symbols() as usize) {
            if self.known.has(index) && !self.on_disk.has(index) {
                here.set(index);
            }
        }
        for (index, symbol) in recalled {
            if self.on_disk.has(*index) && symbol.len() == size && here.set(*index) {
                self.place(*index, symbol, &mut Vec::new());
            }
        }
        if here.count() < u32::from(self.geometry.source) {
            return Ok(None);
        }
        let k = self.geometry.source;
        if (0..k).any(|index| !here.has(index)) {
            self.source.resize(self.geometry.source_bytes(), 0);
            let missing = (0..k).filter(|index| !here.has(*index)).count();
            let recovery = self.recovery.iter().take(missing).map(|(index, symbol)| (index - k, symbol.as_slice()));
            decoder.restore(&self.geometry, &mut self.source, |index| here.has(index), recovery)?;
        }
        self.source.truncate(self.geometry.block_bytes as usize);
        Ok(Some(self.source))
    }

    fn place(&mut self, index: u16, symbol: &[u8], emptied: &mut Vec<Vec<u8>>) {
        let size = usize::from(self.geometry.symbol_bytes);
        if index >= self.geometry.source {
            self.recovery.push((index, symbol.to_vec()));
            return;
        }
        if self.source.is_empty() {
            self.source = emptied.pop().unwrap_or_default();
            self.source.resize(self.geometry.source_bytes(), 0);
        }
        if let Some(place) = self.source.get_mut(usize::from(index) * size..(usize::from(index) + 1) * size) {
            place.copy_from_slice(symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_source_symbol_takes_the_memory_of_another_block_and_all_of_it_counts() {
        let geometry = Geometry::of_block(10_000, 1_408, 15).unwrap();
        let mut block = OpenBlock::new(geometry, [0; 8]);
        let mut emptied = vec![vec![7; 4 << 20]];
        assert!(block.add(geometry.source, &[1; 1_408], &mut emptied));
        assert_eq!((emptied.len(), block.memory_bytes()), (1, 1_408));
        assert!(block.add(0, &[2; 1_408], &mut emptied));
        assert!(emptied.is_empty() && block.memory_bytes() >= 4 << 20);
        assert_eq!(block.spill(), [(0, vec![2; 1_408]), (geometry.source, vec![1; 1_408])]);
        assert_eq!(block.memory_bytes(), 0);
    }
}
