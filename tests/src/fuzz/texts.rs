//! Texts that people write and programs read: key cards, rules, configs.

use std::fs;

use protocol::{Trust, Zone};

use super::{Target, both};
use crate::programs::repository;

pub(super) fn key_cards() -> Vec<Target> {
    let cards: Vec<Vec<u8>> = both().iter().map(|world| world.seals.card().as_bytes().to_vec()).collect();
    vec![Target::new("key card", 200_000, cards, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut trust = Trust::default();
        let Ok(id) = trust.add("card.pub.pem", &text) else { return false };
        // A card is text for people and has more than one form; what is read of it says the same when written again.
        let again = trust.card(&id).unwrap().to_text();
        assert_eq!(Trust::default().add("again.pub.pem", &again), Ok(id));
        true
    })]
}

fn texts_of(folder: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "toml"));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

pub(super) fn rules_and_configs() -> Vec<Target> {
    let rules = Target::new("rules", 40_000, texts_of("config/rules"), |bytes| {
        let Ok(rules) = guard::Rules::parse(&String::from_utf8_lossy(bytes)) else { return false };
        // No text, however it is written, lets a type keep coordinates where the content lands outside.
        let keeps = rules.type_names().filter_map(|name| rules.parcel_type(name)).any(guard::ParcelType::keep);
        assert!(!keeps || !rules.crossing().lands_outside());
        true
    });
    let config = Target::new("config", 40_000, texts_of("config"), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(config) = toml::from_str::<station::config::Config<toml::Table>>(&text) else { return false };
        for zone in Zone::ALL {
            for fault in config.faults(zone) {
                let (line, column) = station::config::place_of(&text, &fault);
                assert!(line > 0 && column > 0);
            }
        }
        true
    });
    vec![rules, config]
}
