//! The desk from the side of a person or tool: put a signed request down, wait for the answer. Decides nothing.
//!
//! A request is `desk/requests/<id>.req`, the answer `desk/answers/<id>.json`. Dying between any two lines is safe: the
//! rename is the asking, an answered id is never acted on again, and an answer that nobody waited for stays.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::Digest;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::layout::Layout;

/// How often the answer is looked for: quick for a person, cheap for a disk.
const POLL_MS: u64 = 50;
/// An answer is a few lines, or a list of trips. More is not an answer of ours.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What the daemon says to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Done, or refused.
    pub done: bool,
    /// A code word for scripts.
    pub code: String,
    /// For people.
    pub message_en: String,
    /// For people, in Chinese.
    pub message_zh: String,
    /// What the action has to show.
    #[serde(default)]
    pub details: serde_json::Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The request could not be put down: not in the desk's group, or there is no such spool.
    #[error("the request could not be put into {path}")]
    CannotAsk {
        /// The desk.
        path: std::path::PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Nobody answered: the daemon does not run, or is busy. The request stays and may still be acted on.
    #[error("no answer to request {request} within {waited_ms} ms; the request stays in the desk")]
    NoAnswer {
        /// Its id.
        request: Digest,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The answer file cannot be read.
    #[error("the answer {path} cannot be read: {cause}")]
    BadAnswer {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        cause: String,
    },
}

/// Puts a signed request into the desk of people and waits for its answer.
pub fn ask(layout: &Layout, request: &Digest, signed_request: &[u8], wait_ms: u64) -> Result<Answer, DeskError> {
    ask_at(layout, &layout.desk_requests(), request, signed_request, wait_ms)
}

/// The same through the desk of the daemon's own user.
pub fn ask_own(layout: &Layout, request: &Digest, signed_request: &[u8], wait_ms: u64) -> Result<Answer, DeskError> {
    ask_at(layout, &layout.desk_own(), request, signed_request, wait_ms)
}

fn ask_at(layout: &Layout, desk: &Path, request: &Digest, bytes: &[u8], wait_ms: u64) -> Result<Answer, DeskError> {
    let cannot = |source| DeskError::CannotAsk { path: desk.to_owned(), source };
    Disk::real().write(&desk.join(request_name(request)), bytes).map_err(cannot)?;
    let answer = layout.desk_answers().join(answer_name(request));
    let start = Instant::now();
    loop {
        if let Some(answer) = read_answer(&answer)? {
            return Ok(answer);
        }
        if start.elapsed() >= Duration::from_millis(wait_ms) {
            return Err(DeskError::NoAnswer { request: *request, waited_ms: wait_ms });
        }
        std::thread::sleep(Duration::from_millis(POLL_MS.min(wait_ms.max(1))));
    }
}

/// The file name of a request.
#[must_use]
pub fn request_name(request: &Digest) -> String {
    format!("{request}.req")
}

/// The file name of its answer.
#[must_use]
pub fn answer_name(request: &Digest) -> String {
    format!("{request}.json")
}

fn read_answer(path: &Path) -> Result<Option<Answer>, DeskError> {
    let bad = |cause: String| DeskError::BadAnswer { path: path.to_owned(), cause };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
        Ok(about) if about.len() > ANSWER_BYTES_MAX => return Err(bad(format!("{} bytes", about.len()))),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_in_the_desk_and_the_answer_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let disk = Disk::real();
        disk.create_dir_all(&layout.desk_requests()).unwrap();
        disk.create_dir_all(&layout.desk_answers()).unwrap();
        let id = protocol::der_types::Octets([7; 32]);
        assert!(matches!(ask(&layout, &id, b"signed", 0), Err(DeskError::NoAnswer { .. })));
        assert_eq!(fs::read(layout.desk_requests().join(request_name(&id))).unwrap(), b"signed");
        let answer = Answer {
            done: false,
            code: "refused".into(),
            message_en: "no".into(),
            message_zh: "不".into(),
            details: serde_json::Value::Null,
        };
        disk.write(&layout.desk_answers().join(answer_name(&id)), &serde_json::to_vec(&answer).unwrap()).unwrap();
        assert_eq!(ask(&layout, &id, b"signed", 0).unwrap(), answer);
    }

    #[test]
    fn somebody_outside_the_group_is_told_which_desk_refused() {
        let layout = Layout::new("/nonexistent/spool");
        let id = protocol::der_types::Octets([7; 32]);
        assert!(matches!(ask(&layout, &id, b"", 0), Err(DeskError::CannotAsk { .. })));
    }
}
