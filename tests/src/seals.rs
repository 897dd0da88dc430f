//! A sender and a receiver of parcels, with no node around them: keys, trust and papers, so that sealing, verifying and
//! opening can be measured, fuzzed and held against others by themselves.

use std::io::{self, Read, Write};

use protocol::bundle::{self, SealPlan, Sealed, Sink};
use protocol::der_types::Octets;
use protocol::id::new_id;
use protocol::keys::{OpeningKey, SigningKey};
use protocol::parcel::{CustodyEntry, FileEntry, Manifest, ParcelStatement, Priority, VERSION};
use protocol::tree;
use protocol::trust::{KeyCard, Role, Use};
use protocol::{Crossing, Digest, Name, Signed, Suite, Timestamp, Trust, Verdict, Zone};

/// The keys of both ends.
pub struct Seals {
    suite: Suite,
    signing: SigningKey,
    opening: OpeningKey,
    card: String,
    trust: Trust,
}

/// What inspection knows of a parcel's one file.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Their tree digest.
    pub digest: Digest,
}

impl Content {
    /// Reads a file as inspection does, for its digest.
    pub fn inspect(suite: Suite, input: &mut impl Read) -> io::Result<Content> {
        tree::root_of_reader(suite, input).map(|(size, digest)| Content { size, digest })
    }
}

fn name(text: &str) -> io::Result<Name> {
    Name::new(text).map_err(io::Error::other)
}

impl Seals {
    /// With fresh keys.
    pub fn new(suite: Suite) -> io::Result<Seals> {
        let (signing, opening) = (SigningKey::generate(suite), OpeningKey::generate(suite));
        let card = KeyCard {
            zone: Zone::Internet,
            holder: name("internet")?,
            role: Role::Node,
            usage: Use::Sign,
            suite,
            from: "2026-11-21".to_owned(),
            until: None,
            spki: signing.public().to_spki(),
        };
        let mut trust = Trust::default();
        let card = card.to_text();
        trust.add("internet.pem", &card).map_err(io::Error::other)?;
        Ok(Seals { suite, signing, opening, card, trust })
    }

    /// The suite of its keys.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The sender's key card, for a trust directory.
    #[must_use]
    pub fn card(&self) -> &str {
        &self.card
    }

    /// What the sender signs with.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// What the receiver opens with.
    #[must_use]
    pub fn opening(&self) -> &OpeningKey {
        &self.opening
    }

    /// Whom the receiver believes: the sender.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// States, takes custody of, and seals a parcel of this content. Its number tells it from others.
    pub fn seal(&self, number: u64, content: Content, input: impl Read, out: &mut impl Write) -> io::Result<()> {
        let file = FileEntry {
            path: "a".to_owned(),
            original: None,
            size: content.size,
            digest: content.digest,
            executable: false,
            modified_s: 0,
        };
        let manifest = Manifest {
            salt: Octets([1; 32]),
            version: VERSION,
            name: "a".to_owned(),
            folder: false,
            files: vec![file],
            labels: Vec::new(),
        };
        let mut input = Some(input);
        let once = |_| input.take().ok_or_else(|| io::Error::other("a parcel of one file has one file"));
        self.seal_all(number, &manifest, once, out).map(|_| ())
    }

    /// The same of any parcel; gives its statement and what stays of it as evidence.
    pub fn seal_all<R: Read>(
        &self,
        number: u64,
        manifest: &Manifest,
        read: impl FnMut(usize) -> io::Result<R>,
        out: &mut impl Write,
    ) -> io::Result<(Signed, Sealed)> {
        let random = |kind| {
            let mut random = [kind; 10];
            random[2..].copy_from_slice(&number.to_be_bytes());
            random
        };
        let (node, target) = (name("internet")?, name("extranet")?);
        let statement = ParcelStatement {
            version: VERSION,
            parcel: new_id(Timestamp(1), random(1)),
            origin: node.clone(),
            route: name("applications")?,
            target: target.clone(),
            parcel_type: name("application")?,
            priority: Priority::Normal,
            accepted: Timestamp(1),
            manifest: self.suite.digest(&manifest.to_bytes()),
        };
        let statement = Signed::make(&self.signing, &statement);
        let entry = CustodyEntry {
            version: VERSION,
            statement: statement.digest(),
            previous: statement.digest(),
            node: node.clone(),
            crossing: Crossing::InternetToExtranet,
            rules: "2026-11-21.1".to_owned(),
            verdict: Verdict::Released,
            at: Timestamp(2),
        };
        let plan = SealPlan {
            bundle: new_id(Timestamp(2), random(2)),
            crossing: Crossing::InternetToExtranet,
            epoch: 1,
            sequence: number + 1,
            source: &node,
            target: &target,
            priority: Priority::Normal,
            now: Timestamp(3),
            key: &self.signing,
            recipient: &self.opening.public(),
            keeper: &self.opening.public(),
            statement: &statement,
            custody: &[Signed::make(&self.signing, &entry)],
            manifest,
        };
        let sealed = bundle::seal(&plan, out, read).map_err(io::Error::other)?;
        Ok((statement, sealed))
    }

    /// Verifies with public keys alone.
    pub fn verify(&self, input: &mut impl Read) -> io::Result<()> {
        bundle::verify(input, &self.trust).map(|_| ()).map_err(io::Error::other)
    }

    /// Opens, and writes the file out.
    pub fn open(&self, input: &mut impl Read, out: &mut dyn Write) -> io::Result<()> {
        bundle::open(input, &self.trust, &self.opening, &mut One(out)).map(|_| ()).map_err(io::Error::other)
    }
}

/// Where the one file goes.
struct One<'a>(&'a mut dyn Write);

impl Sink for One<'_> {
    fn manifest(&mut self, _: &Manifest) -> io::Result<()> {
        Ok(())
    }
    fn begin(&mut self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn end(&mut self, _: usize) -> io::Result<()> {
        self.0.flush()
    }
}
