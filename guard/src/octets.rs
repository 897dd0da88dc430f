//! Integers out of foreign bytes: every read is checked, none indexes.

/// The two bytes at an offset, little-endian.
pub(crate) fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(array(bytes, at)?))
}

/// The two bytes at an offset, big-endian.
pub(crate) fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}

/// The four bytes at an offset, little-endian.
pub(crate) fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array(bytes, at)?))
}

/// The four bytes at an offset, big-endian.
pub(crate) fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(array(bytes, at)?))
}

/// The eight bytes at an offset, little-endian.
pub(crate) fn u64_le(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array(bytes, at)?))
}

/// The eight bytes at an offset, big-endian.
pub(crate) fn u64_be(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(array(bytes, at)?))
}

/// A double at an offset, little-endian.
pub(crate) fn f64_le(bytes: &[u8], at: usize) -> Option<f64> {
    u64_le(bytes, at).map(f64::from_bits)
}

/// `length` bytes from an offset, if they are all there.
pub(crate) fn slice(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// Everything from an offset; nothing beyond the end.
pub(crate) fn tail(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// The first `length` bytes, or all there are.
pub(crate) fn head(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}

/// A length that came as 32 or 64 bits; one that does not fit is longer than any file looked at.
pub(crate) fn length(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    slice(bytes, at, N)?.try_into().ok()
}

/// A set of bytes, asked once a byte: one look into a table.
pub(crate) struct Set([bool; 256]);

impl Set {
    pub(crate) const fn of(bytes: &[u8]) -> Set {
        let mut set = Set([false; 256]);
        let mut rest = bytes;
        while let [byte, more @ ..] = rest {
            set = set.with(*byte);
            rest = more;
        }
        set
    }

    /// What the names in a table begin with.
    pub(crate) const fn of_firsts<T>(table: &[(&[u8], T)]) -> Set {
        let mut set = Set::of(&[]);
        let mut rest = table;
        while let [(name, _), more @ ..] = rest {
            set = set.with(name[0]);
            rest = more;
        }
        set
    }

    pub(crate) const fn with(mut self, byte: u8) -> Set {
        self.0[byte as usize] = true;
        self
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(false)
    }
}
