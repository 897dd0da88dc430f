//! What is stopped bare is stopped in every disguise; and a disguise on an ordinary paper accuses nobody.

use guard::{DetectVerdict, detect};
use tests::{disguise, papers};

#[test]
fn every_positive_is_stopped_bare_and_in_every_disguise() {
    let mut made = 0;
    let mut clean = Vec::new();
    for (name, bytes) in disguise::parents() {
        assert_eq!(detect(name, &bytes).verdict, DetectVerdict::Coordinates, "{name} bare");
        disguise::each(name, &bytes, |index, held| {
            made += 1;
            if !held {
                clean.push(format!("{name} as {}", disguise::ALL[index].name));
            }
        });
    }
    assert!(clean.is_empty(), "called clean:\n{}", clean.join("\n"));
    assert!(made > 300, "{made} files were made");
}

#[test]
fn ordinary_papers_stay_clean_in_every_disguise() {
    let papers: [(&str, Vec<u8>); 5] = [
        ("申请.json", papers::application_form(3).into_bytes()),
        ("报文.xml", papers::registration_message(3).into_bytes()),
        ("ticket.pdf", papers::tax_ticket()),
        ("scan.jpg", papers::scanned_page(1, 200, 280)),
        ("film.mp4", papers::film(None)),
    ];
    for (name, bytes) in &papers {
        assert_eq!(detect(name, bytes).verdict, DetectVerdict::Clean, "{name} bare");
        disguise::each(name, bytes, |index, held| assert!(!held, "{name} as {}", disguise::ALL[index].name));
    }
}
