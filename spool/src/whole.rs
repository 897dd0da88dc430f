//! Is a file all there? Each format says how it ends; nothing else about the content is looked at.
//!
//! A hint whether a writer is done, for intake `settle`, and never a judgement: what may travel, the guard says. Reads
//! with bounded memory, and no more than [`STREAM_MAX`] of one file.
//!
//! ```text
//! zip docx xlsx ofd  an end record whose comment ends the file and whose directory lies right before it
//! pdf                %%EOF in the last KiB
//! jpeg               an end of image, segment by segment; cameras put more behind it
//! png                chunk by chunk to IEND
//! xml                every element closed (any encoding that keeps ASCII)
//! json               parses to its end
//! anything else      no known end. A tail of zeros is space that somebody reserved and has not filled yet
//! ```

use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;

/// XML, JSON and JPEG are read from front to end up to here, half a second's work; of a larger one only the end is read.
const STREAM_MAX: u64 = 64 << 20;
/// A zip's end record and the longest comment behind it.
const ZIP_TAIL: u64 = 22 + 0xffff;
/// Where a PDF's last word is looked for, as readers do.
const PDF_TAIL: u64 = 1024;
/// A tail of zeros this long is no padding: tar pads to 10 KiB.
const ZERO_TAIL: u64 = 64 << 10;
/// Chunks of a PNG: they hold 8 KiB and more each.
const CHUNKS_MAX: u32 = 1 << 20;

/// What the end of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whole {
    /// It ends as its format says.
    Yes,
    /// Nothing known can be asked of it.
    Unknown,
    /// Empty, or a long tail of zeros, and no known end.
    Hollow,
    /// It has a format and does not end as that says.
    No(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zip,
    Pdf,
    Jpeg,
    Png,
    Xml,
    Json,
}

/// Looks at a file of this name and size.
pub(crate) fn whole(name: &OsStr, file: &mut (impl Read + Seek), size: u64) -> io::Result<Whole> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.by_ref().take(64).read_to_end(&mut head)?;
    // What it is goes before what it is called; what is not written yet is only called something.
    let is_whole = match by_first_bytes(&head).or_else(|| by_suffix(name)) {
        Some(Kind::Zip) => zip(file, size)?,
        Some(Kind::Pdf) => tail(file, size, PDF_TAIL)?.windows(5).any(|word| word == b"%%EOF"),
        Some(Kind::Jpeg) => from_the_front(file, size, |bytes| jpeg(bytes), |end| end.ends_with(&[0xff, 0xd9]))?,
        Some(Kind::Png) => png(file, size)?,
        // Two bytes a character: no part of it can be told without a decoder.
        Some(Kind::Xml | Kind::Json) if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) => {
            return Ok(Whole::Unknown);
        }
        Some(Kind::Xml) => from_the_front(file, size, |bytes| xml(bytes), |end| end.ends_with(b">"))?,
        Some(Kind::Json) => {
            from_the_front(file, size, |bytes| json(bytes), |end| end.ends_with(b"}") || end.ends_with(b"]"))?
        }
        None if size == 0 => return Ok(Whole::Hollow),
        None => {
            let hollow = size > ZERO_TAIL && tail(file, size, ZERO_TAIL)?.iter().all(|byte| *byte == 0);
            return Ok(if hollow { Whole::Hollow } else { Whole::Unknown });
        }
    };
    let kind = by_first_bytes(&head).or_else(|| by_suffix(name));
    Ok(if is_whole { Whole::Yes } else { Whole::No(kind.map_or("it does not end", missing)) })
}

const fn missing(kind: Kind) -> &'static str {
    match kind {
        Kind::Zip => "no zip end record that covers the file",
        Kind::Pdf => "no %%EOF at the end of the PDF",
        Kind::Jpeg => "no end of image in the JPEG",
        Kind::Png => "no IEND in the PNG",
        Kind::Xml => "an element of the XML is not closed",
        Kind::Json => "the JSON does not come to its end",
    }
}

fn by_first_bytes(head: &[u8]) -> Option<Kind> {
    const STARTS: [(&[u8], Kind); 7] = [
        (b"PK\x03\x04", Kind::Zip),
        (b"PK\x05\x06", Kind::Zip),
        (b"%PDF-", Kind::Pdf),
        (&[0xff, 0xd8, 0xff], Kind::Jpeg),
        (b"\x89PNG\r\n\x1a\n", Kind::Png),
        (b"<?xml", Kind::Xml),
        (b"\xef\xbb\xbf<?xml", Kind::Xml),
    ];
    STARTS.iter().find(|(start, _)| head.starts_with(start)).map(|(_, kind)| *kind)
}

fn by_suffix(name: &OsStr) -> Option<Kind> {
    const SUFFIXES: [(&[u8], Kind); 11] = [
        (b"zip", Kind::Zip),
        (b"docx", Kind::Zip),
        (b"xlsx", Kind::Zip),
        (b"pptx", Kind::Zip),
        (b"ofd", Kind::Zip),
        (b"pdf", Kind::Pdf),
        (b"jpg", Kind::Jpeg),
        (b"jpeg", Kind::Jpeg),
        (b"png", Kind::Png),
        (b"xml", Kind::Xml),
        (b"json", Kind::Json),
    ];
    let (name, dot) = (name.as_bytes(), name.as_bytes().iter().rposition(|byte| *byte == b'.')?);
    let suffix = name.get(dot + 1..)?;
    SUFFIXES.iter().find(|(known, _)| suffix.eq_ignore_ascii_case(known)).map(|(_, kind)| *kind)
}

/// The last bytes of a file, at most so many.
fn tail(file: &mut (impl Read + Seek), size: u64, most: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn from_the_front<F: Read + Seek>(
    file: &mut F,
    size: u64,
    all: impl Fn(&mut dyn Iterator<Item = u8>) -> bool,
    end: impl Fn(&[u8]) -> bool,
) -> io::Result<bool> {
    if size > STREAM_MAX {
        return Ok(end(tail(file, size, 1024)?.trim_ascii_end()));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut failed = None;
    let mut bytes = BufReader::with_capacity(64 << 10, file.take(size)).bytes().map_while(|byte| match byte {
        Ok(byte) => Some(byte),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let whole = all(&mut bytes);
    drop(bytes);
    failed.map_or(Ok(whole), Err)
}

fn little(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn zip(file: &mut (impl Read + Seek), size: u64) -> io::Result<bool> {
    let end = tail(file, size, ZIP_TAIL)?;
    let begins = size - end.len() as u64;
    let found = (0..end.len()).rev().find_map(|at| {
        let here = end.get(at..).filter(|here| here.starts_with(b"PK\x05\x06"))?;
        (little(here, 20, 2)? == here.len() as u64 - 22).then_some(at)
    });
    let Some((at, record)) = found.and_then(|at| Some((at, end.get(at..)?))) else { return Ok(false) };
    let place = begins + at as u64;
    let (Some(entries), Some(length)) = (little(record, 10, 2), little(record, 12, 4)) else { return Ok(false) };
    // Zip64: the real figures stand in a record that a locator of 20 bytes right before this one points at.
    let large = entries == 0xffff || length == 0xffff_ffff || little(record, 16, 4) == Some(0xffff_ffff);
    if large && place >= 20 {
        let mut locator = [0; 20];
        file.seek(SeekFrom::Start(place - 20))?;
        file.read_exact(&mut locator)?;
        if locator.starts_with(b"PK\x06\x07") {
            return Ok(little(&locator, 8, 8).is_some_and(|at| at < place));
        }
    }
    // A program before the archive moves everything, so the directory is looked for from the end.
    let Some(directory) = place.checked_sub(length) else { return Ok(false) };
    if entries == 0 {
        // An empty archive is its end record alone; in any other the figures are not written yet.
        return Ok(length == 0 && place == 0);
    }
    // The place of the directory is the last that is written, and wrong only where a program stands before the archive.
    let mut word = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut word)?;
    if &word == b"PK\x03\x04" && little(record, 16, 4) != Some(directory) {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(directory))?;
    file.read_exact(&mut word)?;
    Ok(&word == b"PK\x01\x02")
}

fn jpeg(bytes: &mut dyn Iterator<Item = u8>) -> bool {
    let mut walk = || -> Option<()> {
        if (bytes.next()?, bytes.next()?) != (0xff, 0xd8) {
            return None;
        }
        let mut pending = None;
        loop {
            let mut marker = match pending.take() {
                Some(marker) => marker,
                None if bytes.next()? == 0xff => bytes.next()?,
                None => return None,
            };
            while marker == 0xff {
                marker = bytes.next()?;
            }
            match marker {
                0xd9 => return Some(()),
                0x00 => return None,
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let length = u16::from_be_bytes([bytes.next()?, bytes.next()?]).checked_sub(2)?;
            for _ in 0..length {
                bytes.next()?;
            }
            if marker == 0xda {
                // The picture itself: up to the next marker that is no stuffing and no restart.
                loop {
                    while bytes.next()? != 0xff {}
                    let mut next = bytes.next()?;
                    while next == 0xff {
                        next = bytes.next()?;
                    }
                    if !matches!(next, 0x00 | 0xd0..=0xd7) {
                        pending = Some(next);
                        break;
                    }
                }
            }
        }
    };
    walk().is_some()
}

fn png(file: &mut (impl Read + Seek), size: u64) -> io::Result<bool> {
    let mut at: u64 = 8;
    for _ in 0..CHUNKS_MAX {
        if at + 12 > size {
            return Ok(false);
        }
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        at += 12 + u64::from(u32::from_be_bytes([a, b, c, d]));
        match &kind {
            // Its checksum is always the same, and the last that is written.
            b"IEND" => {
                let mut sum = [0; 4];
                let there = a | b | c | d == 0 && at <= size;
                return Ok(there && file.read_exact(&mut sum).is_ok() && sum == [0xae, 0x42, 0x60, 0x82]);
            }
            kind if kind.iter().all(u8::is_ascii_alphabetic) => {}
            _ => return Ok(false),
        }
    }
    Ok(false)
}

fn json(bytes: &mut dyn Iterator<Item = u8>) -> bool {
    let mut bytes = bytes.peekable();
    for mark in [0xef, 0xbb, 0xbf] {
        bytes.next_if_eq(&mark);
    }
    let mut parser = serde_json::Deserializer::from_reader(Bytes(bytes));
    <serde::de::IgnoredAny as serde::Deserialize>::deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

struct Bytes<I>(I);

impl<I: Iterator<Item = u8>> Read for Bytes<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for (place, byte) in into.iter_mut().zip(&mut self.0) {
            *place = byte;
            count += 1;
        }
        Ok(count)
    }
}

/// Counts elements opened and closed. A parser would have to hold a whole text or attribute, and be told the encoding.
fn xml(bytes: &mut dyn Iterator<Item = u8>) -> bool {
    let mut walk = || -> Option<bool> {
        let (mut open, mut any) = (0_u64, false);
        loop {
            match bytes.next() {
                Some(b'<') => {}
                // Space that was reserved and not written.
                Some(0) => return None,
                Some(_) => continue,
                None => return Some(any && open == 0),
            }
            match bytes.next()? {
                b'?' => past(bytes, b"?>")?,
                b'!' => declaration(bytes)?,
                b'/' => {
                    past(bytes, b">")?;
                    open = open.checked_sub(1)?;
                }
                _ => {
                    any = true;
                    open += u64::from(!element(bytes)?);
                }
            }
        }
    };
    walk() == Some(true)
}

/// Reads on behind a word.
fn past(bytes: &mut dyn Iterator<Item = u8>, word: &[u8]) -> Option<()> {
    let mut last = [0_u8; 3];
    loop {
        let [_, b, c] = last;
        last = [b, c, bytes.next()?];
        if last.ends_with(word) {
            return Some(());
        }
    }
}

/// The rest of a start tag. Does it close itself?
fn element(bytes: &mut dyn Iterator<Item = u8>) -> Option<bool> {
    let mut last = 0;
    loop {
        match bytes.next()? {
            b'>' => return Some(last == b'/'),
            quote @ (b'"' | b'\'') => {
                past(bytes, &[quote])?;
                last = quote;
            }
            0 => return None,
            other => last = other,
        }
    }
}

/// The rest of a comment, a CDATA section or a document type with what stands in its brackets.
fn declaration(bytes: &mut dyn Iterator<Item = u8>) -> Option<()> {
    match bytes.next()? {
        b'-' => {
            bytes.next().filter(|byte| *byte == b'-')?;
            past(bytes, b"-->")
        }
        b'[' => past(bytes, b"]]>"),
        _ => {
            let mut open = 1_u32;
            while open > 0 {
                match bytes.next()? {
                    b'<' => open += 1,
                    b'>' => open -= 1,
                    quote @ (b'"' | b'\'') => past(bytes, &[quote])?,
                    0 => return None,
                    _ => {}
                }
            }
            Some(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn ask(name: &str, bytes: &[u8]) -> Whole {
        whole(OsStr::new(name), &mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    /// One stored entry, its directory and its end record.
    fn small_zip(comment: &[u8]) -> Vec<u8> {
        let (name, content) = (b"a.txt".as_slice(), b"content that is stored".as_slice());
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let mut zip = [b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice(), &size, &size, &[5, 0, 0, 0]].concat();
        zip.extend([name, content].concat());
        let at = u32::try_from(zip.len()).unwrap();
        let mut entry = [b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice(), &size, &size, &[5, 0]].concat();
        entry.extend([0; 16]);
        entry.extend(name);
        zip.extend(&entry);
        zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        zip.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
        zip.extend(at.to_le_bytes());
        zip.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
        zip.extend(comment);
        zip
    }

    fn small_jpeg() -> Vec<u8> {
        let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe1, 0, 8];
        // A thumbnail in a segment has an end of image of its own.
        jpeg.extend([0xff, 0xd8, 0xff, 0xd9, 0, 0]);
        jpeg.extend([0xff, 0xda, 0, 4, 1, 2]);
        jpeg.extend([1, 2, 0xff, 0, 3, 0xff, 0xd0, 4, 5, 0xff, 0xff, 0xd9]);
        jpeg
    }

    fn small_png() -> Vec<u8> {
        let chunk = |kind: &[u8], body: &[u8]| {
            [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], kind, body, &[0xae, 0x42, 0x60, 0x82]].concat()
        };
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, body) in [(b"IHDR", [0; 13].as_slice()), (b"IDAT", &[7; 300]), (b"IEND", &[])] {
            png.extend(chunk(kind, body));
        }
        png
    }

    const XML: &str = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY e \"<b>\">]><!-- <a> -->\n\
                       <a k='1>2' b=\"/\"><b/><c d=\"<\">图<![CDATA[<a> ]] >]]></c><e f='/' /></a>";
    const JSON: &str = "{\"ywh\": \"a\\\"b\", \"list\": [1, 2.5e3, {\"x\": null}], \"名\": \"测\\\\\"}";
    const PDF: &[u8] = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer <<>>\nstartxref\n9\n%%EOF";

    #[test]
    fn a_file_cut_anywhere_is_not_whole_and_the_uncut_one_is() {
        let cases = [
            ("a.zip", small_zip(b"")),
            ("报告.docx", small_zip(b"a comment")),
            ("p.JPG", small_jpeg()),
            ("p.png", small_png()),
            ("m.xml", XML.as_bytes().to_vec()),
            ("m.json", JSON.as_bytes().to_vec()),
            ("m.json", format!("\u{feff}{JSON}").into_bytes()),
            ("d.pdf", PDF.to_vec()),
        ];
        for (name, bytes) in cases {
            assert_eq!(ask(name, &bytes), Whole::Yes, "{name}");
            for cut in 0..bytes.len() {
                let found = ask(name, &bytes[..cut]);
                assert!(matches!(found, Whole::No(_)), "{name} cut at {cut} of {} is {found:?}", bytes.len());
            }
        }
    }

    #[test]
    fn a_file_whose_space_was_reserved_and_not_filled_is_not_whole_at_any_fill() {
        for (name, bytes) in [
            ("a.zip", small_zip(b"")),
            ("p.png", small_png()),
            ("p.jpg", small_jpeg()),
            ("m.xml", XML.as_bytes().to_vec()),
            ("m.json", JSON.as_bytes().to_vec()),
            ("d.pdf", PDF.to_vec()),
        ] {
            for filled in 0..bytes.len() - 1 {
                let mut space = vec![0; bytes.len()];
                space[..filled].copy_from_slice(&bytes[..filled]);
                // The last bytes of a zip without a comment are zeros.
                if space == bytes {
                    continue;
                }
                let found = ask(name, &space);
                assert!(matches!(found, Whole::No(_)), "{name} filled to {filled} is {found:?}");
            }
        }
    }

    #[test]
    fn what_comes_behind_the_end_of_a_picture_is_the_cameras_business() {
        assert_eq!(ask("p.jpg", &[small_jpeg(), vec![0; 4096]].concat()), Whole::Yes);
        assert_eq!(ask("p.png", &[small_png(), b"more".to_vec()].concat()), Whole::Yes);
        assert!(matches!(ask("a.zip", &[small_zip(b""), vec![0; 10]].concat()), Whole::No(_)));
    }

    #[test]
    fn text_in_gbk_is_closed_by_the_same_signs() {
        let gbk = b"<?xml version=\"1.0\" encoding=\"GBK\"?><a b=\"\xc9\x5c\">\xb2\xe2\xca\xd4\x81\x5d</a>\n";
        assert_eq!(ask("m.xml", gbk), Whole::Yes);
        assert!(matches!(ask("m.xml", &gbk[..gbk.len() - 3]), Whole::No(_)));
    }

    #[test]
    fn what_has_no_known_end_says_so_and_zeros_are_told_from_padding() {
        assert_eq!(ask("notes.txt", b"words"), Whole::Unknown);
        assert_eq!(ask("m.xml", b"\xff\xfe<\0a\0/\0>\0"), Whole::Unknown);
        assert_eq!(ask("notes.txt", b""), Whole::Hollow);
        let mut reserved = vec![0; (ZERO_TAIL as usize) + 1];
        assert_eq!(ask("raw.dat", &reserved), Whole::Hollow);
        if let Some(last) = reserved.last_mut() {
            *last = 1;
        }
        assert_eq!(ask("raw.dat", &reserved), Whole::Unknown);
        assert_eq!(ask("small.tar", &vec![0; 10_240]), Whole::Unknown);
    }

    #[test]
    fn what_a_file_is_goes_before_what_it_is_called() {
        assert_eq!(ask("really-a-png.jpg", &small_png()), Whole::Yes);
        assert_eq!(ask("no-suffix", &small_zip(b"")), Whole::Yes);
    }

    #[test]
    fn of_a_very_large_text_only_the_end_is_read() {
        struct Far(u64, u64);
        impl Read for Far {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.1 += into.len() as u64;
                assert!(self.1 < 1 << 20, "it reads on and on");
                into.fill(b'>');
                Ok(into.len())
            }
        }
        impl Seek for Far {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                if let SeekFrom::Start(at) = to {
                    self.0 = at;
                }
                Ok(self.0)
            }
        }
        assert_eq!(whole(OsStr::new("huge.xml"), &mut Far(0, 0), 20 << 30).unwrap(), Whole::Yes);
    }
}
