//! The sampler against the exact distribution.

use super::*;

fn sampling(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Sampling {
    Sampling { temperature, top_p, top_k, seed, max_tokens: 1, ..Sampling::default() }
}

const ROW: [f32; 6] = [1.0, 3.0, -2.0, 2.5, 3.0, 0.0];

/// The distribution at T over `kept`, by the formula.
fn exact(row: &[f32], temperature: f64, kept: &[usize]) -> Vec<f64> {
    let weight = |id: usize| (f64::from(row[id]) / temperature).exp();
    let mass: f64 = kept.iter().map(|id| weight(*id)).sum();
    (0..row.len()).map(|id| if kept.contains(&id) { weight(id) / mass } else { 0.0 }).collect()
}

/// Draws 20,000 times; every share must be within five standard deviations of the exact one.
fn check_shares(sampling: &Sampling, row: &[f32], expected: &[f64]) {
    const DRAWS: u32 = 20_000;
    let mut sampler = Sampler::new(sampling);
    let mut counts = vec![0_u32; row.len()];
    for _ in 0..DRAWS {
        counts[sampler.sample(row).unwrap().0 as usize] += 1;
    }
    for (id, &p) in expected.iter().enumerate() {
        let share = f64::from(counts[id]) / f64::from(DRAWS);
        let deviation = (p * (1.0 - p) / f64::from(DRAWS)).sqrt();
        assert!((share - p).abs() <= 5.0 * deviation, "{sampling:?} id {id}: {share} for {p}");
    }
}

#[test]
fn draws_follow_the_distribution() {
    let all = [0, 1, 2, 3, 4, 5];
    check_shares(&sampling(1.0, 0, 1.0, 7), &ROW, &exact(&ROW, 1.0, &all));
    check_shares(&sampling(0.6, 0, 1.0, 8), &ROW, &exact(&ROW, f64::from(0.6_f32), &all));
    check_shares(&sampling(2.0, 6, 1.0, 9), &ROW, &exact(&ROW, 2.0, &all));
}

#[test]
fn top_k_keeps_the_most_probable_and_breaks_ties_by_id() {
    check_shares(&sampling(1.0, 3, 1.0, 1), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    check_shares(&sampling(1.0, 1, 1.0, 2), &ROW, &exact(&ROW, 1.0, &[1]));
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    // At T = 1 the shares are 1: .357, 4: .357, 3: .217, 0: .048, 5: .018, 2: .002.
    check_shares(&sampling(1.0, 0, 0.7, 3), &ROW, &exact(&ROW, 1.0, &[1, 4]));
    check_shares(&sampling(1.0, 0, 0.72, 4), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    check_shares(&sampling(1.0, 0, 1e-6, 5), &ROW, &exact(&ROW, 1.0, &[1]));
}

#[test]
fn top_p_is_a_share_of_what_temperature_and_top_k_left() {
    // Of the best three at T = 1, 1 and 4 have 0.767: enough for 0.75, which is more than
    // their 0.714 of everything.
    check_shares(&sampling(1.0, 3, 0.75, 6), &ROW, &exact(&ROW, 1.0, &[1, 4]));
    check_shares(&sampling(1.0, 0, 0.75, 6), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    // At T = 4 the shares are flatter.
    check_shares(&sampling(4.0, 0, 0.7, 6), &ROW, &exact(&ROW, 4.0, &[0, 1, 3, 4]));
}

#[test]
fn the_nucleus_of_a_large_flat_row_spans_several_windows() {
    let row: Vec<f32> = (0..5000).map(|id| ((id * 37) % 5000) as f32 * 1e-6).collect();
    let mut sampler = Sampler::new(&sampling(1.0, 0, 0.5, 11));
    let mut lowest = 0;
    for _ in 0..2_000 {
        let (id, _) = sampler.sample(&row).unwrap();
        let rank = row.iter().filter(|logit| **logit > row[id as usize]).count();
        lowest = lowest.max(rank);
    }
    assert!((2_400..2_500).contains(&lowest), "lowest rank drawn: {lowest}");
}

#[test]
fn the_log_probability_is_that_of_the_whole_vocabulary() {
    for (temperature, top_k, top_p) in [(1.0, 0, 1.0), (0.6, 2, 1.0), (1.5, 0, 0.5), (0.25, 3, 0.9)]
    {
        let expected = exact(&ROW, f64::from(temperature), &[0, 1, 2, 3, 4, 5]);
        let mut sampler = Sampler::new(&sampling(temperature, top_k, top_p, 3));
        for _ in 0..50 {
            let (id, drawn) = sampler.sample(&ROW).unwrap();
            assert!((f64::from(drawn) - expected[id as usize].ln()).abs() < 1e-6);
            assert_eq!(drawn, logprob(&ROW, id, temperature).unwrap(), "one definition");
        }
    }
}

#[test]
fn greedy_takes_the_first_of_the_best_and_scores_the_plain_logits() {
    let mut sampler = Sampler::new(&sampling(0.0, 0, 1.0, 3));
    let (id, drawn) = sampler.sample(&ROW).unwrap();
    assert_eq!(id, 1);
    let expected = exact(&ROW, 1.0, &[0, 1, 2, 3, 4, 5])[1].ln();
    assert!((f64::from(drawn) - expected).abs() < 1e-6);
}

#[test]
fn huge_and_tiny_logits_stay_exact() {
    let row = [30_000.0, 29_999.0, -30_000.0];
    let expected = exact(&[1.0, 0.0], 1.0, &[0, 1])[1].ln();
    assert!((f64::from(logprob(&row, 1, 1.0).unwrap()) - expected).abs() < 1e-6);
    assert_eq!(logprob(&row, 2, 1.0).unwrap(), -60_000.312);
}

#[test]
fn a_seed_gives_one_stream() {
    let draw = |seed: u64| -> Vec<u32> {
        let mut sampler = Sampler::new(&sampling(1.0, 0, 0.99, seed));
        (0..100).map(|_| sampler.sample(&ROW).unwrap().0).collect()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}

#[test]
fn a_logit_that_is_no_number_is_an_error() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(&sampling(temperature, 0, 1.0, 1));
            let error = sampler.sample(&[1.0, bad, 2.0]).unwrap_err();
            assert_eq!(error.id, 1);
            assert_eq!(error.value.to_bits(), bad.to_bits());
        }
    }
}
