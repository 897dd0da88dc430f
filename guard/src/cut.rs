//! Cuts the device's position out of PNG, HEIC and films, and leaves every pixel and every frame as it was.
//!
//! PNG loses the chunks that hold metadata. In ISO media nothing moves, because tables point at offsets: what told the
//! place is overwritten where it stands, and its box becomes `free`. Never judges its own work.

use crate::octets::{head, length, slice, tail, u16_be, u16_le, u32_be, u32_le, u64_be};

/// Boxes inside boxes, as the reader walks them.
const DEPTH_MAX: u8 = 12;
/// Boxes of one film.
const BOXES_MAX: u32 = 100_000;
/// Chunks of one picture.
const CHUNKS_MAX: u32 = 200_000;
/// Headers of EXIF in one file that are followed.
const EXIF_MAX: usize = 32;

/// A PNG without its metadata chunks; how many went.
pub(crate) fn png(bytes: &[u8]) -> Option<(Vec<u8>, u32)> {
    let mut out = slice(bytes, 0, 8)?.to_vec();
    let (mut at, mut removed) = (8, 0);
    for _ in 0..CHUNKS_MAX {
        let size = length(u64::from(u32_be(bytes, at)?)).checked_add(12)?;
        let chunk = slice(bytes, at, size)?;
        match slice(chunk, 4, 4)? {
            b"eXIf" | b"tEXt" | b"zTXt" | b"iTXt" | b"tIME" => removed += 1,
            kind => {
                out.extend_from_slice(chunk);
                if kind == b"IEND" {
                    // Whatever follows is left behind as well; nobody shows it.
                    return (removed > 0).then_some((out, removed));
                }
            }
        }
        at += size;
    }
    None
}

/// ISO media of the same length, in which nothing says where the camera stood; how many places were overwritten.
pub(crate) fn media(bytes: &[u8]) -> Option<(Vec<u8>, u32)> {
    let mut cut = Cut { bytes: bytes.to_vec(), removed: 0, left: BOXES_MAX };
    cut.boxes(0, bytes.len(), 0)?;
    cut.exif();
    cut.packets();
    (cut.removed > 0).then_some((cut.bytes, cut.removed))
}

struct Cut {
    bytes: Vec<u8>,
    removed: u32,
    left: u32,
}

impl Cut {
    fn boxes(&mut self, mut at: usize, end: usize, depth: u8) -> Option<()> {
        while at < end {
            self.left = self.left.checked_sub(1)?;
            let short = u32_be(&self.bytes, at)?;
            let kind: [u8; 4] = slice(&self.bytes, at + 4, 4)?.try_into().ok()?;
            let (size, header) = match short {
                0 if depth > 0 => return Some(()),
                0 => (end - at, 8),
                1 => (length(u64_be(&self.bytes, at + 8)?), 16),
                _ => (length(u64::from(short)), 8),
            };
            let next = at.checked_add(size).filter(|next| *next <= end && size >= header)?;
            let body = at + header;
            match &kind {
                b"moov" | b"udta" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"meco" if depth < DEPTH_MAX => {
                    self.boxes(body, next, depth + 1)?;
                }
                b"\xA9xyz" | b"loci" => self.free(at, body, next),
                // Keys and values of a phone's metadata: one of them names the place, and the rest names the phone.
                b"meta" if depth > 0 && tells_place(self.bytes.get(body..next)?) => self.free(at, body, next),
                b"uuid" if tells_place(self.bytes.get(body..next)?) => self.free(at, body, next),
                _ => {}
            }
            at = next;
        }
        Some(())
    }

    /// The box stays as long as it was and says nothing.
    fn free(&mut self, at: usize, body: usize, end: usize) {
        if let Some(kind) = self.bytes.get_mut(at + 4..at + 8) {
            kind.copy_from_slice(b"free");
        }
        self.blank(body, end, 0);
        self.removed += 1;
    }

    fn blank(&mut self, from: usize, to: usize, with: u8) {
        if let Some(range) = self.bytes.get_mut(from..to) {
            range.fill(with);
        }
    }

    /// The GPS directory of every EXIF header in it.
    fn exif(&mut self) {
        for header in [&b"II*\0"[..], b"MM\0*"] {
            let places: Vec<usize> = memchr::memmem::find_iter(&self.bytes, header).take(EXIF_MAX).collect();
            for place in places {
                self.directory(place, header.starts_with(b"II"));
            }
        }
    }

    fn directory(&mut self, base: usize, little: bool) -> Option<()> {
        let short = |bytes: &[u8], at: usize| if little { u16_le(bytes, at) } else { u16_be(bytes, at) };
        let long = |bytes: &[u8], at: usize| {
            (if little { u32_le(bytes, at) } else { u32_be(bytes, at) }).map(|v| length(u64::from(v)))
        };
        let first = base.checked_add(long(&self.bytes, base + 4)?)?;
        let entry = |n: u16| first + 2 + usize::from(n) * 12;
        let pointer = (0..short(&self.bytes, first)?).map(entry).find(|at| short(&self.bytes, *at) == Some(0x8825))?;
        let gps = base.checked_add(long(&self.bytes, pointer + 8)?)?;
        for n in 0..short(&self.bytes, gps)?.min(64) {
            let at = gps.checked_add(2 + usize::from(n) * 12)?;
            let width = match short(&self.bytes, at + 2)? {
                1 | 2 | 6 | 7 => 1,
                3 | 8 => 2,
                5 | 10 | 12 => 8,
                _ => 4,
            };
            let bytes = long(&self.bytes, at + 4)?.saturating_mul(width);
            if bytes > 4 {
                let data = base.checked_add(long(&self.bytes, at + 8)?)?;
                self.blank(data, data.checked_add(bytes)?.min(self.bytes.len()), 0);
            }
            self.blank(at + 8, at + 12, 0);
            // Tag 0 of a GPS directory is its version; nothing of it is left to point at.
            self.blank(at, at + 2, 0);
        }
        self.removed += 1;
        Some(())
    }

    /// XMP packets that name a place are filled with blanks.
    fn packets(&mut self) {
        let starts: Vec<usize> = memchr::memmem::find_iter(&self.bytes, b"<x:xmpmeta").take(EXIF_MAX).collect();
        for start in starts {
            let rest = tail(&self.bytes, start);
            let Some(end) = memchr::memmem::find(rest, b"</x:xmpmeta>").map(|n| n + 12) else { continue };
            if tells_place(head(rest, end)) {
                self.blank(start, start + end, b' ');
                self.removed += 1;
            }
        }
    }
}

fn tells_place(bytes: &[u8]) -> bool {
    [&b"location.ISO6709"[..], b"GPSLatitude", b"\xA9xyz"]
        .iter()
        .any(|word| memchr::memmem::find(bytes, word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DetectVerdict, detect};

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len() + 8).expect("small").to_be_bytes()[..], kind, body].concat()
    }

    fn film(udta: &[u8]) -> Vec<u8> {
        [boxed(b"ftyp", b"qt  \0\0\0\0"), boxed(b"moov", &boxed(b"udta", udta)), boxed(b"mdat", &[7; 99])].concat()
    }

    #[test]
    fn a_film_keeps_its_frames_and_its_offsets() {
        let place = boxed(b"\xA9xyz", b"\0\x0c\x15\xc7+23.1395+113.3477/");
        let keys = boxed(b"meta", b"\0\0\0\0com.apple.quicktime.location.ISO6709+23.1395+113.3477/");
        for told in [place, keys] {
            let film = film(&told);
            assert_eq!(detect("a.mov", &film).verdict, DetectVerdict::Coordinates);
            let (cut, removed) = media(&film).expect("something to cut");
            assert_eq!((cut.len(), removed), (film.len(), 1));
            assert_eq!(detect("a.mov", &cut).verdict, DetectVerdict::Clean);
            assert_eq!(tail(&cut, cut.len() - 107), tail(&film, film.len() - 107));
        }
        assert!(media(&film(&boxed(b"free", b"nothing"))).is_none());
    }

    #[test]
    fn exif_inside_a_picture_loses_its_gps_and_nothing_else() {
        let exif = b"II*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\x02\0\x05\0\x03\0\0\0\x2c\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0";
        let picture =
            [boxed(b"ftyp", b"heic\0\0\0\0"), boxed(b"mdat", &[&[9; 40], &exif[..], &[9; 40]].concat())].concat();
        assert_eq!(detect("a.heic", &picture).verdict, DetectVerdict::Coordinates);
        let (cut, _) = media(&picture).expect("something to cut");
        assert_eq!(detect("a.heic", &cut).verdict, DetectVerdict::Clean);
        assert_eq!(cut.len(), picture.len());
        assert_eq!(cut.iter().filter(|b| **b == 9).count(), picture.iter().filter(|b| **b == 9).count());
    }

    #[test]
    fn a_png_loses_its_metadata_and_keeps_its_pixels() {
        let chunk = |kind: &[u8; 4], body: &[u8]| {
            [&u32::try_from(body.len()).expect("small").to_be_bytes()[..], kind, body, &[0; 4]].concat()
        };
        let pixels = chunk(b"IDAT", &[5; 30]);
        let png_file = [
            &b"\x89PNG\r\n\x1a\n"[..],
            &chunk(b"IHDR", &[1; 13]),
            &chunk(b"tEXt", b"Comment\x004851490.419 29546865.276"),
            &pixels,
            &chunk(b"IEND", b""),
        ]
        .concat();
        let (cut, removed) = png(&png_file).expect("something to cut");
        assert_eq!((removed, detect("a.png", &cut).verdict), (1, DetectVerdict::Clean));
        assert!(cut.windows(pixels.len()).any(|w| w == pixels));
        assert!(png(&cut).is_none());
    }

    #[test]
    fn what_is_broken_is_not_cut() {
        for broken in [&b""[..], b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\xFF\xFF\xFF\xFFIDAT", b"\0\0\0\x09ftyp"] {
            assert!(png(broken).is_none());
            assert!(media(broken).is_none());
        }
        // A directory that points at itself, or out of the file.
        for pointer in [0_u32, 8, u32::MAX] {
            let mut exif = b"\0\0\0\x2fmdatII*\0\x08\0\0\0\x01\0\x25\x88\x04\0\x01\0\0\0".to_vec();
            exif.extend_from_slice(&pointer.to_le_bytes());
            exif.resize(0x2f, 0);
            let _ = media(&exif);
        }
    }
}
