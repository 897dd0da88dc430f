//! Every rule: its word, its class, and nothing else. What each is for stands in docs/rules.md; a finding under a word
//! that is not here is a mistake of ours, and so is a word that the page does not explain.

use crate::finding::RuleClass;

/// Rules that say: here stand coordinates.
pub const FINDINGS: &[(&str, RuleClass)] = &[
    ("national-element", RuleClass::Structural),
    ("parcel-picture", RuleClass::Structural),
    ("geometry", RuleClass::Structural),
    ("encoded-geometry", RuleClass::Structural),
    ("topojson", RuleClass::Structural),
    ("esri-geometry", RuleClass::Structural),
    ("bounding-box", RuleClass::Structural),
    ("reference-system", RuleClass::Structural),
    ("well-known-text", RuleClass::Structural),
    ("well-known-binary", RuleClass::Structural),
    ("geodata-format", RuleClass::Structural),
    ("vct", RuleClass::Structural),
    ("geotiff-tag", RuleClass::Structural),
    ("geospatial-pdf", RuleClass::Structural),
    ("device-position", RuleClass::Structural),
    ("axis-key", RuleClass::Structural),
    ("axis-pair", RuleClass::Structural),
    ("axis-table", RuleClass::Structural),
    ("sheet-number", RuleClass::Structural),
    ("degrees-minutes-seconds", RuleClass::Structural),
    ("receiver-sentence", RuleClass::Structural),
    ("geohash", RuleClass::Structural),
    ("plus-code", RuleClass::Structural),
    ("grid-reference", RuleClass::Structural),
    ("map-tile", RuleClass::Structural),
    ("coherent-pairs", RuleClass::Heuristic),
    ("precise-pair", RuleClass::Heuristic),
    ("axis-column", RuleClass::Heuristic),
    ("local-grid", RuleClass::Heuristic),
    ("city-window", RuleClass::Heuristic),
    ("double-array", RuleClass::Heuristic),
];

/// Rules that say: nobody can look here. Nobody can except them.
pub const OBSTACLES: &[&str] = &[
    "encrypted",
    "unknown-kind",
    "nested-too-deep",
    "expands-too-far",
    "too-many-members",
    "too-many-headers",
    "larger-than-looked-at",
    "trailing-bytes",
    "leading-bytes",
    "bytes-between-members",
    "overlapping-members",
    "local-header-disagrees",
    "split-zip",
    "unknown-compression",
    "unknown-tar-member",
    "attachment-missing",
    "content-elsewhere",
    "name-disagrees",
    "member-not-registered",
    "schema-mismatch",
    "parser-failed",
    "worker-died",
    "worker-late",
    "worker-garbled",
    "worker-absent",
    "not-rebuilt",
    "second-reader",
    "malformed-zip",
    "malformed-gzip",
    "malformed-bzip2",
    "malformed-xz",
    "malformed-zstd",
    "malformed-7z",
    "malformed-tar",
    "malformed-pdf",
    "malformed-jpeg",
    "malformed-png",
    "malformed-gif",
    "malformed-tiff",
    "malformed-webp",
    "malformed-bmp",
    "malformed-media",
    "malformed-xml",
    "malformed-compound-file",
    "rar",
    "cab",
    "chm",
    "lz4",
    "lzip",
    "lzma",
    "compress",
    "zstd-skippable",
    "ar",
    "program",
    "mdb",
    "accdb",
    "bpg",
    "riff",
    "woff2",
];

/// Formats that carry positions, by the words under which they are named.
pub(crate) const FORMATS: &[&str] = &[
    "arrow",
    "ascii-grid",
    "bufr",
    "dgn",
    "dwg",
    "dxf",
    "erdas-img",
    "feather",
    "flatgeobuf",
    "geo-jpeg2000",
    "geopackage-blob",
    "grib",
    "hdf",
    "hdf4",
    "iso8211",
    "land-survey-text",
    "las",
    "mapinfo-mif",
    "mapinfo-tab",
    "netcdf",
    "osm-pbf",
    "parquet",
    "pmtiles",
    "shapefile",
    "sqlite",
    "vct",
    "vector-tile",
    "wkb",
    "world-file",
];

/// Envelopes that are locked by their own header.
const ENVELOPES: &[&str] = &["age", "luks", "openssl", "pgp"];

/// The code word that reads like this. An examiner may say these, and nothing else is ever kept of what it says.
pub(crate) fn word(text: &str) -> Option<&'static str> {
    let rules = FINDINGS.iter().map(|(rule, _)| rule);
    rules.chain(OBSTACLES).chain(FORMATS).chain(ENVELOPES).copied().find(|word| *word == text)
}

/// Is this one of ours, in this class?
pub(crate) fn is_known(rule: &str, class: RuleClass) -> bool {
    FINDINGS.contains(&(rule, class)) || (class == RuleClass::Structural && OBSTACLES.contains(&rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_by_its_first_bytes_has_its_word_here() {
        for word in crate::geodata::magic_words().chain(crate::kind::magic_words()) {
            assert_eq!(super::word(word), Some(word));
        }
        assert_eq!(word("no-such-rule"), None);
        assert_eq!(word(""), None);
    }
}
