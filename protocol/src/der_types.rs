//! How our small types stand in DER. Everything signed is DER; nothing here reads a file or a clock.
//!
//! A code (`Zone`, `Crossing`, `Suite` …) is an INTEGER; an id, digest or salt is an OCTET STRING of exactly its
//! length; a name is a UTF8String. An unknown code is an error: an old reader never guesses what a new one meant.

use der::{Decode, DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Tag, Writer};

/// One DER object may not be larger, except the manifest. Read from its length before anything is allocated.
pub const OBJECT_BYTES_MAX: usize = 1 << 20;

/// What is wrong with bytes that should have been one of our DER objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// Larger than the limit; nothing was parsed.
    #[error("{what} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Which object.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most it may have.
        limit: usize,
    },
    /// Not canonical DER of that object.
    #[error("{what} is not well formed: {cause}")]
    Malformed {
        /// Which object.
        what: &'static str,
        /// The decoder's words; they name kinds and positions, never content.
        cause: der::Error,
    },
}

/// Parses one whole object, after its size was checked; trailing bytes are refused.
pub fn parse<'a, T: Decode<'a, Error = der::Error>>(
    what: &'static str,
    bytes: &'a [u8],
    limit: usize,
) -> Result<T, DerError> {
    if bytes.len() > limit {
        return Err(DerError::TooLarge { what, bytes: bytes.len(), limit });
    }
    T::from_der(bytes).map_err(|cause| DerError::Malformed { what, cause })
}

/// Encodes an object of ours. Fails only on our own bug: every field was bounded when it was made.
#[must_use]
pub fn encode<T: der::Encode>(object: &T) -> Vec<u8> {
    object.to_der().expect("every field of our own objects is bounded far below the limit of DER lengths")
}

/// An OCTET STRING of exactly `N` bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets<const N: usize>(pub [u8; N]);

impl<const N: usize> Octets<N> {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// Takes exactly `N` bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Octets)
    }

    /// Reads `2 * N` lower-case hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; N];
        if text.len() != 2 * N {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            let mut value = 0;
            for digit in pair {
                let nibble = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                value = value << 4 | nibble;
            }
            *byte = value;
        }
        Some(Octets(out))
    }
}

impl<const N: usize> std::fmt::Display for Octets<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl<const N: usize> std::fmt::Debug for Octets<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl<const N: usize> FixedTag for Octets<N> {
    const TAG: Tag = Tag::OctetString;
}

impl<const N: usize> EncodeValue for Octets<N> {
    fn value_len(&self) -> der::Result<Length> {
        Length::try_from(N)
    }
    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        writer.write(&self.0)
    }
}

impl<'a, const N: usize> DecodeValue<'a> for Octets<N> {
    type Error = der::Error;
    fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
        if header.length() != Length::try_from(N)? {
            return Err(der::ErrorKind::Length { tag: Tag::OctetString }.into());
        }
        let mut bytes = [0; N];
        reader.read_into(&mut bytes)?;
        Ok(Octets(bytes))
    }
}

/// A code: an enum with `#[repr(u8)]` as INTEGER, and back, refusing what it does not know.
macro_rules! impl_der_code {
    ($type:ty, $all:expr) => {
        impl $type {
            /// The code that stands on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The meaning of a code, where it has one.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                $all.into_iter().find(|known| known.code() == code)
            }
        }
        impl der::FixedTag for $type {
            const TAG: der::Tag = der::Tag::Integer;
        }
        impl der::EncodeValue for $type {
            fn value_len(&self) -> der::Result<der::Length> {
                der::EncodeValue::value_len(&self.code())
            }
            fn encode_value(&self, writer: &mut impl der::Writer) -> der::Result<()> {
                der::EncodeValue::encode_value(&self.code(), writer)
            }
        }
        impl<'a> der::DecodeValue<'a> for $type {
            type Error = der::Error;
            fn decode_value<R: der::Reader<'a>>(reader: &mut R, header: der::Header) -> der::Result<Self> {
                let code = u8::decode_value(reader, header)?;
                Self::from_code(code).ok_or_else(|| der::ErrorKind::Value { tag: der::Tag::Integer }.into())
            }
        }
    };
}
pub(crate) use impl_der_code;
