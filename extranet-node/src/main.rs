//! The node of the e-government extranet zone: between the gateway to the internet, the one-way wire to the internal
//! zone, and the ferry that comes back from there.

use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use protocol::{Crossing, Zone};
use serde::Deserialize;
use station::alarm::Alarm;
use station::commands::{self, LineAnswer, LineTest, Links};
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
        let ways = self.folder.as_ref().map(|folder| [folder.outgoing.is_some(), folder.incoming.is_some()]);
        faults.extend(Fault::of_directories(peers, Carrier::Folder, "link.folder", ways));
        faults.extend(Fault::of("link.quic", self.quic.as_ref().and_then(|quic| quic.check().err())));
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
        if let Some(settings) = &self.quic {
            let ends = quic_link::Stop::new();
            let mut link =
                quic_link::Link::new(station.spool.clone(), station.keyring.link.clone(), Arc::clone(&station.trust));
            if settings.peers.len() > 1 {
                link.addressee = Some(Arc::new(sealing::addressee));
            }
            let status = Arc::clone(&link.status);
            threads.push(quic_link::run(link, settings.clone(), ends.clone())?);
            let trouble = move || status.lock().unwrap_or_else(PoisonError::into_inner).trouble;
            let (unknown, over) = (trouble.clone(), trouble.clone());
            station.watch_count(Alarm::PeerUnknownKey, move || unknown().unknown_keys);
            station.watch_count(Alarm::PeerOverLimit, move || over().over_limit);
            station.watch_count(Alarm::PeerBrokeExchange, move || trouble().broke_exchange);
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
                    wall: {
                        let clock = Arc::clone(&station.clock);
                        Arc::new(move || clock.may_end_things().then(|| clock.last()))
                    },
                    opening: Vec::new(),
                };
                let mut sending = diode_link::send(link, settings.clone(), ends.clone())?;
                threads.append(&mut sending.threads);
                station.watch_count(Alarm::LinkRefused, move || sending.status().send_errors);
                stop.also(move || ends.raise());
            }
        }
        if let Some(settings) = &self.folder {
            folder(station, settings, stop, threads)?;
        }
        Ok(())
    }

    fn line_test(&self, asked: LineTest) -> Option<std::io::Result<LineAnswer>> {
        let sent = diode_link::send_line_test(self.diode.as_ref()?, asked.seconds);
        Some(sent.and_then(|sent| {
            let (frames, bytes, refused, seconds) = (sent.frames, sent.frame_bytes, sent.refused, sent.seconds);
            let (rate, wanted) = (sent.rate_mbit_reached, sent.rate_mbit);
            let en = format!(
                "sent {frames} frames of {bytes} bytes in {seconds:.1} s: {rate:.0} Mbit/s of {wanted} set; refused by this kernel: {refused}\nthe receiving end reports: intranet-node diode-test"
            );
            let zh = format!(
                "已发送 {frames} 帧，每帧 {bytes} 字节，用时 {seconds:.1} 秒：{rate:.0} Mbit/s（设定 {wanted}）；本机内核拒绝 {refused} 帧\n结果见接收端：intranet-node diode-test"
            );
            LineAnswer::new(refused == 0, &sent, en, zh)
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
    commands::main::<ExtranetLinks>(Zone::Extranet)
}
