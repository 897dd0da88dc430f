//! The node of the e-government extranet zone: between the gateway to the internet, the one-way wire to the internal
//! zone, and the ferry that comes back from there.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use protocol::{Crossing, Zone};
use serde::Deserialize;
use station::alarm::Alarm;
use station::commands::{self, Links};
use station::config::{Carrier, Fault, PeerSettings};
use station::sealing;
use station::service::Stop;
use station::station::Station;

/// `[link]` of this zone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtranetLinks {
    /// The gateway.
    quic: Option<quic_link::Settings>,
    /// The sending end of the light gate.
    diode: Option<diode_link::SenderSettings>,
    /// A purchased gate that moves files.
    folder: Option<folder_link::Settings>,
}

impl Links for ExtranetLinks {
    fn faults(&self, _zone: Zone, peers: &[PeerSettings]) -> Vec<Fault> {
        let mut faults = Vec::new();
        faults.extend(Fault::unless_present(peers, Carrier::Quic, self.quic.is_some(), "link.quic"));
        faults.extend(Fault::unless_present(peers, Carrier::Diode, self.diode.is_some(), "link.diode"));
        faults.extend(Fault::unless_present(peers, Carrier::Folder, self.folder.is_some(), "link.folder"));
        faults.extend(Fault::of("link.quic", self.quic.as_ref().and_then(|quic| quic.check().err())));
        faults.extend(Fault::of("link.diode", self.diode.as_ref().and_then(|diode| diode.check().err())));
        faults.extend(Fault::of("link.folder", self.folder.as_ref().and_then(|folder| folder.check().err())));
        faults
    }

    fn start(&self, station: &Arc<Station>, stop: &Stop) -> std::io::Result<Vec<JoinHandle<()>>> {
        let mut threads = Vec::new();
        if let Some(settings) = &self.quic {
            let ends = quic_link::Stop::new();
            let mut link =
                quic_link::Link::new(station.spool.clone(), station.keyring.link.clone(), Arc::clone(&station.trust));
            if settings.peers.len() > 1 {
                link.addressee = Some(Arc::new(sealing::addressee));
            }
            let status = Arc::clone(&link.status);
            threads.push(quic_link::run(link, settings.clone(), ends.clone())?);
            watch_gateway(station, &status);
            stop.also(move || ends.stop());
        }
        if let Some(settings) = &self.diode {
            for peer in station.peers.iter().filter(|peer| peer.send == Carrier::Diode) {
                let ends = diode_link::Stop::new();
                let link = diode_link::Link {
                    spool: station.spool.clone(),
                    crossing: Crossing::ExtranetToIntranet,
                    suite: station.suite,
                    key: station.keyring.signing.clone(),
                    peer: peer.name.clone(),
                    trust: Arc::clone(&station.trust),
                    opening: None,
                };
                threads.extend(diode_link::send(link, settings.clone(), ends.clone())?.threads);
                stop.also(move || ends.raise());
            }
        }
        if let Some(settings) = &self.folder {
            threads.extend(folder(station, settings, stop)?);
        }
        Ok(threads)
    }
}

/// What peers of the gateway do that they should not becomes an alarm.
fn watch_gateway(station: &Station, status: &Arc<Mutex<quic_link::LinkStatus>>) {
    type Count = fn(&quic_link::Trouble) -> u64;
    let counts: [(Alarm, Count); 3] = [
        (Alarm::PeerUnknownKey, |trouble| trouble.unknown_keys),
        (Alarm::PeerOverLimit, |trouble| trouble.over_limit),
        (Alarm::PeerBrokeExchange, |trouble| trouble.broke_exchange),
    ];
    for (alarm, count) in counts {
        let (status, mut seen) = (Arc::clone(status), 0);
        station.watch(alarm, move || {
            let now = count(&status.lock().unwrap_or_else(PoisonError::into_inner).trouble);
            std::mem::replace(&mut seen, now) < now
        });
    }
}

fn folder(
    station: &Arc<Station>,
    settings: &folder_link::Settings,
    stop: &Stop,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
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
        threads.extend(folder_link::start(&link, settings, &ends)?.threads);
        stop.also(move || ends.raise());
    }
    Ok(threads)
}

fn main() -> ExitCode {
    commands::main::<ExtranetLinks>(Zone::Extranet)
}
