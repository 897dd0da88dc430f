//! `exec:PROGRAM` in the place of a key file: a Ukey or a signature server, reached by a program of the office's own.
//!
//! One question, one answer, a line of JSON each, on the program's standard input and output; no shell, no arguments. A
//! person's program may talk to the person on the terminal and on standard error. What it answers is verified with the card.
//!
//! A node's program is asked at night too: within seconds, one question at a time, and after a failure not again at once, so
//! that a device that is away costs each stage a moment and not the time that the device would be waited for.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use protocol::keys::VerifyingKey;
use protocol::signer::{PROBE, SignError, Signer, checked, sm2_digest};
use serde_json::{Value, json};

/// What stands before the program where a key is named.
const PREFIX: &str = "exec:";
/// A person looks for the token and types a PIN, perhaps twice.
const WITHIN: Duration = Duration::from_secs(120);
/// A node's device answers in well under a second. Eight threads that ask one after the other are still heard before the
/// watchdog gives a stage up.
const NODE_WITHIN: Duration = Duration::from_secs(10);
/// So long after a failure nobody is asked.
const REST: Duration = Duration::from_secs(5);
/// A device that nobody has asked for so long is asked whether it is there.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// A request at a desk has at most 64 KiB; an approval far less.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A signature has 72 bytes, and a person's sentence fits in the rest.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;
/// So much of a device's own words is shown.
const WORDS_CHARS_MAX: usize = 200;

/// A program that signs.
pub struct Program {
    path: PathBuf,
    public: VerifyingKey,
    within: Duration,
    /// A node's, and how its last answer was.
    node: Option<Mutex<Heard>>,
}

/// The environment's way to say the passphrase of a key file.
pub const PASSPHRASE_ENV: &str = "TRILOCK_PASSPHRASE";

/// When a node's device was asked last, and what for an error it gave.
#[derive(Default)]
struct Heard {
    at: Option<Instant>,
    failed: Option<SignError>,
}

impl Program {
    /// The program that is named in the place of a key file, if one is.
    #[must_use]
    pub fn named(key: &Path) -> Option<PathBuf> {
        key.to_str()?.strip_prefix(PREFIX).map(PathBuf::from)
    }

    /// A person's program, and the key that it is to sign with.
    #[must_use]
    pub fn new(path: PathBuf, public: VerifyingKey) -> Program {
        Program { path, public, within: WITHIN, node: None }
    }

    /// A node's.
    #[must_use]
    pub fn of_node(path: PathBuf, public: VerifyingKey) -> Program {
        Program { path, public, within: NODE_WITHIN, node: Some(Mutex::default()) }
    }

    /// A person's program may ask for a PIN on the terminal, so it stays in our group there. A node's has its own, and ends
    /// with everything that it started.
    fn end(&self, mut child: Child) {
        if self.node.is_some() {
            let group = rustix::process::Pid::from_child(&child);
            let _killed = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _killed = child.kill();
        let _ended = child.wait();
    }

    fn ask(&self, question: String) -> Result<Vec<u8>, SignError> {
        let failed =
            |what: &str, error: std::io::Error| SignError::Failed(format!("{}: {what}: {error}", self.path.display()));
        if !self.path.is_absolute() {
            return Err(SignError::Failed(format!("{} is no absolute path", self.path.display())));
        }
        let mut command = Command::new(&self.path);
        // The passphrase of a key file is not the device's to read.
        command.env_remove(PASSPHRASE_ENV);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if self.node.is_some() {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| failed("cannot be started", error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, answer) = mpsc::channel();
        // A program that reads nothing would hold the writer up, and one that says nothing the reader.
        std::thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                // One that answers without reading to the end has its reasons; its answer counts.
                let _written = stdin.write_all(question.as_bytes());
            }
        });
        std::thread::spawn(move || {
            let mut line = Vec::new();
            let read = stdout.map(|out| BufReader::new(out.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line));
            let _heard = sender.send(read.map_or(Ok(Vec::new()), |read| read.map(|_| line)));
        });
        let answer = answer.recv_timeout(self.within);
        // It has answered or never will. What it still does is its own affair no longer.
        self.end(child);
        match answer {
            Ok(read) => read.map_err(|error| failed("its answer cannot be read", error)),
            Err(_) => Err(SignError::Failed(format!(
                "{} gave no answer within {} s",
                self.path.display(),
                self.within.as_secs()
            ))),
        }
    }
}

impl Signer for Program {
    fn public(&self) -> VerifyingKey {
        self.public.clone()
    }

    fn try_sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let Some(heard) = &self.node else { return self.sign(bytes) };
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(at), Some(error)) = (heard.at, &heard.failed)
            && at.elapsed() < REST
        {
            return Err(error.clone());
        }
        let answer = self.sign(bytes);
        (heard.at, heard.failed) = (Some(Instant::now()), answer.as_ref().err().cloned());
        answer
    }

    fn is_away(&self) -> bool {
        let Some(heard) = &self.node else { return false };
        let (ago, failed) = {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            (heard.at.map(|at| at.elapsed()), heard.failed.is_some())
        };
        let fresh = if failed { REST } else { PROBE_AFTER };
        if ago.is_some_and(|ago| ago < fresh) { failed } else { self.try_sign(PROBE).is_err() }
    }
}

impl Program {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(SignError::Failed(format!("{} bytes are more than a device is asked to sign", bytes.len())));
        }
        let digest = sm2_digest(&self.public, bytes).map(|digest| digest.to_string());
        let question = json!({
            "trilock": 1, "op": "sign", "suite": self.public.suite().name(), "key": self.public.id().to_string(),
            "digest": digest, "message": Base64::encode_string(bytes),
        });
        let answer = self.ask(format!("{question}\n"))?;
        let nonsense = || SignError::Failed(format!("{} gave an answer that is none", self.path.display()));
        let said: Value = serde_json::from_slice(&answer).map_err(|_| nonsense())?;
        let words = |name: &str| {
            let text = said.get(name).and_then(Value::as_str).unwrap_or_default();
            text.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect::<String>()
        };
        if said.get("error").is_some() {
            return Err(SignError::Refused { word: words("error"), message: words("message") });
        }
        let signature = said.get("signature").and_then(Value::as_str).and_then(|text| Base64::decode_vec(text).ok());
        checked(&self.public, bytes, signature.ok_or_else(nonsense)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test writes programs")]
    use super::*;
    use protocol::Suite;
    use protocol::keys::SigningKey;
    use std::os::unix::fs::PermissionsExt;

    fn program(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("sign");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("trilock-device-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_program_that_hangs_talks_nonsense_or_refuses_signs_nothing_and_is_named() {
        let folder = folder("bad");
        let key = SigningKey::generate(Suite::Gm).public();
        let asked = |text: &str| {
            let program =
                Program { within: Duration::from_secs(5), ..Program::new(program(&folder, text), key.clone()) };
            program.try_sign(b"bytes").unwrap_err().to_string()
        };
        let late = Program {
            within: Duration::from_millis(200),
            ..Program::new(program(&folder, "#!/bin/sh\nexec tail -f /dev/null\n"), key.clone())
        };
        assert!(late.try_sign(b"bytes").unwrap_err().to_string().contains("no answer within"));
        assert!(asked("#!/bin/sh\nexit 1\n").contains("is none"));
        assert!(asked("#!/bin/sh\necho hello\n").contains("is none"));
        assert!(asked("#!/bin/sh\nexec yes\n").contains("is none"));
        assert!(asked("#!/bin/sh\nexec cat /dev/zero\n").contains("is none"), "without an end of a line");
        assert!(asked("#!/bin/sh\necho '{\"signature\": \"AAAA\"}'\n").contains("no signature by key"));
        assert_eq!(
            asked("#!/bin/sh\nread q\necho '{\"error\": \"wrong-pin\", \"message\": \"2 left\\u001b\"}'\n"),
            "the device refuses: wrong-pin 2 left"
        );
        assert!(
            Program::new("sign".into(), key.clone()).try_sign(b"bytes").unwrap_err().to_string().contains("absolute")
        );
        let long = vec![0; MESSAGE_BYTES_MAX + 1];
        assert!(Program::new("/bin/true".into(), key.clone()).try_sign(&long).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The program of the documentation, which keeps its key in a file and signs with OpenSSL.
    #[test]
    fn the_sample_program_signs_for_both_suites_by_message() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/exec-key.py");
        for tool in ["python3", "openssl"] {
            if Command::new(tool).arg("--help").output().is_err() {
                println!("SKIPPED: {tool} is not installed, docs/samples/exec-key.py was not run");
                return;
            }
        }
        for suite in Suite::ALL {
            let folder = folder(suite.name());
            let key = SigningKey::generate(suite);
            std::fs::write(folder.join("key.pem"), key.to_pem(None).unwrap().as_bytes()).unwrap();
            let text = format!("#!/bin/sh\nEXEC_KEY_FILE={:?} exec python3 {sample:?}\n", folder.join("key.pem"));
            let signer = Program::new(program(&folder, &text), SigningKey::public(&key));
            let signature = signer.try_sign(b"a request").unwrap();
            assert_eq!(SigningKey::public(&key).verify(b"a request", &signature), Ok(()));
            let other = Program::new(signer.path.clone(), SigningKey::generate(suite).public());
            assert!(matches!(other.try_sign(b"a request"), Err(SignError::Refused { .. } | SignError::Foreign(_))));
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_nodes_device_that_is_away_is_not_asked_again_at_once_and_takes_its_children_with_it() {
        let folder = folder("node");
        let key = SigningKey::generate(Suite::Std);
        let text = format!("#!/bin/sh\necho asked >> {:?}\nexit 1\n", folder.join("log"));
        let asked = || std::fs::read_to_string(folder.join("log")).unwrap_or_default().lines().count();
        let device = Program::of_node(program(&folder, &text), key.public());
        assert!(device.is_away(), "nobody knew: it was asked");
        assert_eq!(asked(), 1);
        for _ in 0..100 {
            assert!(device.try_sign(b"bytes").is_err() && device.is_away());
        }
        assert_eq!(asked(), 1);

        let started = folder.join("child");
        let text = format!("#!/bin/sh\nsh -c 'echo $$ > {started:?}; exec tail -f /dev/null' &\nwait\n");
        let slow =
            Program { within: Duration::from_millis(500), ..Program::of_node(program(&folder, &text), key.public()) };
        assert!(slow.try_sign(b"bytes").unwrap_err().to_string().contains("no answer within"));
        let child: i32 = std::fs::read_to_string(started).unwrap().trim().parse().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
        };
        while runs() {
            assert!(Instant::now() < until, "what it started is ended too");
            std::thread::yield_now();
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
