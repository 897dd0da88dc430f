//! Bundles, their parts and what is left of them; backups; keys and what is wrapped to them.

use std::io::Write as _;

use protocol::aead::fresh_key;
use protocol::backup::{self, BackupFoot, BackupHead, BackupPlan, BackupWriter};
use protocol::bundle;
use protocol::der_types::Octets;
use protocol::envelope::Envelope;
use protocol::evidence::Evidence;
use protocol::keys::{OpeningKey, SealingKey, SigningKey, VerifyingKey};
use protocol::oneway::{Introduction, NextNumber, Pulse};
use protocol::parcel::{FileEntry, Label, Manifest, ParcelStatement, VERSION};
use protocol::tree::root_of;
use protocol::{Crossing, Signed, Suite, Timestamp, Trust};

use super::papers::{self, head, receipt};
use super::{Target, both, name, octets, vectors};
use crate::seals::Seals;

/// Keys, and one of every paper, in one suite.
pub(super) struct Samples {
    pub seals: Seals,
    pub statement: Signed,
    pub manifest: Manifest,
    pub bundle: Vec<u8>,
    pub evidence: Evidence,
}

const FILES: [(&str, &[u8]); 2] = [("form.json", b"{}"), ("scans/1.txt", b"page one")];

impl Samples {
    pub(super) fn new(suite: Suite) -> Samples {
        let seals = Seals::new(suite).unwrap();
        let files = FILES.iter().map(|(path, bytes)| FileEntry {
            path: (*path).to_owned(),
            original: Some(octets(vec![0xc0, 0xba])),
            size: bytes.len() as u64,
            digest: root_of(suite, bytes),
            executable: false,
            modified_s: 1_700_000_000,
        });
        let manifest = Manifest {
            salt: Octets([7; 32]),
            version: VERSION,
            name: "案卷-1".to_owned(),
            folder: true,
            files: files.collect(),
            labels: vec![Label { name: name("area-code"), value: "652901".to_owned() }],
        };
        let mut bundle = Vec::new();
        let (statement, sealed) = seals.seal_all(0, &manifest, |index| Ok(FILES[index].1), &mut bundle).unwrap();
        let parcel = statement.read_unverified::<ParcelStatement>().unwrap().parcel;
        let receipts = vec![Signed::make(seals.signing(), &receipt(parcel, statement.digest())).to_bytes()];
        let evidence = Evidence { envelope: sealed.envelope, footer: sealed.footer, receipts };
        Samples { seals, statement, manifest, bundle, evidence }
    }

    pub(super) fn suite(&self) -> Suite {
        self.seals.suite()
    }

    pub(super) fn trust(&self) -> &Trust {
        self.seals.trust()
    }

    pub(super) fn signing(&self) -> &SigningKey {
        self.seals.signing()
    }

    pub(super) fn opening(&self) -> &OpeningKey {
        self.seals.opening()
    }

    pub(super) fn pulse(&self) -> Pulse {
        let next = vec![NextNumber { epoch: 1, next: 40 }, NextNumber { epoch: 2, next: 1 }];
        Pulse { at: Timestamp(1_795_305_600_000), next, head: head() }
    }

    pub(super) fn introduction(&self, secret: &[u8]) -> Introduction {
        let what = (Crossing::ExtranetToIntranet, self.suite(), 3);
        Introduction::make(what, (&name("extranet"), &name("intranet")), Timestamp(9), secret, &self.opening().public())
            .unwrap()
    }
}

pub(super) fn bundles() -> Vec<Target> {
    let worlds = both();
    let of = |part: fn(&Samples) -> Vec<u8>| worlds.iter().map(part).collect::<Vec<_>>();
    let seen = worlds.clone();
    let bundle = Target::new("bundle", 12_000, of(|world| world.bundle.clone()), move |bytes| {
        let peeked = bundle::peek(&mut &*bytes).is_ok();
        for world in seen.iter() {
            if bundle::verify(&mut &*bytes, world.trust()).is_ok() {
                assert!(peeked && *bytes == world.bundle[..], "a changed bundle verifies");
            }
        }
        peeked
    });
    let seen = worlds.clone();
    let envelope = Target::new("envelope", 30_000, of(|world| world.evidence.envelope.clone()), move |bytes| {
        let Ok(envelope) = Envelope::parse(bytes) else { return false };
        assert_eq!(envelope.to_bytes(), bytes, "one encoding");
        let _unproven = (envelope.prove(seen[0].trust()), envelope.signed_custody());
        true
    });
    let seen = worlds.clone();
    let evidence = Target::new("evidence", 20_000, of(|world| world.evidence.to_bytes()), move |bytes| {
        let Ok(read) = Evidence::parse(bytes) else { return false };
        assert_eq!(read.to_bytes(), bytes, "one encoding");
        for world in seen.iter().filter(|world| read.prove(world.trust()).is_ok()) {
            // The list of receipts is no part of what is signed: one that is missing proves nothing wrong.
            assert!(read.envelope == world.evidence.envelope && read.footer == world.evidence.footer, "{bytes:?}");
        }
        true
    });
    let manifest = Target::new("manifest", 200_000, of(|world| world.manifest.to_bytes()), |bytes| {
        let Ok(manifest) = Manifest::parse(bytes) else { return false };
        assert_eq!(manifest.to_bytes(), bytes, "one encoding");
        true
    });
    vec![bundle.beside(vectors("bundle")), envelope, evidence.beside(vectors("evidence")), manifest]
}

pub(super) fn backups() -> Vec<Target> {
    let worlds = both();
    let make = |world: &Samples| {
        let plan = BackupPlan {
            id: Octets([6; 16]),
            node: &name("internet"),
            at: Timestamp(7),
            state_version: 2,
            ledger: head(),
            key: &world.signing().clone().into(),
            recipient: &world.opening().public(),
        };
        let mut writer = BackupWriter::begin(&plan, Vec::new()).unwrap();
        writer.write_all(b"an archive of some bytes").unwrap();
        writer.finish().unwrap().0
    };
    let samples: Vec<Vec<u8>> = worlds.iter().map(make).collect();
    let known = samples.clone();
    let backup = Target::new("backup", 12_000, samples, move |bytes| {
        let held = worlds.iter().any(|world| backup::verify(&mut &*bytes, world.trust()).is_ok());
        assert!(!held || known.iter().any(|sample| sample == bytes), "a changed backup verifies");
        held
    });
    let head = papers::of(|world| BackupHead {
        version: VERSION,
        suite: world.suite(),
        id: Octets([6; 16]),
        node: name("internet"),
        at: Timestamp(7),
        state_version: 2,
        ledger: head(),
        recipient: world.opening().public().id(),
        wrapped_key: octets(world.opening().public().wrap_key(&fresh_key(world.suite()), b"context").unwrap()),
    });
    let foot = papers::of(|world| BackupFoot {
        version: VERSION,
        head: world.statement.digest(),
        root: world.statement.digest(),
        bytes: 65_552,
    });
    [backup.beside(vectors("backup"))].into_iter().chain(head).chain(foot).collect()
}

pub(super) fn keys() -> Vec<Target> {
    Suite::ALL.into_iter().flat_map(keys_of).collect()
}

fn keys_of(suite: Suite) -> [Target; 4] {
    let seals = Seals::new(suite).unwrap();
    let spki = seals.signing().public().to_spki();
    let public = Target::new(format!("public key {suite}"), 20_000, vec![spki], |bytes| {
        let Ok(key) = VerifyingKey::from_spki(bytes) else { return false };
        assert_eq!(key.to_spki(), bytes, "one encoding");
        true
    });
    let spki = seals.opening().public().to_spki();
    let sealing = Target::new(format!("sealing key {suite}"), 20_000, vec![spki], |bytes| {
        let Ok(key) = SealingKey::from_spki(bytes) else { return false };
        assert_eq!(key.to_spki(), bytes, "one encoding");
        true
    });
    let pem = [seals.signing().to_pem(None).unwrap(), seals.opening().to_pem(None).unwrap()];
    let pem = pem.iter().map(|pem| pem.as_bytes().to_vec()).collect();
    let private = Target::new(format!("private key {suite}"), 10_000, pem, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        SigningKey::from_pem(&text, None).is_ok() | OpeningKey::from_pem(&text, None).is_ok()
    });
    let secret = fresh_key(suite);
    let wrapped = seals.opening().public().wrap_key(&secret, b"context").unwrap();
    let sample = wrapped.clone();
    let wrap = Target::new(format!("wrapped key {suite}"), 4_000, vec![sample], move |bytes| {
        let Ok(opened) = seals.opening().unwrap_key(bytes, b"context") else { return false };
        assert!(*opened == *secret && bytes == wrapped, "a changed wrap opens");
        true
    });
    [public, sealing, private, wrap]
}
