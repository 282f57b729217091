use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn pulse() -> (Pulse, Instant) {
    let now = Instant::now();
    let mut pulse = Pulse::new(SECOND, now);
    pulse.begin(7);
    (pulse, now)
}

/// Probes as the reader does. The feed brings seq 8 at `last`, and nothing any more; the log has
/// `head` by then. A canary is sent where one is wanted. Returns how long it takes to find that out.
fn found(last: Duration, head: impl Fn(Duration) -> u64) -> Duration {
    let (mut pulse, begun) = pulse();
    let last = begun + last;
    let (mut canary, mut canaries, mut heard) = (None, 0, false);
    for _ in 0..100 {
        let now = pulse.next();
        if canary.is_some_and(|at| at <= now) {
            pulse.sings();
            canary = None;
            canaries += 1;
        }
        if now >= last && !heard {
            pulse.heard(Some(8), last);
            heard = true;
        }
        pulse.asks(now);
        pulse.answered();
        let since = now.saturating_duration_since(last);
        let head = if now >= last { 8 + head(since) + canaries } else { 7 };
        match pulse.judge(head, now) {
            Verdict::Deaf => return since,
            Verdict::Quiet | Verdict::Unproven if canary.is_none() => {
                canary = Some(pulse.canary_at(now));
            }
            _ => {}
        }
    }
    panic!("it is not found");
}

#[tokio::test(start_paused = true)]
async fn a_deaf_feed_is_found_within_two_intervals_wherever_it_begins() {
    for moment in 0..200 {
        let last = SECOND * moment / 100;
        let busy = found(last, |since| u64::try_from(since.as_millis() / 100).unwrap());
        assert!(busy <= 2 * SECOND, "{moment}: {busy:?} where much is published");
        let quiet = found(last, |_| 0);
        assert!(quiet <= 2 * SECOND, "{moment}: {quiet:?} where nothing is");
        let once = found(last, |_| 1);
        assert!(once <= 2 * SECOND, "{moment}: {once:?} where one more was");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_was_lost_alone_proves_nothing() {
    let (mut pulse, now) = pulse();
    assert_eq!(pulse.judge(8, now + SECOND), Verdict::Owing);
    assert_eq!(pulse.judge(8, now + 2 * SECOND), Verdict::Unproven);
    pulse.sings();
    pulse.heard(Some(9), now + 2 * SECOND);
    assert_eq!(pulse.judge(9, now + 2 * SECOND), Verdict::Well);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_feed_is_left_alone() {
    let (mut pulse, _) = pulse();
    for n in 0..100 {
        let now = pulse.next();
        pulse.heard(Some(8 + n), now);
        pulse.asks(now);
        assert_eq!(pulse.judge(1_000_000, now), Verdict::Owing);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_process_slept_through_proves_nothing() {
    let (mut pulse, now) = pulse();
    assert_eq!(pulse.judge(9, now + SECOND), Verdict::Owing);
    pulse.paused(now + 60 * SECOND);
    assert_eq!(pulse.judge(99, now + 60 * SECOND), Verdict::Owing);
    assert_eq!(pulse.judge(99, now + 61 * SECOND), Verdict::Deaf);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_published_it_is_quiet_and_asked_soon_after_the_canary() {
    let (mut pulse, now) = pulse();
    pulse.heard(None, now);
    pulse.asks(now + SECOND / 4);
    assert_eq!(pulse.judge(7, now + SECOND / 4), Verdict::Well);
    let now = now + SECOND;
    pulse.asks(now);
    assert_eq!(pulse.judge(7, now), Verdict::Quiet);
    let canary = pulse.canary_at(now);
    assert!(canary >= now && canary < pulse.next());
    assert_eq!(pulse.next(), now + SECOND / 4);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_answer_is_silent_before_two_intervals() {
    let (mut pulse, now) = pulse();
    assert_eq!(pulse.silent_at(), None);
    pulse.asks(now);
    pulse.asks(now + SECOND / 2);
    assert_eq!(pulse.silent_at(), Some(now + SECOND));
    pulse.answered();
    assert_eq!(pulse.silent_at(), None);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_answers_others_meanwhile_is_not_silent() {
    // A question waits for the one before: where a head takes long, two take longer than an interval.
    let (mut pulse, now) = pulse();
    pulse.asks(now);
    pulse.answered_another(now + SECOND * 3 / 5);
    assert_eq!(pulse.silent_at(), Some(now + SECOND * 8 / 5));
    // What it answered before proves nothing.
    pulse.answered_another(now);
    assert_eq!(pulse.silent_at(), Some(now + SECOND * 8 / 5));
    pulse.answered();
    pulse.answered_another(now + SECOND);
    assert_eq!(pulse.silent_at(), None);
}
