use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn admission(per_second: u32, burst: u32) -> Admission {
    let count = |n| NonZeroU32::new(n).unwrap();
    Admission::new(AdmitRate::per_second(count(per_second)).with_burst(count(burst)))
}

fn sse() -> SseConfig {
    SseConfig::default().with_retry(SECOND, SECOND)
}

fn admitted(admission: &Admission, clients: usize) -> usize {
    (0..clients).filter(|_| admission.admit(&sse()).is_ok()).count()
}

#[tokio::test(start_paused = true)]
async fn a_burst_begins_at_once_and_then_so_many_a_second() {
    let admission = admission(10, 25);
    assert_eq!(admitted(&admission, 100), 25);
    tokio::time::advance(SECOND).await;
    assert_eq!(admitted(&admission, 100), 10);
    tokio::time::advance(SECOND / 10).await;
    assert_eq!(admitted(&admission, 100), 1);
    // A quiet time makes room for one burst, and no more.
    tokio::time::advance(100 * SECOND).await;
    assert_eq!(admitted(&admission, 100), 25);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_is_told_a_later_time() {
    let admission = admission(10, 1);
    admission.admit(&sse()).unwrap();
    let waits: Vec<_> = (0..1_000).map(|_| admission.admit(&sse()).unwrap_err()).collect();
    let mean = |part: &[Duration]| part.iter().sum::<Duration>() / 100;
    assert!(waits.iter().all(|wait| *wait >= SECOND), "{waits:?}");
    assert!(mean(&waits[..100]) < 10 * SECOND, "{:?}", mean(&waits[..100]));
    // A thousand at ten a second.
    let last = mean(&waits[900..]);
    assert!(last > 95 * SECOND && last < 120 * SECOND, "{last:?}");
}

/// Clients that do as they are told are in about as soon as the rate allows, and seldom in vain.
#[tokio::test(start_paused = true)]
async fn a_crowd_is_spread_over_the_time_it_takes_to_let_it_in() {
    const CROWD: u32 = 15_000;
    let admission = admission(1_000, 1_000);
    let begun = Instant::now();
    let mut waiting: std::collections::BTreeMap<Instant, u32> = [(begun, CROWD)].into();
    let (mut tries, mut busiest) = (0_u32, 0_u32);
    let mut seconds = std::collections::HashMap::<u64, u32>::new();
    while let Some((due, clients)) = waiting.pop_first() {
        tokio::time::advance(due.saturating_duration_since(Instant::now())).await;
        for _ in 0..clients {
            tries += 1;
            if due > begun {
                let second = seconds.entry(due.duration_since(begun).as_secs()).or_default();
                *second += 1;
                busiest = busiest.max(*second);
            }
            if let Err(wait) = admission.admit(&sse()) {
                *waiting.entry(due + wait).or_default() += 1;
            }
        }
    }
    let took = begun.elapsed();
    assert!(took > 13 * SECOND && took < 20 * SECOND, "{took:?}");
    assert!(tries < 2 * CROWD + CROWD / 20, "{tries} tries");
    assert!(busiest < 1_200, "{busiest} in a second");
}

/// However many come, nobody is sent away for longer than minutes, and they do not come together.
#[tokio::test(start_paused = true)]
async fn nobody_is_sent_away_for_good() {
    let admission = admission(1, 1);
    let waits: Vec<_> = (0..10_000).filter_map(|_| admission.admit(&sse()).err()).collect();
    let longest = *waits.iter().max().unwrap();
    assert!(longest <= LONGEST + SECOND, "{longest:?}");
    let mut last: Vec<_> = waits[9_000..].to_vec();
    last.sort_unstable();
    assert!(last[750].checked_sub(last[250]).unwrap() > 50 * SECOND, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn extreme_settings_are_harmless() {
    let most = admission(u32::MAX, u32::MAX);
    assert_eq!(admitted(&most, 1_000), 1_000);
    let least = admission(1, 1);
    let forever = SseConfig::default().with_retry(Duration::MAX, Duration::MAX);
    least.admit(&forever).unwrap();
    assert!(least.admit(&forever).unwrap_err() >= LONGEST);
}
