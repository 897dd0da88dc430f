//! May this content make this crossing? Pure functions over bytes: no paths, no clock, no sockets.
//!
//! The invariant stands here in code: what carries survey coordinates, or cannot be fully inspected, never lands
//! outside the internal zone. Only this crate makes a [`Released`], and only a `Released` is sealed or delivered.
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "numbers in tests are small by construction"))]

mod axis;
mod blanks;
mod buried;
pub mod catalogue;
#[cfg(test)]
mod chance;
mod cut;
mod dbf;
mod detection;
mod encoded;
mod examiner;
mod exception;
mod finding;
mod font;
mod geodata;
mod grid;
mod json_schema;
mod judgement;
mod kind;
mod known;
mod label;
mod letter;
mod look;
mod mail;
mod measures;
mod media;
mod octets;
mod ofd;
mod ole;
mod package;
mod packed;
mod pairs;
mod parcel;
mod pattern;
mod pdf;
mod picture;
mod polyline;
mod repaint;
mod rooms;
mod rtf;
mod rules;
mod scan;
mod second;
mod seven;
mod sexagesimal;
mod shape;
mod sheet;
mod sql;
mod strip;
mod table;
mod tar;
mod text;
mod tiff;
mod tree;
mod window;
mod words;
mod workbook;
mod written;
mod xlsb;
mod xml;
mod zip;

pub use detection::{DetectVerdict, Detection, LOOK_BYTES_MAX, detect};
pub use examiner::{
    Answer, BODY_BYTES_MAX, CONTENTS_MAX, Examiner, InProcess, Silence, WORDS_BYTES_MAX, answer, detect_by,
};
pub use exception::{Exception, may_be_excepted};
pub use finding::{Finding, RuleClass, Word};
pub use judgement::{Ahead, Judgement, Moment, Question, Released, StrippedFile, inspect, inspect_by, look_ahead};
pub use parcel::{FileFacts, Parcel, ReadSeek};
pub use rules::{
    Budget, BudgetPeriod, LabelRule, OnCoordinates, OnSignature, ParcelType, Rules, RulesError, RulesVersion,
};
