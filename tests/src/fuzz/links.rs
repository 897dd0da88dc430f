//! What comes in over a wire: frames, blocks and plans of the one-way link, beacons, frames of the exchange.

use protocol::aead::{Aead, fresh_key};
use protocol::der_types::Octets;
use protocol::exchange::{self, FRAME_HEAD_BYTES, FrameHead, Hello, Item};
use protocol::oneway::beacon::{self, BEACON_BYTES_MAX};
use protocol::oneway::block::{self, Kind, Piece};
use protocol::oneway::frame::{Header, Unchecked};
use protocol::oneway::{Beacon, Block, BlockId, Geometry, Plan};
use protocol::parcel::Priority;
use protocol::{Crossing, Suite, Zone};

use super::bundles::Samples;
use super::{Target, name, vectors};

pub(super) fn beacons() -> Vec<Target> {
    Suite::ALL.into_iter().map(beacon_of).collect()
}

fn beacon_of(suite: Suite) -> Target {
    let world = Samples::new(suite);
    let secret = fresh_key(suite);
    let key = Aead::new(suite, &secret).unwrap();
    let what = (Crossing::ExtranetToIntranet, suite, 3);
    let signed = world.introduction(&secret).sign(world.signing());
    let sample = beacon::seal(what, 12, &signed, &world.pulse(), &key).unwrap();
    Target::new(format!("beacon {suite}"), 60_000, vec![sample], move |bytes| {
        let Ok(read) = Beacon::parse(bytes) else { return false };
        assert!(bytes.len() <= BEACON_BYTES_MAX);
        if let Ok(pulse) = read.check(&key) {
            let what = (read.crossing, read.suite, read.epoch);
            assert_eq!(beacon::seal(what, read.sequence, read.introduction, &pulse, &key).unwrap(), bytes);
        }
        true
    })
}

pub(super) fn one_way() -> Vec<Target> {
    Suite::ALL.into_iter().flat_map(one_way_of).collect()
}

const ID: BlockId = BlockId { epoch: 3, number: 9 };

fn pieces() -> Vec<Piece> {
    let piece = |n: u8, offset, length| Piece {
        entry: Octets([n; 16]),
        kind: Kind::Bundle,
        epoch: 1,
        sequence: u64::from(n),
        entry_bytes: 500,
        offset,
        length,
    };
    vec![piece(1, 0, 500), piece(2, 100, 300)]
}

fn one_way_of(suite: Suite) -> [Target; 3] {
    let key = Aead::new(suite, &fresh_key(suite)).unwrap();
    let bytes = block::assemble::<()>(suite, ID, &pieces(), |_, out| {
        out.fill(7);
        Ok(())
    })
    .unwrap();
    let geometry = Geometry::of_block(u32::try_from(bytes.len()).unwrap(), 128, 30).unwrap();
    let head = block::digest_head(&bytes);
    let header = Header {
        suite,
        crossing: Crossing::ExtranetToIntranet,
        link_epoch: 3,
        link_sequence: 41,
        block: ID,
        geometry,
        index: 1,
        digest_head: head,
    };
    let mut frame = Vec::new();
    header.seal(&key, &bytes[..128], &mut frame);
    let sample = frame.clone();
    let frame = Target::new(format!("one-way frame {suite}"), 500_000, vec![sample], move |mutant| {
        let Ok(read) = Unchecked::parse(mutant) else { return false };
        if let Ok(symbol) = read.check(&key) {
            let mut again = Vec::new();
            read.header.seal(&key, symbol, &mut again);
            assert_eq!(again, mutant);
            assert_eq!(mutant, frame, "a changed frame passes its tag");
        }
        true
    });
    let sample = bytes.clone();
    let block = Target::new(format!("one-way block {suite}"), 100_000, vec![sample], move |mutant| {
        // The digest is computed anew, so that the directory behind it is reached.
        let body = mutant.get(..mutant.len().saturating_sub(32)).unwrap_or_default();
        let _refused = Block::open(suite, ID, &head, mutant.to_vec());
        let _refused = Plan::parse(body);
        Block::open(suite, ID, &block::digest_head(mutant), mutant.to_vec()).is_ok_and(|read| {
            assert_eq!(mutant, bytes, "a changed block has a right digest");
            read.pieces().count() == read.directory().len()
        })
    });
    let plan = Plan { id: ID, geometry, pieces: pieces() };
    let plan = Target::new(format!("plan {suite}"), 400_000, vec![plan.to_bytes()], |mutant| {
        let Some(read) = Plan::parse(mutant) else { return false };
        assert_eq!(read.to_bytes(), mutant, "one encoding");
        true
    });
    [frame, block, plan]
}

pub(super) fn exchange() -> Vec<Target> {
    let hello = Hello {
        version: exchange::EXCHANGE_VERSION,
        zone: Zone::Extranet,
        out: Crossing::ExtranetToInternet,
        back: Crossing::InternetToExtranet,
        in_flight: 8,
        process: 0x0123_4567,
        node: name("extranet"),
    };
    let item = Item {
        id: Octets([9; 16]),
        kind: exchange::Kind::Bundle,
        priority: Priority::Urgent,
        epoch: 1,
        sequence: 2,
        size: 1 << 40,
    };
    let frames = [
        exchange::Frame::Hello(hello),
        exchange::Frame::Offer(item),
        exchange::Frame::Want { offset: 1 << 33 },
        exchange::Frame::Chunk { offset: 5, bytes: b"some bytes" },
        exchange::Frame::Have,
        exchange::Frame::Stored,
        exchange::Frame::Later { seconds: 30 },
    ];
    let samples = frames.iter().map(exchange::Frame::encode).collect();
    let frame = Target::new("exchange frame", 1_500_000, samples, |bytes| {
        let Some((head, body)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else { return false };
        let Ok(head) = FrameHead::decode(*head) else { return false };
        let Some(body) = body.get(..head.body_bytes()) else { return false };
        let Ok(frame) = exchange::Frame::decode(head, body) else { return false };
        assert_eq!(frame.encode(), bytes[..FRAME_HEAD_BYTES + body.len()], "one encoding");
        true
    });
    vec![frame.beside(vectors("exchange frame"))]
}
