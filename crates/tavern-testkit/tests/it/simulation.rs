//! Seeds of the simulation.

use tavern_testkit::sim::Run;

/// Each test plays so many of the seeds.
const EACH: u64 = 25;

fn play(shard: u64) {
    let failed: Vec<_> = (shard * EACH..(shard + 1) * EACH)
        .map(|seed| Run::new(seed).short().play())
        .filter(|report| !report.wrong.is_empty())
        .map(|report| report.to_string())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

macro_rules! shards {
    ($($name:ident $shard:literal;)*) => {$(
        #[test]
        fn $name() {
            play($shard);
        }
    )*};
}

shards! {
    promises_are_kept_in_seeds_0_to_24 0;
    promises_are_kept_in_seeds_25_to_49 1;
    promises_are_kept_in_seeds_50_to_74 2;
    promises_are_kept_in_seeds_75_to_99 3;
    promises_are_kept_in_seeds_100_to_124 4;
    promises_are_kept_in_seeds_125_to_149 5;
    promises_are_kept_in_seeds_150_to_174 6;
    promises_are_kept_in_seeds_175_to_199 7;
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 1_000..1_005 {
        let (first, second) =
            (Run::new(seed).short().traced().play(), Run::new(seed).short().traced().play());
        assert!(first.trace == second.trace, "seed {seed} took two ways");
        assert_eq!(first.hash, second.hash, "seed {seed}");
        // On a thread of its own, and without keeping the trace, as well.
        let elsewhere = std::thread::spawn(move || Run::new(seed).short().play()).join().unwrap();
        assert_eq!(elsewhere.hash, first.hash, "seed {seed}");
        assert_ne!(Run::new(seed + 100).short().play().hash, first.hash);
    }
}
