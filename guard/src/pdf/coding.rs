//! Codings that a font names instead of a map: its bytes are characters already, or numbers of a known collection.
//!
//! Java offices print with `UniGB-UCS2-H` and leave the map out; the standard says that none is needed.

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GB18030, SHIFT_JIS, UTF_8, UTF_16BE};

/// What the bytes of a string are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coding {
    Utf8,
    Utf16,
    Utf32,
    Chinese,
    /// Rows and cells of GB 2312 without the high bits.
    Rows,
    Taiwanese,
    Japanese,
    Shifted,
    Korean,
    /// Numbers in one of Adobe's collections: the first of them are ASCII, in every one.
    Collection,
}

impl Coding {
    /// By the name of a predefined map.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let has = |word: &[u8]| memchr::memmem::find(name, word).is_some();
        let starts = |words: &[&[u8]]| words.iter().any(|word| name.starts_with(word));
        Some(match name {
            _ if has(b"UCS2") || has(b"UTF16") => Coding::Utf16,
            _ if has(b"UTF32") => Coding::Utf32,
            _ if has(b"UTF8") => Coding::Utf8,
            b"GB-H" | b"GB-V" | b"GBT-H" | b"GBT-V" => Coding::Rows,
            _ if starts(&[b"GB"]) => Coding::Chinese,
            _ if starts(&[b"B5", b"ET", b"HK"]) => Coding::Taiwanese,
            _ if starts(&[b"KSC"]) => Coding::Korean,
            _ if has(b"RKSJ") => Coding::Shifted,
            b"EUC-H" | b"EUC-V" => Coding::Japanese,
            _ => return None,
        })
    }

    /// The ASCII of a collection that has a name.
    pub(super) fn of_collection(ordering: &[u8]) -> Option<Self> {
        matches!(ordering, b"GB1" | b"CNS1" | b"Japan1" | b"Korea1" | b"KR").then_some(Coding::Collection)
    }

    /// Appends what a string says. What shows nothing separates nothing.
    pub(super) fn read(self, string: &[u8], out: &mut String) {
        let by = |encoding: &'static Encoding, bytes: &[u8], out: &mut String| {
            out.extend(encoding.decode_without_bom_handling(bytes).0.chars().filter(|c| !c.is_control()));
        };
        let pairs = || string.as_chunks::<2>().0.iter();
        match self {
            Coding::Utf8 => by(UTF_8, string, out),
            Coding::Utf16 => by(UTF_16BE, string, out),
            Coding::Utf32 => {
                let words = string.as_chunks::<4>().0.iter();
                out.extend(words.filter_map(|w| char::from_u32(u32::from_be_bytes(*w))).filter(|c| !c.is_control()));
            }
            Coding::Chinese => by(GB18030, string, out),
            Coding::Rows => {
                let high: Vec<u8> = string.iter().map(|b| b | 0x80).collect();
                by(GB18030, &high, out);
            }
            Coding::Taiwanese => by(BIG5, string, out),
            Coding::Japanese => by(EUC_JP, string, out),
            Coding::Shifted => by(SHIFT_JIS, string, out),
            Coding::Korean => by(EUC_KR, string, out),
            Coding::Collection => {
                let ascii = |number: u16| match number {
                    1..=95 => u8::try_from(number + 31).ok(),
                    // Half-width figures and letters of the Chinese collection.
                    814..=908 => u8::try_from(number - 782).ok(),
                    _ => None,
                };
                out.extend(pairs().filter_map(|pair| ascii(u16::from_be_bytes(*pair))).map(char::from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_reads_its_own_digits() {
        for (name, bytes) in [
            (&b"UniGB-UCS2-H"[..], &b"\x004\x008"[..]),
            (b"UniJIS-UTF16-V", b"\x004\0\x01\x008"),
            (b"UniGB-UTF32-H", b"\0\0\x004\0\0\x008"),
            (b"UniCNS-UTF8-H", b"48"),
            (b"GBK-EUC-H", b"48"),
            (b"GBpc-EUC-V", b"48"),
            (b"ETen-B5-H", b"48"),
            (b"90ms-RKSJ-H", b"48"),
            (b"EUC-H", b"48"),
            (b"KSCms-UHC-H", b"48"),
        ] {
            let mut out = String::new();
            Coding::of(name).expect("a known name").read(bytes, &mut out);
            assert_eq!(out, "48", "{}", String::from_utf8_lossy(name));
        }
        let mut out = String::new();
        Coding::Rows.read(b"\x23\x34\x23\x38", &mut out);
        Coding::Collection.read(b"\0\x15\0\x19\x03\x3e", &mut out);
        assert_eq!(out, "４８480");
        assert_eq!(Coding::of(b"Identity-H"), None);
        assert_eq!(Coding::of_collection(b"Identity"), None);
    }
}
