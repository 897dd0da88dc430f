//! The node of the internal zone. Things come in by the one-way wire; they go out on a medium that a person carries.
//! Nothing in this program can open a connection to another zone.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

use protocol::{Crossing, Zone};
use serde::Deserialize;
use station::alarm::Alarm;
use station::commands::{self, LineAnswer, LineTest, Links};
use station::config::{Carrier, Fault, PeerSettings};
use station::service::Stop;
use station::station::Station;

mod line_words;

/// A beacon that is older says nothing about this moment's clocks.
const BEACON_FRESH_MS: u64 = 5_000;

/// `[link]` of this zone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntranetLinks {
    /// The receiving end of the light gate.
    diode: Option<diode_link::ReceiverSettings>,
    /// A purchased gate that moves files.
    folder: Option<folder_link::Settings>,
}

impl Links for IntranetLinks {
    fn faults(&self, _zone: Zone, peers: &[PeerSettings]) -> Vec<Fault> {
        let mut faults = Vec::new();
        faults.extend(Fault::unless_present(peers, Carrier::Diode, self.diode.is_some(), "link.diode"));
        let ways = self.folder.as_ref().map(|folder| [folder.outgoing.is_some(), folder.incoming.is_some()]);
        faults.extend(Fault::of_directories(peers, Carrier::Folder, "link.folder", ways));
        faults.extend(Fault::of("link.diode", self.diode.as_ref().and_then(|diode| diode.check().err())));
        faults.extend(Fault::of("link.folder", self.folder.as_ref().and_then(|folder| folder.check().err())));
        faults
    }

    fn look(&self, peers: &[PeerSettings]) -> (Vec<Fault>, Vec<String>) {
        let used = self.folder.iter().filter(|_| peers.iter().any(|peer| peer.uses(Carrier::Folder)));
        let found = used.flat_map(|folder| folder.look());
        Fault::found("link.folder", found.map(|one| (one.setting, one.what, one.remedy, one.stops)))
    }

    fn start(&self, station: &Arc<Station>, stop: &Stop, threads: &mut Vec<JoinHandle<()>>) -> std::io::Result<()> {
        if let Some(settings) = &self.diode {
            for peer in station.peers.iter().filter(|peer| peer.receive == Carrier::Diode) {
                let ends = diode_link::Stop::new();
                let link = diode_link::Link {
                    spool: station.spool.clone(),
                    crossing: Crossing::ExtranetToIntranet,
                    suite: station.suite,
                    key: station.keyring.signing.clone(),
                    peer: peer.name.clone(),
                    trust: Arc::clone(&station.trust),
                    // Asked by senders alone.
                    wall: Arc::new(|| None),
                    opening: station.keyring.opening_keys().cloned().collect(),
                };
                let mut receiving = diode_link::receive(link, settings.clone(), ends.clone())?;
                threads.append(&mut receiving.threads);
                let receiving = Arc::new(receiving);
                let [heard, silent, doubled, small] = std::array::from_fn(|_| Arc::clone(&receiving));
                station.watch(Alarm::LinkSilent, move || silent.status().silent);
                station.watch(Alarm::LinkTwoSenders, move || doubled.status().two_senders);
                station.watch(Alarm::LinkBuffer, move || small.status().small_buffer);
                station.watch_count(Alarm::LinkDrops, move || receiving.status().kernel_drops);
                // A beacon comes every second, tagged by its sender, whose clock may vouch for ours.
                station.listen(move || {
                    let status = heard.status();
                    (status.epoch != 0 && status.last_beacon_age_ms < BEACON_FRESH_MS).then_some(status.skew_ms)
                });
                stop.also(move || ends.raise());
            }
        }
        if let Some(settings) = &self.folder {
            folder(station, settings, stop, threads)?;
        }
        Ok(())
    }

    fn line_test(&self, asked: LineTest) -> Option<std::io::Result<LineAnswer>> {
        let heard = diode_link::LineEar::open(self.diode.as_ref()?).and_then(|ear| ear.hear(asked.wait));
        Some(heard.and_then(|report| {
            LineAnswer::new(report.good, &report, line_words::english(&report), line_words::chinese(&report))
        }))
    }
}

fn folder(
    station: &Arc<Station>,
    settings: &folder_link::Settings,
    stop: &Stop,
    threads: &mut Vec<JoinHandle<()>>,
) -> std::io::Result<()> {
    for peer in station.peers.iter().filter(|peer| peer.uses(Carrier::Folder)) {
        let ends = folder_link::Stop::new();
        let link = folder_link::Link {
            spool: station.spool.clone(),
            outbound: Crossing::between(station.zone, peer.zone).filter(|_| peer.send == Carrier::Folder),
            inbound: Crossing::between(peer.zone, station.zone).filter(|_| peer.receive == Carrier::Folder),
            key: station.keyring.signing.clone(),
            peer: peer.name.clone(),
            trust: Arc::clone(&station.trust),
        };
        let mut running = folder_link::start(&link, settings, &ends)?;
        threads.append(&mut running.threads);
        let running = Arc::new(running);
        for trouble in folder_link::Trouble::ALL {
            let running = Arc::clone(&running);
            station.watch_code(trouble.code(), move || running.count(trouble));
        }
        stop.also(move || ends.raise());
    }
    Ok(())
}

fn main() -> ExitCode {
    commands::main::<IntranetLinks>(Zone::Intranet)
}
