//! A bundle from seal to proof, and every way to break one.
#![cfg(feature = "open")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use protocol::bundle::{self, BundleError, SealPlan, Sealed, Sink};
use protocol::evidence::Evidence;
use protocol::id::new_id;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::parcel::{CustodyEntry, FileEntry, Manifest, ParcelStatement, Priority, VERSION};
use protocol::tree::root_of;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Name, Signed, Suite, Timestamp, Trust, Verdict, Zone};

struct World {
    trust: Trust,
    internet: SigningKey,
    extranet: OpeningKey,
    keeper: OpeningKey,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn world(suite: Suite) -> World {
    let internet = SigningKey::generate(suite);
    let mut trust = Trust::default();
    let card = KeyCard {
        zone: Zone::Internet,
        holder: name("internet"),
        role: Role::Node,
        usage: Use::Sign,
        suite,
        from: "2026-11-21".to_owned(),
        until: None,
        spki: internet.public().to_spki(),
    };
    trust.add("internet.pem", &card.to_text()).unwrap();
    World { trust, internet, extranet: OpeningKey::generate(suite), keeper: OpeningKey::generate(suite) }
}

fn seal(world: &World, files: &[(&str, &[u8])], shown: &[&[u8]]) -> Result<(Vec<u8>, Sealed), BundleError> {
    let suite = world.internet.suite();
    let manifest = Manifest {
        salt: protocol::der_types::Octets([7; 32]),
        version: VERSION,
        name: "case-1".to_owned(),
        folder: true,
        files: files
            .iter()
            .map(|(path, bytes)| FileEntry {
                path: (*path).to_owned(),
                original: None,
                size: bytes.len() as u64,
                digest: root_of(suite, bytes),
                executable: false,
                modified_s: 1_700_000_000,
            })
            .collect(),
        labels: Vec::new(),
    };
    let statement = Signed::make(
        &world.internet,
        &ParcelStatement {
            version: VERSION,
            parcel: new_id(Timestamp(1), [1; 10]),
            origin: name("internet"),
            route: name("applications"),
            target: name("extranet"),
            parcel_type: name("application"),
            priority: Priority::Normal,
            accepted: Timestamp(1),
            manifest: suite.digest(&manifest.to_bytes()),
        },
    );
    let entry = Signed::make(
        &world.internet,
        &CustodyEntry {
            version: VERSION,
            statement: statement.digest(),
            previous: statement.digest(),
            node: name("internet"),
            crossing: Crossing::InternetToExtranet,
            rules: "2026-11-21.1".to_owned(),
            verdict: Verdict::Released,
            at: Timestamp(2),
        },
    );
    let mut out = Vec::new();
    let plan = SealPlan {
        bundle: new_id(Timestamp(2), [2; 10]),
        crossing: Crossing::InternetToExtranet,
        epoch: 1,
        sequence: 1,
        source: &name("internet"),
        target: &name("extranet"),
        priority: Priority::Normal,
        now: Timestamp(3),
        key: &world.internet,
        recipient: &world.extranet.public(),
        keeper: &world.keeper.public(),
        statement: &statement,
        custody: std::slice::from_ref(&entry),
        manifest: &manifest,
    };
    let sealed = bundle::seal(&plan, &mut out, |index| Ok(shown[index]))?;
    Ok((out, sealed))
}

#[derive(Default)]
struct Memory {
    files: Vec<Vec<u8>>,
}

impl Sink for Memory {
    fn manifest(&mut self, _: &Manifest) -> io::Result<()> {
        Ok(())
    }
    fn begin(&mut self, _: usize) -> io::Result<()> {
        self.files.push(Vec::new());
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.files.last_mut().unwrap().extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self, _: usize) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_was_sealed_is_what_is_opened_at_every_size_around_a_chunk() {
    for suite in Suite::ALL {
        let world = world(suite);
        for size in [0, 1, 65_000, 65_536 - 300, 65_535, 65_536, 65_537, 131_072, 200_000] {
            let big: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
            let files: [(&str, &[u8]); 3] = [("a.txt", b"hello"), ("scans/1.jpg", &big), ("empty", b"")];
            let (bytes, sealed) = seal(&world, &files, &[b"hello", &big, b""]).unwrap();
            assert_eq!(bytes.len() as u64, sealed.bytes);
            let verified = bundle::verify(&mut bytes.as_slice(), &world.trust).unwrap();
            assert_eq!(verified.custody.statement.target, name("extranet"));
            let mut memory = Memory::default();
            let opened = bundle::open(&mut bytes.as_slice(), &world.trust, &world.extranet, &mut memory).unwrap();
            assert_eq!(opened.manifest.files.len(), 3);
            assert_eq!(memory.files, [b"hello".to_vec(), big, Vec::new()]);
        }
    }
}

#[test]
fn every_byte_of_a_bundle_counts() {
    for suite in Suite::ALL {
        let world = world(suite);
        let (bytes, _) = seal(&world, &[("a", b"some words")], &[b"some words"]).unwrap();
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x20;
            assert!(
                bundle::verify(&mut broken.as_slice(), &world.trust).is_err(),
                "{suite}: byte {at} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn a_bundle_cut_anywhere_or_with_a_tail_is_refused() {
    let world = world(Suite::Std);
    let (bytes, _) = seal(&world, &[("a", b"some words")], &[b"some words"]).unwrap();
    for end in 0..bytes.len() {
        assert!(bundle::verify(&mut &bytes[..end], &world.trust).is_err(), "cut at {end}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(bundle::verify(&mut longer.as_slice(), &world.trust), Err(BundleError::Trailing)));
}

#[test]
fn a_file_that_changed_after_inspection_is_never_sealed() {
    let world = world(Suite::Std);
    for shown in [b"other words".as_slice(), b"some wordz", b"some"] {
        assert!(matches!(
            seal(&world, &[("a", b"some words")], &[shown]),
            Err(BundleError::FileDiffers { index: 0, .. })
        ));
    }
}

/// Large enough that threads compute its trees; small files and pieces that are not whole among it.
#[test]
fn a_large_parcel_is_sealed_by_threads_as_a_small_one_without() {
    let large: Vec<u8> = (0..(5 << 20) + 4_711).map(|i: u32| (i % 253) as u8).collect();
    let [exact, more, small] = [&large[..4 << 20], &large[..(1 << 20) + 1], &large[..1 << 20]];
    for suite in Suite::ALL {
        let world = world(suite);
        let files: [(&str, &[u8]); 6] =
            [("a", b"hello"), ("b", &large), ("c", b""), ("d", exact), ("e", more), ("f", small)];
        let shown = files.map(|(_, bytes)| bytes);
        let (bytes, _) = seal(&world, &files, &shown).unwrap();
        bundle::verify(&mut bytes.as_slice(), &world.trust).unwrap();
        let mut memory = Memory::default();
        bundle::open(&mut bytes.as_slice(), &world.trust, &world.extranet, &mut memory).unwrap();
        assert!(memory.files.iter().eq(shown), "{suite}");
        for (index, at) in [(1, 0), (1, (3 << 20) + 9), (1, large.len() - 1), (3, 5), (4, 1 << 20)] {
            let mut changed = files[index].1.to_vec();
            changed[at] ^= 1;
            let [grown, shrunk] = [[&changed[..], b"."].concat(), changed[..changed.len() - 1].to_vec()];
            for other in [changed, grown, shrunk] {
                let mut shown = shown;
                shown[index] = &other;
                let refused = seal(&world, &files, &shown);
                assert!(matches!(refused, Err(BundleError::FileDiffers { index: found, .. }) if found == index));
            }
        }
    }
}

#[test]
fn only_its_recipient_opens_it() {
    let world = world(Suite::Gm);
    let (bytes, _) = seal(&world, &[("a", b"x")], &[b"x"]).unwrap();
    let stranger = OpeningKey::generate(Suite::Gm);
    let opened = bundle::open(&mut bytes.as_slice(), &world.trust, &stranger, &mut Memory::default());
    assert!(matches!(opened, Err(BundleError::OtherRecipient { .. })));
}

#[test]
fn evidence_proves_the_journey_without_the_content() {
    let world = world(Suite::Gm);
    let (_, sealed) = seal(&world, &[("a", b"x")], &[b"x"]).unwrap();
    let evidence = Evidence { envelope: sealed.envelope, footer: sealed.footer, receipts: Vec::new() };
    let bytes = evidence.to_bytes();
    let read = Evidence::parse(&bytes).unwrap();
    assert_eq!(read, evidence);
    assert_eq!(read.prove(&world.trust).unwrap().custody.entries.len(), 1);
    for at in 8..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1;
        assert!(Evidence::parse(&broken).and_then(|e| e.prove(&world.trust)).is_err(), "byte {at}");
    }
}

#[test]
fn an_unknown_signer_is_named() {
    let world = world(Suite::Std);
    let (bytes, _) = seal(&world, &[("a", b"x")], &[b"x"]).unwrap();
    let error = bundle::verify(&mut bytes.as_slice(), &Trust::default()).unwrap_err();
    assert!(error.to_string().contains("on no card"), "{error}");
}
