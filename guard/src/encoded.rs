//! Runs of base64 and hex inside a text, decoded when what comes out is something.
//!
//! Every digest, signature and serial number is such a run too; decoded, they are noise, and a little noise is left
//! alone. Much of it is a file that nobody can look into.

use crate::octets::head;

/// Two points in degrees fit into twenty-four characters; shorter runs are words.
pub(crate) const RUN_BYTES_MIN: usize = 24;
/// A run is sampled at this stride: every run of the least length contains a sample.
const STRIDE: usize = RUN_BYTES_MIN;
/// Runs of one text that are decoded: as many of the least length as fit into the largest text, each a microsecond.
const RUNS_MAX: usize = 4 << 20;

fn in_alphabet(byte: u8) -> bool {
    sextet(byte).is_some()
}

/// What is no letter of base64.
const NO_LETTER: u8 = 0xFF;

/// The values of the letters of base64, of either alphabet.
const SEXTETS: [u8; 256] = {
    let mut table = [NO_LETTER; 256];
    let (mut rest, mut value): (&[u8], u8) = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 0);
    while let [letter, more @ ..] = rest {
        table[*letter as usize] = value;
        (rest, value) = (more, value + 1);
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
};

fn sextet(byte: u8) -> Option<u8> {
    SEXTETS.get(usize::from(byte)).copied().filter(|value| *value != NO_LETTER)
}

/// What a run decodes to.
pub(crate) enum Decoded {
    /// It opens like something.
    Known(Vec<u8>),
    /// It opens like nothing, and there is much of it.
    Noise(Vec<u8>),
}

impl Decoded {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Decoded::Known(bytes) | Decoded::Noise(bytes) => bytes,
        }
    }
}

/// Decoded runs with the offset at which each began. False: there are more than are decoded.
#[must_use]
pub(crate) fn runs(text: &[u8], mut found: impl FnMut(usize, Decoded)) -> bool {
    let mut at = 0;
    let mut left = RUNS_MAX;
    let mut joined_until = 0;
    while at < text.len() {
        let inside = text.get(at).copied().is_some_and(in_alphabet);
        if !inside {
            at += STRIDE;
            continue;
        }
        let start = at - head(text, at).iter().rev().take_while(|b| in_alphabet(**b)).count();
        let end = run_end(text, at);
        if end - start < RUN_BYTES_MIN {
            at = end.max(at + 1).max(start + STRIDE);
            continue;
        }
        if left == 0 {
            return false;
        }
        left -= 1;
        // Folded lines of a mail, or pieces of an array, make one value; else each run is its own. A row of runs is
        // joined once, from its first, or a long table of digests would cost its square.
        let mut together = None;
        if start >= joined_until {
            let whole = joined(text, start);
            joined_until = whole.end;
            if whole.segments > 1 {
                // Lines of sixty-four hex digits are a list of digests.
                let folded = whole.folded && !whole.run.iter().all(u8::is_ascii_hexdigit);
                let noise = || folded.then(|| noise(&whole.run)).flatten().map(Decoded::Noise);
                together = decode(&whole.run).map(Decoded::Known).or_else(noise);
            }
        }
        if let Some(decoded) = together {
            found(start, decoded);
            at = joined_until;
        } else {
            let run = text.get(start..end).unwrap_or_default();
            if let Some(decoded) = decode(run).map(Decoded::Known).or_else(|| noise(run).map(Decoded::Noise)) {
                found(start, decoded);
            }
            at = end;
        }
        at += 1;
    }
    true
}

fn run_end(text: &[u8], at: usize) -> usize {
    at + text.iter().skip(at).take_while(|b| in_alphabet(**b)).count()
}

struct Joined {
    run: Vec<u8>,
    end: usize,
    segments: u32,
    /// Lines of one length, as encoders fold them; a list of digests has quotes or shorter lines.
    folded: bool,
}

/// Joins runs that are separated only by quotes, commas, backslashes and white space; padding ends them.
fn joined(text: &[u8], start: usize) -> Joined {
    let mut run = Vec::new();
    let mut at = start;
    let mut segments = 0;
    let (mut folded, mut width) = (true, 0);
    loop {
        let end = run_end(text, at);
        let Some(segment) = text.get(at..end) else { break };
        if segment.is_empty() || (segments > 0 && segment.len() < 4) {
            break;
        }
        run.extend_from_slice(segment);
        segments += 1;
        width = if segments == 1 { segment.len() } else { width };
        folded &= LINE_BYTES.contains(&width) && segment.len() <= width;
        at = end;
        let padding = text.iter().skip(at).take_while(|b| **b == b'=').take(2).count();
        if padding > 0 {
            at += padding;
            break;
        }
        let gap = text
            .iter()
            .skip(at)
            .take(GAP_BYTES_MAX)
            .take_while(|b| matches!(**b, b'\r' | b'\n' | b' ' | b'\t' | b'"' | b',' | b'\'' | b'\\'))
            .count();
        let next = at + gap;
        folded &=
            segment.len() == width && text.get(at..next).is_some_and(|gap| gap.iter().all(u8::is_ascii_whitespace));
        // Prose is a row of short words: pieces of an encoding are long.
        if gap == 0 || segment.len() < 16 || !text.get(next).copied().is_some_and(in_alphabet) {
            break;
        }
        at = next;
    }
    Joined { run, end: at, segments, folded }
}

/// Encoders fold at 64, 72 or 76 letters.
const LINE_BYTES: std::ops::RangeInclusive<usize> = 60..=80;

/// Signatures with their certificates are DER, and known; a digest or an encrypted key has some hundred bytes.
const NOISE_BYTES_MIN: usize = 4_096;

/// The bytes of a run that is no word of anybody's language and too long for a signature.
fn noise(run: &[u8]) -> Option<Vec<u8>> {
    if run.len() < NOISE_BYTES_MIN / 3 * 4 {
        return None;
    }
    let has = |is: fn(&u8) -> bool| run.iter().any(is);
    if !has(u8::is_ascii_digit) || !has(u8::is_ascii_alphabetic) {
        return None;
    }
    let bytes = if run.iter().all(u8::is_ascii_hexdigit) {
        decode_hex(run)?
    } else if has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) {
        decode_base64(run)
    } else {
        return None;
    };
    (bytes.len() >= NOISE_BYTES_MIN).then_some(bytes)
}

/// The front of what a zlib stream holds; every language has the packer, and none of them writes a name before it.
pub(crate) fn inflated(bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let [first, second, ..] = bytes else { return None };
    let opens = first & 0x8F == 0x08 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31);
    opens.then(|| crate::pdf::inflate_zlib(bytes, limit)).flatten().filter(|plain| !plain.is_empty())
}

/// Between two pieces: a quote, a comma, a line end and some indentation.
const GAP_BYTES_MAX: usize = 24;

/// What a run decodes to, if that is worth a look.
fn decode(run: &[u8]) -> Option<Vec<u8>> {
    let run = behind_sign(run);
    let is_hex = run.len().is_multiple_of(2) && run.iter().all(u8::is_ascii_hexdigit);
    if is_hex {
        let bytes = decode_hex(run)?;
        if is_something(&bytes) {
            return Some(bytes);
        }
    }
    let bytes = decode_base64(run);
    if is_something(&bytes) {
        return Some(bytes);
    }
    // Letters glued in front (`data:…;base64,` ends in a comma, but `x/` does not) shift the phase.
    None
}

/// Hex digits in pairs.
pub(crate) fn decode_hex(run: &[u8]) -> Option<Vec<u8>> {
    let nibble = |b: u8| match b {
        b'0'..=b'9' => b - b'0',
        b'a'..=b'f' => b - b'a' + 10,
        b'A'..=b'F' => b - b'A' + 10,
        _ => 0,
    };
    let (pairs, _) = run.as_chunks::<2>();
    let is_hex = pairs.as_flattened().iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| pairs.iter().map(|[high, low]| nibble(*high) << 4 | nibble(*low)).collect())
}

/// Base64 of either alphabet; anything else is skipped, an incomplete end is dropped.
pub(crate) fn decode_base64(run: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(run.len() / 4 * 3 + 3);
    // Four letters are three bytes, as long as nothing stands between them.
    let (quads, _) = run.as_chunks::<4>();
    for quad in quads {
        let Some(values) = whole_quad(*quad) else { break };
        let group = values.iter().fold(0_u32, |group, value| group << 6 | u32::from(*value));
        let [_, bytes @ ..] = group.to_be_bytes();
        out.extend_from_slice(&bytes);
    }
    let (mut group, mut bits) = (0_u32, 0_u32);
    for value in run.iter().skip(out.len() / 3 * 4).filter_map(|byte| sextet(*byte)) {
        group = (group << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let [.., low] = (group >> bits).to_be_bytes();
            out.push(low);
        }
    }
    out
}

fn whole_quad(quad: [u8; 4]) -> Option<[u8; 4]> {
    let values = quad.map(|byte| SEXTETS.get(usize::from(byte)).copied().unwrap_or(NO_LETTER));
    (!values.contains(&NO_LETTER)).then_some(values)
}

/// The digits behind `0x`, as databases write bytes.
fn behind_sign(run: &[u8]) -> &[u8] {
    match run {
        [b'0', b'x' | b'X', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => digits,
        _ => run,
    }
}

/// A magic number, a geometry, or a text with digits in it.
fn is_something(bytes: &[u8]) -> bool {
    if bytes.len() < 12 {
        return false;
    }
    if has_strong_magic(bytes) || crate::geodata::is_wkb(bytes) || crate::geodata::is_double_array(bytes) {
        return true;
    }
    reads_as_text(bytes) || inflated(bytes, FRONT_BYTES).is_some_and(|front| front.len() >= 12 && opens_known(&front))
}

/// So much of a packed run is unpacked to see whether it is something.
const FRONT_BYTES: usize = 4_096;

fn opens_known(bytes: &[u8]) -> bool {
    has_strong_magic(bytes) || reads_as_text(bytes)
}

/// Magic numbers of three bytes and more: two bytes turn up in any signature.
fn has_strong_magic(bytes: &[u8]) -> bool {
    const STRONG: &[&[u8]] = &[
        b"PK\x03\x04",
        b"\xFF\xD8\xFF",
        b"\x89PNG",
        b"GIF8",
        b"II*\0",
        b"MM\0*",
        b"%PDF-",
        b"\xD0\xCF\x11\xE0",
        b"\x1F\x8B\x08",
        b"7z\xBC\xAF",
        b"Rar!",
        b"BZh9",
        b"\xFD7zXZ",
        b"\x28\xB5\x2F\xFD",
        b"SQLite format",
        b"LASF",
        b"PAR1",
        b"ARROW1",
        b"fgb\x03",
        b"{\\rtf",
        b"Salted__",
        b"\0\0\x27\x0a",
    ];
    STRONG.iter().any(|m| bytes.starts_with(m)) || (bytes.len() >= MAGIC_BYTES_MIN && has_file_magic(bytes))
}

/// Digests and small signatures are shorter; they begin like anything.
const MAGIC_BYTES_MIN: usize = 72;

/// Any kind with a magic number that noise does not hit; a signature of 256 bytes begins with two given bytes often.
fn has_file_magic(bytes: &[u8]) -> bool {
    use crate::kind::Kind;
    !matches!(
        Kind::of_magic(bytes),
        None | Some(
            Kind::Empty | Kind::Audio | Kind::Font | Kind::Signature | Kind::XlsbPart | Kind::Opaque("compress")
        )
    )
}

/// A sample may end inside a character.
fn is_utf8(sample: &[u8]) -> bool {
    match std::str::from_utf8(sample) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() + 4 > sample.len(),
    }
}

fn reads_as_text(bytes: &[u8]) -> bool {
    let sample = head(bytes, 4096);
    let count = |is: fn(u8) -> bool| sample.iter().fold(0_u16, |n, b| n + u16::from(is(*b)));
    let digits = usize::from(count(|b| b.is_ascii_digit()));
    let printable = usize::from(count(|b| (0x20..0x7F).contains(&b) || matches!(b, b'\t' | b'\n' | b'\r')));
    let high = usize::from(count(|b| b >= 0x80));
    // Noise is not printable from end to end; a message without many digits is.
    // A long message may hold a stray control character, as encoded map outlines do.
    let strange = sample.len() - printable - high;
    if (strange == 0 && high == 0) || (strange * 100 <= sample.len() && is_utf8(sample)) {
        return true;
    }
    if digits * 12 < sample.len() || printable + high < sample.len() {
        // UTF-16 inside base64: half the bytes are zero.
        let zeros = sample.iter().filter(|b| **b == 0).count();
        return sample.len() >= 16 && zeros * 10 >= sample.len() * 4 && crate::text::decode(bytes).is_some();
    }
    high == 0 || std::str::from_utf8(bytes).is_ok() || high * 3 < sample.len() || {
        let (_, malformed) = encoding_rs::GB18030.decode_without_bom_handling(bytes);
        !malformed
    }
}

/// Quoted-printable to bytes.
pub(crate) fn decode_quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before);
        rest = match escape {
            [_, b'\r', b'\n', rest @ ..] | [_, b'\n', rest @ ..] => rest,
            [_, high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.extend(decode_hex(&[*high, *low]).unwrap_or_default());
                rest
            }
            [sign, rest @ ..] => {
                out.push(*sign);
                rest
            }
            [] => break,
        };
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        assert!(runs(text.as_bytes(), |_, decoded| all.push(decoded.bytes().to_vec())));
        all
    }

    #[test]
    fn a_text_in_base64_comes_out() {
        // "113.3477760,23.1395638\n113.3467349,23.1394802"
        let b64 = "MTEzLjM0Nzc3NjAsMjMuMTM5NTYzOAoxMTMuMzQ2NzM0OSwyMy4xMzk0ODAy";
        assert_eq!(found(&format!("{{\"a\":\"{b64}\"}}")).len(), 1);
        let (one, two) = b64.split_at(32);
        assert!(found(&format!("[\"{one}\", \"{two}\"]")).iter().any(|b| b.len() == 45));
    }

    #[test]
    fn letters_of_either_alphabet_are_decoded_whatever_stands_between_them() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let plainly = |run: &[u8]| {
            let place = |b: &u8| {
                let b = match b {
                    b'-' => b'+',
                    b'_' => b'/',
                    other => *other,
                };
                alphabet.iter().position(|letter| *letter == b)
            };
            let bits: Vec<u8> = run
                .iter()
                .filter_map(place)
                .flat_map(|v| (0..6).rev().map(move |n| u8::from(v >> n & 1 == 1)))
                .collect();
            bits.as_chunks::<8>().0.iter().map(|byte| byte.iter().fold(0, |n, bit| n << 1 | bit)).collect::<Vec<u8>>()
        };
        let mut chance = crate::chance::Chance(5);
        for n in 0..20_000 {
            let pieces: &[u8] = if n % 2 == 0 { b"AZaz09+/-_" } else { b"AZaz09+/-_bcdefgh = \n\"" };
            let run = chance.row(pieces, 60);
            assert_eq!(decode_base64(&run), plainly(&run), "{run:?}");
        }
    }

    #[test]
    fn a_signature_is_noise() {
        assert!(found("MEUCIQDZ8mJb1Jx2nq0v7Qf0k3YwqJ9mN5uQ4bXcV1ZtPpOaRwIgTz7k").is_empty());
        assert!(found("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").is_empty());
    }

    #[test]
    fn quoted_printable_is_resolved() {
        assert_eq!(decode_quoted_printable(b"=31=33=\r\n.5"), b"13.5");
    }
}
