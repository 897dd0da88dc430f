//! Frozen bundles, most of them broken in exactly one way, for this reader and for anybody else's.
//!
//! `vectors/*.vector` hold a few `word: value` lines, an empty line, and the bundle in base64. `expect` says how a
//! verifier that follows FORMAT.md must end: `ok`, or the one thing that is wrong (see [`word`]). The key cards that
//! such a verifier believes lie in `vectors/trust`. The private keys in `vectors/keys` are for these files alone. A
//! file with a `kind` is another object of FORMAT.md: those are made and judged in `papers/mod.rs`.
//!
//! The files are not made anew when the code changes: they are what bundles of version 1 look like. To add one, add
//! its line to [`broken`] or to `papers::list` and run `TRILOCK_WRITE_VECTORS=1 cargo test -p protocol --features open --test vectors`;
//! only files that are absent are written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "the generator writes test files, which need no durability")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use protocol::bundle::{self, BundleError};
use protocol::der_types::DerError;
use protocol::parcel::ParcelError;
use protocol::signed::SignedError;
use protocol::trust::TrustError;
use protocol::{Suite, Trust};

mod papers;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The word that `expect` has for an error.
fn word(error: &BundleError) -> String {
    let trust = |error: &TrustError| match error {
        TrustError::UnknownKey { what, .. } => format!("unknown-key {what}"),
        TrustError::WrongRole { what, .. } => format!("wrong-signer {what}"),
        TrustError::Signed(SignedError::Signature { what, .. }) => format!("bad-signature {what}"),
        TrustError::Signed(SignedError::Der(DerError::TooLarge { what, .. })) => format!("too-large {what}"),
        TrustError::Signed(SignedError::OtherKey { what, .. }) => format!("wrong-suite {what}"),
        TrustError::Signed(SignedError::Version { what, .. }) => format!("version {what}"),
        other => format!("trust: {other}"),
    };
    match error {
        BundleError::NotABundle { .. } => "not-a-bundle".to_owned(),
        BundleError::CutShort { part } => format!("cut-short {part}"),
        BundleError::Trailing => "trailing".to_owned(),
        BundleError::TooLarge { part, .. } => format!("too-large {part}"),
        BundleError::FooterMismatch { part } => format!("footer-mismatch {part}"),
        BundleError::Parcel(ParcelError::Der(DerError::Malformed { what, .. })) => format!("malformed {what}"),
        BundleError::Parcel(ParcelError::Trust(TrustError::Signed(SignedError::Der(DerError::Malformed {
            what,
            ..
        })))) => {
            format!("malformed {what}")
        }
        BundleError::Parcel(ParcelError::Trust(error)) => trust(error),
        BundleError::Parcel(ParcelError::Der(DerError::TooLarge { what, .. })) => format!("too-large {what}"),
        BundleError::Parcel(ParcelError::Version { what, .. }) => format!("version {what}"),
        BundleError::Parcel(ParcelError::OverLimit { what, .. }) => format!("over-limit {what}"),
        BundleError::Parcel(ParcelError::Disagree(_)) => "disagree".to_owned(),
        other => format!("other: {other}"),
    }
}

fn trust() -> Trust {
    let mut trust = Trust::default();
    for entry in fs::read_dir(folder().join("trust")).unwrap() {
        let path = entry.unwrap().path();
        trust.add(&path.to_string_lossy(), &fs::read_to_string(&path).unwrap()).unwrap();
    }
    trust
}

/// A vector as it stands in its file.
struct Vector {
    words: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

impl Vector {
    fn read(path: &Path) -> Vector {
        let text = fs::read_to_string(path).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let words = head.lines().map(|line| line.split_once(": ").unwrap());
        let words = words.map(|(word, value)| (word.to_owned(), value.to_owned())).collect();
        let body: String = body.split_whitespace().collect();
        Vector { words, bytes: Base64::decode_vec(&body).unwrap() }
    }

    /// What it is, where it is no bundle.
    fn kind(&self) -> Option<&str> {
        self.words.get("kind").map(String::as_str)
    }

    fn suite(&self) -> Suite {
        self.words["suite"].parse().unwrap()
    }
}

fn vectors() -> Vec<(String, Vector)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "vector"));
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), Vector::read(path))).collect()
}

#[test]
fn every_vector_ends_as_it_says() {
    let trust = trust();
    let mut wrong = Vec::new();
    let mut counted: BTreeMap<(Suite, bool), usize> = BTreeMap::new();
    for (name, vector) in vectors() {
        assert!(!vector.words["comment"].is_empty(), "{name} says what it is");
        let expect = &vector.words["expect"];
        let found = match (vector.kind(), bundle::verify(&mut vector.bytes.as_slice(), &trust)) {
            (Some(kind), _) => papers::judge(kind, &vector.bytes, &trust),
            (None, Ok(_)) => "ok".to_owned(),
            (None, Err(error)) => word(&error),
        };
        if found != *expect {
            wrong.push(format!("{name}: {found}, expected {expect}"));
        }
        *counted.entry((vector.suite(), expect == "ok")).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for suite in Suite::ALL {
        assert!(counted[&(suite, true)] >= 2 && counted[&(suite, false)] >= 24, "{counted:?}");
    }
}

#[test]
fn the_vectors_stay_small() {
    let bytes: u64 = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 480 * 1024, "{bytes} bytes");
}

#[cfg(feature = "open")]
mod with_keys {
    use std::io;

    use protocol::bundle::{SealPlan, Sink};
    use protocol::der_types::Octets;
    use protocol::envelope::{Envelope, Footer};
    use protocol::id::new_id;
    use protocol::keys::{OpeningKey, SigningKey};
    use protocol::parcel::{
        CUSTODY_MAX, CustodyEntry, FileEntry, Manifest, OctetString, ParcelStatement, Priority, VERSION,
    };
    use protocol::signed::signed_bytes;
    use protocol::tree::{Tree, root_of};
    use protocol::trust::{KeyCard, Role, Use};
    use protocol::{Crossing, Digest, Name, Signed, Timestamp, Verdict, Zone};

    use super::*;

    /// What lies in every vector.
    const FILES: [(&str, &[u8]); 3] =
        [("form.json", br#"{"ywh": "2026112100001"}"#), ("scans/empty.txt", b""), ("scans/page-1.txt", b"a page\n")];

    #[derive(Default)]
    struct Memory(Vec<Vec<u8>>);

    impl Sink for Memory {
        fn manifest(&mut self, _: &Manifest) -> io::Result<()> {
            Ok(())
        }
        fn begin(&mut self, _: usize) -> io::Result<()> {
            self.0.push(Vec::new());
            Ok(())
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.last_mut().unwrap().extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self, _: usize) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_verifies_opens_and_what_is_broken_does_not() {
        let trust = trust();
        for (name, vector) in vectors().into_iter().filter(|(_, vector)| vector.kind().is_none()) {
            let target = vector.words.get("opens-for").map_or("extranet", String::as_str);
            let key = key_text(vector.suite(), target, Use::Seal).unwrap();
            let key = OpeningKey::from_pem(&key, None).unwrap();
            let mut memory = Memory::default();
            let opened = bundle::open(&mut vector.bytes.as_slice(), &trust, &key, &mut memory);
            assert_eq!(opened.is_ok(), vector.words["expect"] == "ok", "{name}: {:?}", opened.err());
            if vector.words["expect"] == "ok" {
                assert_eq!(memory.0, FILES.map(|(_, bytes)| bytes.to_vec()), "{name}");
            }
        }
    }

    fn key_path(suite: Suite, holder: &str, usage: Use) -> PathBuf {
        folder().join("keys").join(format!("{suite}.{holder}.{usage}.key.pem"))
    }

    fn key_text(suite: Suite, holder: &str, usage: Use) -> io::Result<String> {
        fs::read_to_string(key_path(suite, holder, usage))
    }

    pub(crate) fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    pub(crate) fn octets(bytes: Vec<u8>) -> OctetString {
        OctetString::new(bytes).unwrap()
    }

    /// The keys of one suite, made where they are absent, with a card in `trust` for everybody but the stranger.
    pub(crate) struct Keys {
        pub(crate) suite: Suite,
        pub(crate) internet: SigningKey,
        pub(crate) extranet: SigningKey,
        pub(crate) operator: SigningKey,
        pub(crate) approver: SigningKey,
        pub(crate) key_admin: SigningKey,
        pub(crate) stranger: SigningKey,
        pub(crate) extranet_seal: OpeningKey,
        pub(crate) intranet_seal: OpeningKey,
        /// Earlier keys of the extranet's node, whose cards have a last day.
        pub(crate) ended: SigningKey,
        pub(crate) ended_seal: OpeningKey,
    }

    /// The holder's name in the file of an earlier key.
    const ENDED: &str = "extranet-ended";
    /// The last day of those: some days after everything else here.
    const ENDED_AFTER: &str = "2026-11-30";

    impl Keys {
        fn new(suite: Suite) -> Keys {
            let keep = |holder: &str, usage, role, zone, fresh: String, spki: &dyn Fn(&str) -> Vec<u8>| {
                let path = key_path(suite, holder, usage);
                if !path.exists() {
                    fs::write(&path, fresh).unwrap();
                }
                let pem = fs::read_to_string(path).unwrap();
                let spki = spki(&pem);
                let ended = holder == ENDED;
                let card = KeyCard {
                    zone,
                    holder: name(if ended { "extranet" } else { holder }),
                    role,
                    usage,
                    suite,
                    from: if ended { "2024-01-01" } else { "2026-11-21" }.to_owned(),
                    until: ended.then(|| ENDED_AFTER.to_owned()),
                    spki,
                };
                if holder != "stranger" {
                    fs::write(folder().join("trust").join(format!("{suite}.{holder}.{usage}.pub.pem")), card.to_text())
                        .unwrap();
                }
                pem
            };
            let sign = |holder: &str, role, zone| {
                let fresh = SigningKey::generate(suite).to_pem(None).unwrap().to_string();
                let spki = |pem: &str| SigningKey::from_pem(pem, None).unwrap().public().to_spki();
                SigningKey::from_pem(&keep(holder, Use::Sign, role, zone, fresh, &spki), None).unwrap()
            };
            let seal = |holder: &str, zone| {
                let fresh = OpeningKey::generate(suite).to_pem(None).unwrap().to_string();
                let spki = |pem: &str| OpeningKey::from_pem(pem, None).unwrap().public().to_spki();
                OpeningKey::from_pem(&keep(holder, Use::Seal, Role::Node, zone, fresh, &spki), None).unwrap()
            };
            Keys {
                suite,
                internet: sign("internet", Role::Node, Zone::Internet),
                extranet: sign("extranet", Role::Node, Zone::Extranet),
                operator: sign("operator-ma", Role::Operator, Zone::Internet),
                approver: sign("approver-li", Role::Approver, Zone::Extranet),
                key_admin: sign("key-admin-he", Role::KeyAdmin, Zone::Extranet),
                stranger: sign("stranger", Role::Node, Zone::Internet),
                extranet_seal: seal("extranet", Zone::Extranet),
                intranet_seal: seal("intranet", Zone::Intranet),
                ended: sign(ENDED, Role::Node, Zone::Extranet),
                ended_seal: seal(ENDED, Zone::Extranet),
            }
        }

        pub(crate) fn manifest(&self) -> Manifest {
            let file = |(path, bytes): (&str, &[u8])| FileEntry {
                path: path.to_owned(),
                original: None,
                size: bytes.len() as u64,
                digest: root_of(self.suite, bytes),
                executable: false,
                modified_s: 1_795_219_200,
            };
            Manifest {
                salt: Octets([7; 32]),
                version: VERSION,
                name: "案卷-1".to_owned(),
                folder: true,
                files: FILES.map(file).to_vec(),
                labels: Vec::new(),
            }
        }

        fn statement(&self) -> ParcelStatement {
            ParcelStatement {
                version: VERSION,
                parcel: new_id(Timestamp(1_795_219_200_000), [1; 10]),
                origin: name("internet"),
                route: name("applications"),
                target: name("extranet"),
                parcel_type: name("application"),
                priority: Priority::Normal,
                accepted: Timestamp(1_795_219_200_000),
                manifest: self.suite.digest(&self.manifest().to_bytes()),
            }
        }

        fn entry(&self, statement: &Signed, previous: Digest) -> CustodyEntry {
            CustodyEntry {
                version: VERSION,
                statement: statement.digest(),
                previous,
                node: name("internet"),
                crossing: Crossing::InternetToExtranet,
                rules: "2026-11-21.1".to_owned(),
                verdict: Verdict::Released,
                at: Timestamp(1_795_219_201_000),
            }
        }

        /// A bundle of the first hop, in its three parts.
        pub(crate) fn parts(&self) -> Parts {
            let statement = Signed::make(&self.internet, &self.statement());
            let entry = Signed::make(&self.internet, &self.entry(&statement, statement.digest()));
            let hop = (Crossing::InternetToExtranet, "internet", "extranet");
            self.seal(hop, &self.internet, &self.extranet_seal, &statement, &[entry])
        }

        /// The same parcel as the second node seals it on.
        pub(crate) fn second_hop(&self) -> Parts {
            let statement =
                Signed::make(&self.internet, &ParcelStatement { target: name("intranet"), ..self.statement() });
            let first = Signed::make(&self.internet, &self.entry(&statement, statement.digest()));
            let mut second = self.entry(&statement, first.digest());
            (second.node, second.crossing) = (name("extranet"), Crossing::ExtranetToIntranet);
            let custody = [first, Signed::make(&self.extranet, &second)];
            let hop = (Crossing::ExtranetToIntranet, "extranet", "intranet");
            self.seal(hop, &self.extranet, &self.intranet_seal, &statement, &custody)
        }

        fn seal(
            &self,
            (crossing, source, target): (Crossing, &str, &str),
            key: &SigningKey,
            recipient: &OpeningKey,
            statement: &Signed,
            custody: &[Signed],
        ) -> Parts {
            let plan = SealPlan {
                bundle: new_id(Timestamp(1_795_219_202_000), [2; 10]),
                crossing,
                epoch: 1,
                sequence: 300,
                source: &name(source),
                target: &name(target),
                priority: Priority::Normal,
                now: Timestamp(1_795_219_202_000),
                key,
                recipient: &recipient.public(),
                keeper: &recipient.public(),
                statement,
                custody,
                manifest: &self.manifest(),
            };
            let mut out = Vec::new();
            let sealed = bundle::seal(&plan, &mut out, |index| Ok(FILES[index].1)).unwrap();
            let from = 12 + sealed.envelope.len();
            let payload = out[from..out.len() - 4 - sealed.footer.len()].to_vec();
            Parts { envelope: sealed.envelope, payload, footer: sealed.footer, tail: Vec::new() }
        }

        fn footer(&self, parts: &Parts) -> Footer {
            let mut tree = Tree::with_leaf(self.suite, bundle::CHUNK_BYTES + 16);
            tree.update(&parts.payload);
            Footer {
                version: VERSION,
                envelope: self.suite.digest(&parts.envelope),
                root: tree.root(),
                payload_bytes: parts.payload.len() as u64,
            }
        }
    }

    /// A bundle taken apart.
    #[derive(Clone)]
    pub(crate) struct Parts {
        pub(crate) envelope: Vec<u8>,
        payload: Vec<u8>,
        pub(crate) footer: Vec<u8>,
        tail: Vec<u8>,
    }

    impl Parts {
        fn bytes(&self) -> Vec<u8> {
            let length = |part: &[u8]| u32::try_from(part.len()).unwrap().to_be_bytes();
            let pieces: [&[u8]; 7] = [
                bundle::MAGIC,
                &length(&self.envelope),
                &self.envelope,
                &self.payload,
                &length(&self.footer),
                &self.footer,
                &self.tail,
            ];
            pieces.concat()
        }

        pub(crate) fn read(&self) -> Envelope {
            Envelope::parse(&self.envelope).unwrap()
        }

        /// Changes the envelope and signs the foot anew, so that nothing but the change is wrong.
        fn with_envelope(mut self, keys: &Keys, change: impl FnOnce(&mut Envelope)) -> Parts {
            let mut envelope = self.read();
            change(&mut envelope);
            self.with_envelope_bytes(keys, envelope.to_bytes())
        }

        fn with_envelope_bytes(&mut self, keys: &Keys, envelope: Vec<u8>) -> Parts {
            self.envelope = envelope;
            let signer = &keys.internet;
            self.footer = Signed::make(signer, &keys.footer(self)).to_bytes();
            self.clone()
        }

        fn with_statement(self, keys: &Keys, signer: &SigningKey, statement: &ParcelStatement) -> Parts {
            let signed = Signed::make(signer, statement);
            let entry = Signed::make(&keys.internet, &keys.entry(&signed, signed.digest()));
            self.with_envelope(keys, |envelope| {
                envelope.statement = octets(signed.to_bytes());
                envelope.custody = vec![octets(entry.to_bytes())];
            })
        }

        fn with_entry(self, keys: &Keys, signer: &SigningKey, change: impl FnOnce(&mut CustodyEntry)) -> Parts {
            let statement = self.read().signed_statement().unwrap();
            let mut entry = keys.entry(&statement, statement.digest());
            change(&mut entry);
            let signed = Signed::make(signer, &entry);
            self.with_envelope(keys, |envelope| envelope.custody = vec![octets(signed.to_bytes())])
        }

        fn with_footer(mut self, change: impl FnOnce(&mut Signed)) -> Parts {
            let mut signed = Signed::parse::<Footer>(&self.footer).unwrap();
            change(&mut signed);
            self.footer = signed.to_bytes();
            self
        }
    }

    /// Where the DER of a field begins, found by what it holds.
    fn find(bytes: &[u8], what: &[u8]) -> usize {
        let mut places = bytes.windows(what.len()).enumerate().filter(|(_, window)| *window == what);
        let (at, _) = places.next().unwrap();
        assert!(places.next().is_none(), "{what:02x?} stands once");
        at
    }

    /// Puts bytes in the place of others within a SEQUENCE of two length bytes, and corrects its length.
    fn exchange(sequence: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let at = find(sequence, old);
        let mut out = [&sequence[..at], new, &sequence[at + old.len()..]].concat();
        assert_eq!(out[..2], [0x30, 0x82], "a long SEQUENCE");
        let length = u16::try_from(out.len() - 4).unwrap().to_be_bytes();
        out[2..4].copy_from_slice(&length);
        out
    }

    /// The same Ed25519 signature with the order of the group added to its scalar: RFC 8032 refuses it.
    fn with_the_order_added(signature: &[u8]) -> Vec<u8> {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut out = signature.to_vec();
        let mut carry = 0;
        for (byte, add) in out[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        out
    }

    /// The same SM2 signature with a needless zero before its first number.
    fn with_a_needless_zero(signature: &[u8]) -> Vec<u8> {
        let mut out = signature.to_vec();
        out.insert(4, 0);
        out[1] += 1;
        out[3] += 1;
        out
    }

    /// Every vector: its name, what is expected, what it is, its bytes.
    fn broken(keys: &Keys) -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
        let good = keys.parts();
        let fresh = || good.clone();
        let foreign = if keys.suite == Suite::Std { Suite::Gm } else { Suite::Std };
        let other_suite = SigningKey::from_pem(&key_text(foreign, "internet", Use::Sign).unwrap(), None).unwrap();
        let epoch_sequence = [2, 1, 1, 2, 2, 1, 0x2c];
        let mut list = vec![
            ("ok", "ok", "A parcel of three files, one of them empty.", good.bytes()),
            (
                "ok-second-hop",
                "ok",
                "Sealed on by the second node: two custody entries, the last one by the source.",
                keys.second_hop().bytes(),
            ),
            ("empty-file", "cut-short magic", "No bytes at all.", Vec::new()),
            ("magic-other", "not-a-bundle", "The magic is TRILOCK2.", {
                let mut bytes = good.bytes();
                bytes[7] = b'2';
                bytes
            }),
            (
                "cut-in-envelope",
                "cut-short envelope",
                "The file ends 40 bytes into the envelope.",
                good.bytes()[..52].to_vec(),
            ),
            ("cut-in-payload", "cut-short payload", "The file ends one byte before the end of the payload.", {
                good.bytes()[..12 + good.envelope.len() + good.payload.len() - 1].to_vec()
            }),
            ("cut-in-footer", "cut-short footer", "The last byte of the footer is missing.", {
                let bytes = good.bytes();
                bytes[..bytes.len() - 1].to_vec()
            }),
            (
                "trailing-byte",
                "trailing",
                "One zero byte follows the footer.",
                Parts { tail: vec![0], ..fresh() }.bytes(),
            ),
            (
                "envelope-too-long",
                "too-large envelope",
                "The envelope states 1,048,577 bytes, one over the limit; nothing is allocated.",
                {
                    let mut bytes = good.bytes();
                    bytes[8..12].copy_from_slice(&0x0010_0001_u32.to_be_bytes());
                    bytes
                },
            ),
            ("footer-too-long", "too-large footer", "The footer states 4 GiB - 1.", {
                let mut bytes = good.bytes();
                let at = 12 + good.envelope.len() + good.payload.len();
                bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
                bytes
            }),
            (
                "envelope-long-length",
                "malformed envelope",
                "The outer length is written in three bytes where two would do.",
                {
                    let envelope = [&[0x30, 0x83, 0], &good.envelope[2..]].concat();
                    fresh().with_envelope_bytes(keys, envelope).bytes()
                },
            ),
            ("envelope-indefinite-length", "malformed envelope", "The envelope has BER's indefinite length.", {
                let envelope = [&[0x30, 0x80], &good.envelope[4..], &[0, 0]].concat();
                fresh().with_envelope_bytes(keys, envelope).bytes()
            }),
            (
                "envelope-trailing-byte",
                "malformed envelope",
                "A zero byte stands behind the SEQUENCE, within the stated length.",
                {
                    let envelope = [&good.envelope[..], &[0]].concat();
                    fresh().with_envelope_bytes(keys, envelope).bytes()
                },
            ),
            ("envelope-extra-field", "malformed envelope", "A NULL stands behind the last field of the SEQUENCE.", {
                let mut envelope = [&good.envelope[..], &[5, 0]].concat();
                let length = u16::try_from(envelope.len() - 4).unwrap().to_be_bytes();
                envelope[2..4].copy_from_slice(&length);
                fresh().with_envelope_bytes(keys, envelope).bytes()
            }),
            ("integer-leading-zero", "malformed envelope", "The epoch is written 00 01.", {
                let envelope = exchange(&good.envelope, &epoch_sequence, &[2, 2, 0, 1, 2, 2, 1, 0x2c]);
                fresh().with_envelope_bytes(keys, envelope).bytes()
            }),
            ("integer-negative", "malformed envelope", "The sequence is negative.", {
                let envelope = exchange(&good.envelope, &epoch_sequence, &[2, 1, 1, 2, 2, 0xfe, 0x2c]);
                fresh().with_envelope_bytes(keys, envelope).bytes()
            }),
            ("crossing-unknown", "malformed envelope", "A crossing with the code 9.", {
                // The crossing stands before the epoch.
                let mut envelope = good.envelope.clone();
                let at = find(&envelope, &epoch_sequence) - 1;
                envelope[at] = 9;
                fresh().with_envelope_bytes(keys, envelope).bytes()
            }),
            ("version-two", "version envelope", "An envelope of version 2, well formed otherwise.", {
                fresh().with_envelope(keys, |envelope| envelope.version = 2).bytes()
            }),
            (
                "payload-impossible",
                "footer-mismatch stated payload length",
                "A payload of 16 bytes cannot hold a tag and a manifest's length.",
                {
                    let mut parts = fresh();
                    parts.payload.truncate(16);
                    parts.with_envelope(keys, |envelope| envelope.payload_bytes = 16).bytes()
                },
            ),
            ("payload-over-limit", "too-large payload", "A payload of 2^63 bytes.", {
                fresh().with_envelope(keys, |envelope| envelope.payload_bytes = 1 << 63).bytes()
            }),
            ("payload-changed", "footer-mismatch payload", "One bit of the payload is changed.", {
                let mut parts = fresh();
                parts.payload[20] ^= 1;
                parts.bytes()
            }),
            (
                "envelope-changed",
                "footer-mismatch envelope",
                "The sequence was changed from 300 to 301 after the footer was signed.",
                {
                    let mut parts = fresh();
                    let at = find(&parts.envelope, &epoch_sequence) + 6;
                    parts.envelope[at] = 0x2d;
                    parts.bytes()
                },
            ),
            (
                "footer-of-another-length",
                "footer-mismatch payload",
                "The footer is signed for a payload one byte longer.",
                {
                    let mut parts = fresh();
                    let footer = Footer { payload_bytes: parts.payload.len() as u64 + 1, ..keys.footer(&parts) };
                    parts.footer = Signed::make(&keys.internet, &footer).to_bytes();
                    parts.bytes()
                },
            ),
            ("footer-version-two", "version footer", "A footer of version 2.", {
                let mut parts = fresh();
                parts.footer = Signed::make(&keys.internet, &Footer { version: 2, ..keys.footer(&parts) }).to_bytes();
                parts.bytes()
            }),
            (
                "footer-by-another-node",
                "footer-mismatch envelope's signer",
                "The footer is signed by a trusted node which is not the one the envelope names.",
                {
                    let mut parts = fresh();
                    parts.footer = Signed::make(&keys.extranet, &keys.footer(&parts)).to_bytes();
                    parts.bytes()
                },
            ),
            (
                "footer-in-another-suite",
                "footer-mismatch envelope's signer",
                "The source's key of the other suite signed the footer.",
                {
                    let mut parts = fresh();
                    parts.footer = Signed::make(&other_suite, &keys.footer(&parts)).to_bytes();
                    parts.bytes()
                },
            ),
            (
                "source-not-the-signer",
                "wrong-signer footer",
                "Envelope and footer name the extranet's key; the source is the internet's node.",
                {
                    let mut parts =
                        fresh().with_envelope(keys, |envelope| envelope.signer = keys.extranet.public().id());
                    parts.footer = Signed::make(&keys.extranet, &keys.footer(&parts)).to_bytes();
                    parts.bytes()
                },
            ),
            (
                "footer-signature-changed",
                "bad-signature footer",
                "The last bit of the footer's signature is changed.",
                {
                    fresh()
                        .with_footer(|signed| {
                            let mut signature = signed.signature.as_bytes().to_vec();
                            *signature.last_mut().unwrap() ^= 1;
                            signed.signature = octets(signature);
                        })
                        .bytes()
                },
            ),
            ("footer-signature-empty", "bad-signature footer", "The footer's signature has no bytes.", {
                fresh().with_footer(|signed| signed.signature = octets(Vec::new())).bytes()
            }),
            (
                "footer-in-another-domain",
                "bad-signature footer",
                "The footer is signed behind the domain string of a parcel statement.",
                {
                    let sign = |body: &[u8]| keys.internet.sign(&signed_bytes("trilock-v1-parcel-statement", body));
                    fresh().with_footer(|signed| signed.signature = octets(sign(signed.body.as_bytes()))).bytes()
                },
            ),
            (
                "footer-without-domain",
                "bad-signature footer",
                "The footer's bare bytes are signed, without a domain string.",
                {
                    fresh()
                        .with_footer(|signed| signed.signature = octets(keys.internet.sign(signed.body.as_bytes())))
                        .bytes()
                },
            ),
            (
                "statement-by-a-stranger",
                "unknown-key parcel statement",
                "The statement is signed by a key on no card.",
                { fresh().with_statement(keys, &keys.stranger, &keys.statement()).bytes() },
            ),
            (
                "statement-by-a-person",
                "wrong-signer parcel statement",
                "An operator of the origin's zone signed the statement.",
                { fresh().with_statement(keys, &keys.operator, &keys.statement()).bytes() },
            ),
            (
                "statement-by-another-node",
                "wrong-signer parcel statement",
                "The extranet's node signed a statement that names the internet's as origin.",
                { fresh().with_statement(keys, &keys.extranet, &keys.statement()).bytes() },
            ),
            ("statement-version-two", "version parcel statement", "A statement of version 2.", {
                fresh()
                    .with_statement(keys, &keys.internet, &ParcelStatement { version: 2, ..keys.statement() })
                    .bytes()
            }),
            (
                "statement-changed",
                "bad-signature parcel statement",
                "The priority within the signed statement was changed.",
                {
                    let mut statement = good.read().signed_statement().unwrap();
                    let changed = ParcelStatement { priority: Priority::Urgent, ..keys.statement() };
                    statement.body = Signed::make(&keys.internet, &changed).body;
                    fresh().with_envelope(keys, |envelope| envelope.statement = octets(statement.to_bytes())).bytes()
                },
            ),
            ("custody-absent", "disagree", "The envelope has no custody entry.", {
                fresh().with_envelope(keys, |envelope| envelope.custody.clear()).bytes()
            }),
            ("custody-of-another-parcel", "disagree", "The entry names another statement.", {
                fresh().with_entry(keys, &keys.internet, |entry| entry.statement = Octets([9; 32])).bytes()
            }),
            ("custody-out-of-order", "disagree", "The entry does not follow the statement.", {
                fresh().with_entry(keys, &keys.internet, |entry| entry.previous = Octets([9; 32])).bytes()
            }),
            ("custody-for-another-crossing", "disagree", "The last entry is for extranet to intranet.", {
                fresh().with_entry(keys, &keys.internet, |entry| entry.crossing = Crossing::ExtranetToIntranet).bytes()
            }),
            ("custody-by-another-node", "disagree", "The only entry is by the extranet's node, validly signed.", {
                fresh().with_entry(keys, &keys.extranet, |entry| entry.node = name("extranet")).bytes()
            }),
            (
                "custody-signed-by-another",
                "wrong-signer custody entry",
                "The entry names the internet's node and is signed by the extranet's.",
                { fresh().with_entry(keys, &keys.extranet, |_| {}).bytes() },
            ),
            (
                "custody-not-from-the-origin",
                "disagree",
                "The chain begins with the second node; the source's own entry follows.",
                {
                    let statement = good.read().signed_statement().unwrap();
                    let mut first = keys.entry(&statement, statement.digest());
                    first.node = name("extranet");
                    let first = Signed::make(&keys.extranet, &first);
                    let second = Signed::make(&keys.internet, &keys.entry(&statement, first.digest()));
                    let custody = [first, second].map(|entry| octets(entry.to_bytes())).to_vec();
                    fresh().with_envelope(keys, |envelope| envelope.custody = custody).bytes()
                },
            ),
            (
                "custody-too-long",
                "over-limit number of custody entries",
                "Nine entries, each validly signed and chained.",
                {
                    let statement = good.read().signed_statement().unwrap();
                    let mut last = statement.digest();
                    let chain = (0..=CUSTODY_MAX).map(|_| {
                        let entry = Signed::make(&keys.internet, &keys.entry(&statement, last));
                        last = entry.digest();
                        octets(entry.to_bytes())
                    });
                    let custody: Vec<OctetString> = chain.collect();
                    fresh().with_envelope(keys, |envelope| envelope.custody = custody).bytes()
                },
            ),
        ];
        list.push(match keys.suite {
            Suite::Std => (
                "signature-not-reduced",
                "bad-signature footer",
                "The order of the group was added to the footer's scalar.",
                {
                    fresh()
                        .with_footer(|signed| {
                            signed.signature = octets(with_the_order_added(signed.signature.as_bytes()))
                        })
                        .bytes()
                },
            ),
            Suite::Gm => (
                "signature-not-canonical",
                "bad-signature footer",
                "The first number of the footer's signature has a needless zero.",
                {
                    fresh()
                        .with_footer(|signed| {
                            signed.signature = octets(with_a_needless_zero(signed.signature.as_bytes()))
                        })
                        .bytes()
                },
            ),
        });
        if keys.suite == Suite::Gm {
            // SM2 keys of both uses have one form: the card alone says what a key may do.
            let sealing = SigningKey::from_pem(&key_text(Suite::Gm, "extranet", Use::Seal).unwrap(), None).unwrap();
            let bytes = fresh().with_statement(keys, &sealing, &keys.statement()).bytes();
            list.push((
                "statement-by-a-sealing-key",
                "wrong-signer parcel statement",
                "A key that is sealed to signed the statement.",
                bytes,
            ));
        }
        list
    }

    #[test]
    fn write_what_is_absent_when_asked_to() {
        if std::env::var_os("TRILOCK_WRITE_VECTORS").is_none() {
            return;
        }
        for inside in ["keys", "trust"] {
            fs::create_dir_all(folder().join(inside)).unwrap();
        }
        let both = Suite::ALL.map(Keys::new);
        for keys in &both {
            let bundles =
                broken(keys).into_iter().map(|(name, expect, comment, bytes)| (name, "", expect, comment, bytes));
            for (name, kind, expect, comment, bytes) in bundles.chain(papers::list(keys)) {
                let path = folder().join(format!("{}-{name}.vector", keys.suite));
                let body = Base64::encode_string(&bytes);
                let lines: Vec<&str> =
                    (0..body.len()).step_by(100).map(|at| &body[at..body.len().min(at + 100)]).collect();
                let opens = if name == "ok-second-hop" { "opens-for: intranet\n" } else { "" };
                let kind = if kind.is_empty() { String::new() } else { format!("kind: {kind}\n") };
                let text = format!(
                    "expect: {expect}\nsuite: {}\n{kind}{opens}comment: {comment}\n\n{}\n",
                    keys.suite,
                    lines.join("\n")
                );
                if !path.exists() {
                    fs::write(path, text).unwrap();
                }
            }
        }
    }
}
