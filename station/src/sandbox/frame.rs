//! What a daemon and its worker say to each other over their socket. Both sides are the same binary of the same
//! moment, but the worker may have fallen to what it read: every length from it is bounded before it is believed.
//!
//! ```text
//! question  words(4) contents(4) length(8) x contents | words | contents
//! answer    words(4) body(8)                          | words | body
//! ```

use std::io::{self, Read, Write};

use guard::{Answer, BODY_BYTES_MAX, CONTENTS_MAX, LOOK_BYTES_MAX, WORDS_BYTES_MAX};

/// Contents up to this go out in one write with their words.
const ONE_WRITE_BYTES: usize = 64 * 1024;
/// What a reader reserves before the bytes are there.
const RESERVED_BYTES: usize = 1 << 20;

/// A frame that nobody of ours writes.
fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

pub(super) fn write_question(to: &mut impl Write, words: &[u8], contents: &[&[u8]]) -> io::Result<()> {
    let count = u32::try_from(contents.len()).map_err(|_| broken())?;
    let mut head = Vec::with_capacity(ONE_WRITE_BYTES.min(words.len() + 64));
    head.extend(u32::try_from(words.len()).map_err(|_| broken())?.to_be_bytes());
    head.extend(count.to_be_bytes());
    contents.iter().for_each(|content| head.extend((content.len() as u64).to_be_bytes()));
    head.extend(words);
    for content in contents {
        if head.len() + content.len() <= ONE_WRITE_BYTES {
            head.extend(*content);
        } else {
            to.write_all(&head)?;
            head.clear();
            to.write_all(content)?;
        }
    }
    to.write_all(&head)
}

/// A question as it came over.
pub(super) struct Question {
    pub words: Vec<u8>,
    pub contents: Vec<Vec<u8>>,
}

/// A question, or nothing where the daemon has gone.
pub(super) fn read_question(from: &mut impl Read) -> io::Result<Option<Question>> {
    let mut first = [0; 4];
    if from.read(&mut first[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut first[1..])?;
    let words = u32::from_be_bytes(first) as usize;
    let mut count = [0; 4];
    from.read_exact(&mut count)?;
    let count = u32::from_be_bytes(count) as usize;
    if words > WORDS_BYTES_MAX || count > CONTENTS_MAX {
        return Err(broken());
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        lengths.push(u64::from_be_bytes(length));
    }
    if lengths.iter().any(|length| *length > BODY_BYTES_MAX.max(LOOK_BYTES_MAX)) {
        return Err(broken());
    }
    let words = read_bytes(from, words as u64)?;
    let contents = lengths.into_iter().map(|length| read_bytes(from, length)).collect::<io::Result<Vec<_>>>()?;
    Ok(Some(Question { words, contents }))
}

pub(super) fn write_answer(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut head = Vec::with_capacity(12 + answer.words.len());
    head.extend(u32::try_from(answer.words.len()).map_err(|_| broken())?.to_be_bytes());
    head.extend((answer.body.len() as u64).to_be_bytes());
    head.extend(&answer.words);
    to.write_all(&head)?;
    if answer.body.is_empty() { Ok(()) } else { to.write_all(&answer.body) }
}

pub(super) fn read_answer(from: &mut impl Read) -> io::Result<Answer> {
    let (mut words, mut body) = ([0; 4], [0; 8]);
    from.read_exact(&mut words)?;
    from.read_exact(&mut body)?;
    let (words, body) = (u32::from_be_bytes(words) as usize, u64::from_be_bytes(body));
    if words > WORDS_BYTES_MAX || body > BODY_BYTES_MAX {
        return Err(broken());
    }
    Ok(Answer { words: read_bytes(from, words as u64)?, body: read_bytes(from, body)? })
}

/// Exactly so many bytes; memory grows with what really comes.
fn read_bytes(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_or(RESERVED_BYTES, |all| all.min(RESERVED_BYTES)));
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_comes_over_as_it_was_asked() {
        let large = vec![7; 3 * ONE_WRITE_BYTES];
        for contents in [vec![], vec![&b"a"[..], b"", b"bc"], vec![&b"x"[..], &large, b"y"]] {
            let mut wire = Vec::new();
            write_question(&mut wire, b"words", &contents).unwrap();
            write_question(&mut wire, b"", &[]).unwrap();
            let mut from = wire.as_slice();
            let read = read_question(&mut from).unwrap().unwrap();
            assert_eq!(read.words, b"words");
            assert_eq!(read.contents, contents);
            assert!(read_question(&mut from).unwrap().is_some());
            assert!(read_question(&mut from).unwrap().is_none(), "the end");
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_too_long_is_none() {
        let mut wire = Vec::new();
        write_answer(&mut wire, &Answer { words: b"words".to_vec(), body: b"body".to_vec() }).unwrap();
        let whole = read_answer(&mut wire.as_slice()).unwrap();
        assert_eq!((whole.words.as_slice(), whole.body.as_slice()), (&b"words"[..], &b"body"[..]));
        for length in 0..wire.len() {
            assert!(read_answer(&mut &wire[..length]).is_err(), "{length}");
        }
        for at in [0, 4] {
            let mut long = wire.clone();
            long[at] = 0xff;
            assert!(read_answer(&mut long.as_slice()).is_err());
        }
    }
}
