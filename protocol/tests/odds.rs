//! How much random loss the parity of a volume survives: arithmetic of the layout, not of the coder. A volume is lost where one
//! of its blocks lost more sectors than its recovery. The tables of `docs/measurements.md` are these numbers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::cast_precision_loss, reason = "counts far below what a double holds")]

use std::path::Path;

use protocol::parity::Shape;

/// Of a million volumes that lost so much, less than one is lost.
const ODDS: f64 = 1e-6;
/// Volumes by what they hold, in sectors of 2 KiB.
const VOLUMES: [(&str, u64); 6] = [
    ("1 MiB", 512),
    ("10 MiB", 5_120),
    ("100 MiB", 51_200),
    ("`cd`", 360_000),
    ("`dvd`", 2_295_104),
    ("`bd25`", 12_219_392),
];
const PERCENTS: [u8; 4] = [5, 12, 25, 50];
const SAMPLES: u64 = 300;

fn ln_gamma(x: f64) -> f64 {
    // Stirling's series; all arguments are above 20, where four terms are exact to a double.
    let inverse = 1.0 / x;
    let series = inverse / 12.0 - inverse.powi(3) / 360.0 + inverse.powi(5) / 1_260.0 - inverse.powi(7) / 1_680.0;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// The odds that of `n` sectors more than `most` are lost, each with `p`.
fn tail(n: u64, most: u64, p: f64) -> f64 {
    let (all, mut k) = (n as f64, most as f64 + 1.0);
    let choose = ln_gamma(all + 1.0) - ln_gamma(k + 1.0) - ln_gamma(all - k + 1.0);
    let mut term = (choose + k * p.ln() + (all - k) * (1.0 - p).ln()).exp();
    let mut sum = 0.0;
    while k <= all && term > sum * 1e-18 {
        sum += term;
        term *= (all - k) / (k + 1.0) * p / (1.0 - p);
        k += 1.0;
    }
    sum
}

fn shape(sectors: u64, percent: u8) -> Shape {
    Shape::of(sectors * u64::from(100 - percent) / 100, percent).unwrap()
}

/// The largest loss, in hundredths of a percent, at which all blocks together fail with less than the odds.
fn survives(shape: &Shape, odds: f64) -> u32 {
    let (n, most) = (shape.data() + shape.recovery(), shape.recovery());
    let fine = |hundredths: &u32| {
        let p = f64::from(*hundredths) / 10_000.0;
        p * (n as f64) < most as f64 && shape.blocks() as f64 * tail(n, most, p) < odds
    };
    (1..10_000).take_while(fine).last().unwrap()
}

/// The largest loss, in ten-thousandths of a percent, at which waybill and volume's paper, each of some sectors and there
/// three times, both have a whole copy.
fn papers_survive(sectors: [u64; 2]) -> u32 {
    let lost = |parts: u64, p: f64| {
        let copy = 1.0 - (1.0 - p).powi(i32::try_from(parts).unwrap());
        copy.powi(3)
    };
    let fine = |step: &u32| {
        let p = f64::from(*step) / 1_000_000.0;
        sectors.iter().map(|parts| lost(*parts, p)).sum::<f64>() < ODDS
    };
    (1..1_000_000).take_while(fine).last().unwrap()
}

#[test]
fn the_tables_of_what_random_loss_a_parity_survives_are_what_the_layout_gives() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/measurements.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (name, sectors) in VOLUMES {
        let cells = PERCENTS.map(|percent| {
            let hundredths = survives(&shape(sectors, percent), ODDS);
            format!("{}.{} %", hundredths / 100, hundredths % 100 / 10)
        });
        let row = format!("| {name} | {} |", cells.join(" | "));
        assert!(page.contains(&row), "measurements.md lacks: {row}");
    }
    for lines in [10_u64, 100, 1_000, 24_000] {
        let papers = [(1_000 + 130 * lines).div_ceil(2_048), (700 + 60 * lines).div_ceil(2_048)];
        let steps = papers_survive(papers);
        let row = format!("| {lines} | {} + {} | {}.{:04} % |", papers[0], papers[1], steps / 10_000, steps % 10_000);
        assert!(page.contains(&row), "measurements.md lacks: {row}");
    }
}

/// A generator of which the seed tells everything.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Does a volume survive that loses each sector with `p`, each counted in the block that the layout gives it?
fn lives(shape: &Shape, p: f64, noise: &mut Noise) -> bool {
    let mut lost = vec![0_u64; usize::try_from(shape.blocks()).unwrap()];
    // Data, and the parity files behind it, go round the blocks the same way.
    for sectors in [shape.sectors(), shape.parity_sectors()] {
        for sector in 0..sectors {
            if noise.next() < p {
                lost[usize::try_from(shape.place(sector).0).unwrap()] += 1;
            }
        }
    }
    lost.iter().all(|lost| *lost <= shape.recovery())
}

#[test]
fn volumes_that_lose_sectors_at_random_fail_as_often_as_the_binomial_says() {
    let (shape, mut noise) = (shape(51_200, 12), Noise(0x2545_f491_4f6c_dd1d));
    let mut died =
        |hundredths: u32| (0..SAMPLES).filter(|_| !lives(&shape, f64::from(hundredths) / 10_000.0, &mut noise)).count();
    assert_eq!(died(survives(&shape, ODDS)), 0, "one of a million, and {SAMPLES} were tried");
    // Where half of them should fail, about half do; where nearly all should, nearly all do.
    let n = shape.data() + shape.recovery();
    let odds = |hundredths: u32| {
        let block = tail(n, shape.recovery(), f64::from(hundredths) / 10_000.0);
        1.0 - (1.0 - block).powi(i32::try_from(shape.blocks()).unwrap())
    };
    let half = (1..1_200).find(|hundredths| odds(*hundredths) > 0.5).unwrap();
    let share = died(half) as f64 / SAMPLES as f64;
    assert!((share - odds(half)).abs() < 0.1, "{share} at {half}, {} expected", odds(half));
    assert!(died(1_300) > usize::try_from(SAMPLES * 99 / 100).unwrap(), "13 % are too many for 12 % of parity");
}
